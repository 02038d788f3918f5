"""One file from the network: resumed after a cut, checked by size and sha256, whole or absent."""

from __future__ import annotations

import os
import time
import urllib.error
import urllib.request
from http.client import HTTPException, HTTPResponse
from pathlib import Path

from ugc.core.errors import UserError
from ugc.core.files import sha256 as digest_of
from ugc.core.log import Bar, progress, say

BLOCK = 1 << 20
TRIES = 5  # connections in a row that may be cut; each goes on where the last one stopped
TIMEOUT = 30.0  # seconds without a byte


def fetch(address: str, path: Path, size: int, sha256: str, title: str) -> Path:
    """Download `address` to `path`, unless it already lies there.

    What has come so far is kept beside it as `NAME.part`: a second call goes on from there by a Range request, or from
    the start where the server ignores that. `path` itself appears only once size and sha256 are right.

    Args:
        size: bytes that the file has.
        sha256: hex digest that it has.
        title: what it is, for the progress bar and for errors.

    Raises:
        UserError: no network, refused by the server, wrong content, disk; it names the way to do it by hand.
    """
    by_hand = f"; or get {address} elsewhere and put it at {path}"
    if path.is_file() and path.stat().st_size == size and digest_of(path) == sha256:
        return path
    part = path.with_name(path.name + ".part")
    say(f"downloading {title} ({size / 1e6:,.0f} MB) from {address}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        have = part.stat().st_size if part.exists() else 0
        if have > size:
            part.unlink()
            have = 0
        with progress(title, -(-size // BLOCK), have // BLOCK) as bar:
            for attempt in range(TRIES):
                if have == size:
                    break
                try:
                    have = _go_on(address, part, have, size, bar)
                    break  # the server gave all it has, right or wrong
                except _NetworkError as problem:
                    have = part.stat().st_size if part.exists() else 0
                    if problem.final or attempt == TRIES - 1:
                        kept = f" after {have / 1e6:,.1f} MB, which are kept" if have else ""
                        raise UserError(f"cannot download {title}: {problem}{kept}; try again{by_hand}") from None
                    time.sleep(attempt)
        digest = digest_of(part)
        if have != size or digest != sha256:
            part.unlink()
            what = f"{have} bytes instead of {size}" if have != size else f"sha256 {digest} instead of {sha256}"
            raise UserError(f"cannot download {title}: {address} gave another file ({what}); try again{by_hand}")
        os.replace(part, path)
    except OSError as problem:
        raise UserError(f"cannot write {title}: {problem.strerror or problem} ({path.parent}){by_hand}") from None
    return path


class _NetworkError(Exception):
    """Why no more bytes came; `final` where another try would not help."""

    def __init__(self, reason: object, final: bool = False) -> None:
        super().__init__(str(reason))
        self.final = final


def _go_on(address: str, part: Path, have: int, size: int, bar: Bar) -> int:
    """Append what is missing to `part`; one connection. Returns the bytes that are there now (at most `size` + 1)."""
    response, start = _open(address, have)
    with response, open(part, "ab" if start else "wb") as file:
        have = start
        while have <= size:
            try:
                block = response.read(min(BLOCK, size + 1 - have))
            except (OSError, HTTPException) as problem:
                raise _NetworkError(problem) from None
            if not block:
                break
            file.write(block)
            have += len(block)
            bar.advance(have // BLOCK - bar.done)
        file.flush()
        os.fsync(file.fileno())
    length = response.headers.get("Content-Length")
    if have < size and (length is None or have - start < int(length)):
        raise _NetworkError("the connection was cut")
    return have


def _open(address: str, have: int) -> tuple[HTTPResponse, int]:
    """The response, and the byte that it starts with: `have`, or 0 where the server knows no ranges."""
    request = urllib.request.Request(address, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        response: HTTPResponse = urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as problem:
        if problem.code == 416 and have:
            return _open(address, 0)
        raise _NetworkError(f"{address} answered {problem.code} {problem.reason}", final=problem.code < 500) from None
    except urllib.error.URLError as problem:
        raise _NetworkError(f"no connection to {address} ({problem.reason})", final=True) from None
    except (OSError, HTTPException) as problem:
        raise _NetworkError(f"no connection to {address} ({problem})") from None
    ranged = response.status == 206 and response.headers.get("Content-Range", "").startswith(f"bytes {have}-")
    if response.status == 206 and not ranged:
        response.close()
        return _open(address, 0)
    return response, have if ranged else 0
