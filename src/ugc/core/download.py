"""One file from the network: resumed after a cut, checked by size and sha256, whole or absent.

`NAME.part` is what has come so far, `NAME.part.json` what the server said of the file that it is the beginning of.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ugc.core.errors import UserError
from ugc.core.files import sha256 as digest_of
from ugc.core.files import write_json
from ugc.core.log import Bar, progress, say
from ugc.core.pins import is_untouched, pin_file, pinned, read_note
from ugc.core.remote import Answer, NetworkError, ask

if sys.platform != "win32":
    import fcntl

BLOCK = 1 << 20
TRIES = 5  # connections in a row that bring nearly nothing; each goes on where the last one stopped


def fetch(address: str, path: Path, size: int | None, sha256: str | None, title: str, begins: bytes = b"") -> Path:
    """Download `address` to `path`, unless it already lies there.

    What has come so far is kept: a second call goes on from there, where the server says that its file is still the
    same (or `sha256` will tell), else from the start. `path` itself appears only once it is whole and right.

    Args:
        size, sha256: bytes and hex digest that it has; None where nobody publishes them: then what `pin` noted counts.
        title: what it is, for the progress bar and for errors.
        begins: the bytes that such a file begins with; a page that a server sends in its place is told by them.

    Raises:
        UserError: no network, refused by the server, wrong content, disk; it names the way to do it by hand.
    """
    first = pinned(path) if sha256 is None else {}
    job = _Download(address, path, first.get("size", size), first.get("sha256", sha256), title, begins, bool(first))
    try:
        if job.is_there():
            return path
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_file():
            say(f"{path} is not the file that was expected; it is fetched again")
        with job.alone():
            if not job.is_there():  # another process may have been quicker
                job.run()
    except OSError as problem:
        raise UserError(f"cannot write {title}: {problem.strerror or problem} in {path.parent}{job.kept}; "
                        f"try again when that is mended{job.by_hand}") from None
    return path


@dataclass
class _Download:
    address: str
    path: Path
    size: int | None
    sha256: str | None
    title: str
    begins: bytes
    first: bool  # size and digest are those of the first download
    told: bool = False
    joined: bool = False  # to what an earlier call left

    @property
    def part(self) -> Path:
        return self.path.with_name(self.path.name + ".part")

    @property
    def about(self) -> Path:
        return self.path.with_name(self.path.name + ".part.json")

    @property
    def have(self) -> int:
        return self.part.stat().st_size if self.part.is_file() else 0

    @property
    def kept(self) -> str:
        return f" ({self.have / 1e6:,.1f} MB are kept)" if self.have else ""

    @property
    def by_hand(self) -> str:
        return f"; or get {self.address} elsewhere and put it at {self.path}"

    def is_there(self) -> bool:
        if not self.path.is_file():
            return False
        if self.sha256 is None or (self.first and is_untouched(self.path)):
            return True
        return self.size in (None, self.path.stat().st_size) and digest_of(self.path) == self.sha256

    def is_complete(self) -> bool:
        """All has come that was promised."""
        said = read_note(self.about)
        promised = said.get("size") if said.get("address") == self.address else None
        return self.have > 0 and self.have == (self.size or promised)

    def drop(self) -> None:
        self.part.unlink(missing_ok=True)
        self.about.unlink(missing_ok=True)

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Wait until no other process downloads the same file."""
        if sys.platform == "win32":  # no such locks: two downloads at once spoil each other, and their digests tell
            yield
            return
        while True:
            with open(self.part, "ab") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    say(f"another process is downloading {self.title}; waiting for it")
                    fcntl.flock(file, fcntl.LOCK_EX)
                if not (self.part.exists() and os.path.samestat(os.fstat(file.fileno()), self.part.stat())):
                    continue  # the other one has put it in its place, or removed it
                try:
                    yield
                finally:
                    if not self.have:
                        self.drop()
                return

    def run(self) -> None:
        """Connect until all is there, check it, put it in its place."""
        failures, self.joined = 0, self.have > 0
        try:
            with progress(self.title, -(-(self.size or 0) // BLOCK)) as bar:
                while not self.is_complete():
                    before = self.have
                    try:
                        self.connect(bar)
                    except NetworkError as problem:
                        failures = 1 if self.have >= before + BLOCK else failures + 1
                        if problem.final or failures == TRIES:
                            raise UserError(f"cannot download {self.title}: {problem}{self.kept}; try again"
                                            f"{self.by_hand}") from None
                        time.sleep(failures - 1)
        except KeyboardInterrupt:
            say(f"stopped{self.kept}; the same command goes on{' from there' if self.have else ''}")
            raise
        if self.sha256 is not None and (digest := digest_of(self.part)) != self.sha256:
            if self.joined:
                say(f"{self.title}: what was here from before did not belong to it; it begins anew")
                os.truncate(self.part, 0)  # not removed: the lock is on it
                self.run()
                return
            self.drop()
            raise self.another(f"sha256 {digest} instead of {self.sha256}")
        os.replace(self.part, self.path)
        self.drop()

    def another(self, what: str) -> UserError:
        if self.first:
            what += f" noted at the first download; if you trust the new file, remove {pin_file(self.path)}"
        return UserError(f"cannot download {self.title}: {self.address} gave another file ({what}); try again{self.by_hand}")

    def connect(self, bar: Bar) -> None:
        """One connection: append what is missing to the part, or begin it anew."""
        said, have = read_note(self.about), self.have
        foreign = said.get("address", self.address) != self.address or have > (self.size or have)
        if foreign or (self.sha256 is None and not said.get("validator")):
            have = 0  # nothing would tell whether what is there and what comes belong together
        with ask(self.address, have, said if have else None) as answer:
            if self.size is not None and answer.size != self.size:
                raise self.another(f"{answer.size} bytes instead of {self.size}")
            head = b"" if answer.start else self.head(answer)
            self.room(answer.size - answer.start)
            self.tell(answer)
            bar.expect(-(-answer.size // BLOCK))
            bar.back(answer.start // BLOCK)
            with open(self.part, "ab" if answer.start else "wb") as file:
                self.joined = self.joined and answer.start > 0
                if not answer.start or not said.get("size"):
                    write_json(self.about, {"address": self.address, "size": answer.size, "validator": answer.validator})
                file.write(head)
                done = answer.start + len(head)
                while done < answer.size and (block := answer.read(min(BLOCK, answer.size - done))):
                    file.write(block)
                    done += len(block)
                    bar.advance(done // BLOCK - bar.done)
                file.flush()
                os.fsync(file.fileno())
        if done < answer.size:
            raise NetworkError("the connection was cut")

    def head(self, answer: Answer) -> bytes:
        """The first bytes of a file, before anything that is here is given up for it."""
        head = answer.read(max(1, len(self.begins)))
        while head and len(head) < len(self.begins) and (more := answer.read(len(self.begins) - len(head))):
            head += more
        if not head:
            raise NetworkError("the connection was cut")
        if not head.startswith(self.begins):
            head += answer.read(60)
            raise NetworkError(f"{self.address} answered with something else ({answer.kind} that begins with "
                               f"{head.decode(errors='replace')!r}), perhaps a page of the site or of a proxy", final=True)
        return head

    def room(self, more: int) -> None:
        free = shutil.disk_usage(self.path.parent).free
        if free < more:
            raise UserError(f"cannot download {self.title}: {more / 1e6:,.0f} MB are to come, and {self.path.parent} has "
                            f"{free / 1e6:,.0f} MB free{self.kept}; make room and try again")

    def tell(self, answer: Answer) -> None:
        """Say what comes, once; and every time that what was here is given up."""
        if not self.told:
            going = f", going on at {answer.start / 1e6:,.1f} MB" if answer.start else ""
            say(f"downloading {self.title} ({answer.size / 1e6:,.1f} MB) from {self.address}{going}")
        if self.have and not answer.start:
            say(f"{self.title}: it begins anew, because the server has another file now or gives no parts of it")
        self.told = True
