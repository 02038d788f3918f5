"""Archives from strangers: what leads out, links, floods, lies or is spoilt is refused in one sentence."""

import gzip
import io
import re
import tarfile

import pytest

from ugc.core import archive as module
from ugc.core.archive import DamagedError, unpack
from ugc.core.errors import UserError

PICTURE = bytes(range(256)) * 40


def made(path, *members, tail=b""):
    """A .tar.gz of (name, bytes or a TarInfo's changes)."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            body = content if isinstance(content, bytes) else b""
            info.size = len(body)
            for key, value in ({} if isinstance(content, bytes) else content).items():
                setattr(info, key, value)
            tar.addfile(info, io.BytesIO(body) if body else None)
    path.write_bytes(gzip.compress(out.getvalue() + tail, 1))
    return path


def tree(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*")) if folder.exists() else []


def test_plain_files_come_out_as_they_went_in(tmp_path):
    made(tmp_path / "a.tgz", ("./", {"type": tarfile.DIRTYPE}), ("./set/train/", {"type": tarfile.DIRTYPE}),
         ("./set/train/1.jpg", PICTURE), ("set/val/2.jpg", b""), ("set/._1.jpg", b"x"), ("set/.hidden/3.jpg", b"x"))
    assert unpack(tmp_path / "a.tgz", tmp_path / "out", "set", 1_000_000) == 2
    assert tree(tmp_path / "out") == ["set", "set/train", "set/train/1.jpg", "set/val", "set/val/2.jpg"]
    assert (tmp_path / "out/set/train/1.jpg").read_bytes() == PICTURE


def test_modes_of_the_archive_are_not_taken_over(tmp_path):
    made(tmp_path / "a.tgz", ("1.jpg", {"mode": 0o4777}), ("d", {"type": tarfile.DIRTYPE, "mode": 0}), ("d/2.jpg", b"x"))
    unpack(tmp_path / "a.tgz", tmp_path / "out", "set", 1000)
    assert not (tmp_path / "out/1.jpg").stat().st_mode & 0o7111
    assert (tmp_path / "out/d/2.jpg").read_bytes() == b"x"


EVIL = [
    ("/etc/evil.jpg", PICTURE, "leads out"),
    ("../evil.jpg", PICTURE, "leads out"),
    ("set/../../evil.jpg", PICTURE, "leads out"),
    ("set/..", {"type": tarfile.DIRTYPE}, "leads out"),
    ("..\\evil.jpg", PICTURE, "leads out"),
    ("C:/evil.jpg", PICTURE, "leads out"),
    (".", PICTURE, "without a name"),
    ("set/link", {"type": tarfile.SYMTYPE, "linkname": "/etc"}, "a link"),
    ("set/link", {"type": tarfile.SYMTYPE, "linkname": "1.jpg"}, "a link"),
    ("set/hard", {"type": tarfile.LNKTYPE, "linkname": "set/1.jpg"}, "a link"),
    ("set/device", {"type": tarfile.CHRTYPE, "devmajor": 1, "devminor": 3}, "a device"),
    ("set/disk", {"type": tarfile.BLKTYPE}, "a device"),
    ("set/pipe", {"type": tarfile.FIFOTYPE}, "a device"),
    ("set/1.jpg", PICTURE, "twice"),
]


@pytest.mark.parametrize(("name", "content", "why"), EVIL, ids=[f"{name}-{why}" for name, _, why in EVIL])
def test_evil_members_are_refused(tmp_path, name, content, why):
    box = tmp_path / "a" / "b"
    box.mkdir(parents=True)
    made(box / "a.tgz", ("set/1.jpg", PICTURE), (name, content))
    with pytest.raises(UserError, match=f"{re.escape(repr(name))}.*{why}.*refused") as error:
        unpack(box / "a.tgz", box / "out", "set", 1_000_000)
    assert not isinstance(error.value, DamagedError) and "\n" not in str(error.value)
    assert tree(tmp_path) == ["a", "a/b", "a/b/a.tgz", "a/b/out", "a/b/out/set", "a/b/out/set/1.jpg"]


def test_a_link_out_and_a_file_through_it(tmp_path):
    (tmp_path / "outside").mkdir()
    link = {"type": tarfile.SYMTYPE, "linkname": str(tmp_path / "outside")}
    made(tmp_path / "a.tgz", ("set", link), ("set/x.jpg", PICTURE))
    with pytest.raises(UserError, match=r"a link"):
        unpack(tmp_path / "a.tgz", tmp_path / "out", "set", 1_000_000)
    assert tree(tmp_path / "outside") == []


def test_a_flood_is_stopped_before_it_is_written(tmp_path):
    """40 MB of nothing in 40 kB; and many files that are too much together."""
    made(tmp_path / "a.tgz", ("1.jpg", PICTURE), ("zeros.jpg", bytes(40_000_000)))
    with pytest.raises(UserError, match=r"more than 1 MB \(zeros.jpg"):
        unpack(tmp_path / "a.tgz", tmp_path / "out", "set", 1_000_000)
    assert tree(tmp_path / "out") == ["1.jpg"]
    made(tmp_path / "b.tgz", *((f"{i}.jpg", PICTURE) for i in range(100)))
    with pytest.raises(UserError, match=r"more than 1 MB \(97.jpg"):
        unpack(tmp_path / "b.tgz", tmp_path / "other", "set", 1_000_000)


def test_a_hidden_flood_counts_too(tmp_path):
    made(tmp_path / "a.tgz", (".zeros", bytes(4_000_000)), ("1.jpg", PICTURE))
    with pytest.raises(UserError, match=r"more than 1 MB"):
        unpack(tmp_path / "a.tgz", tmp_path / "out", "set", 1_000_000)


def test_a_header_that_would_fill_the_memory(tmp_path):
    """A pax header of 64 MB, of a size that tarfile would read at once."""
    made(tmp_path / "a.tgz", ("x", {"type": tarfile.XHDTYPE, "size": 64 << 20}), tail=bytes(64 << 20))
    with pytest.raises(DamagedError, match=r"header of 67108864 bytes"):
        unpack(tmp_path / "a.tgz", tmp_path / "out", "set", 1_000_000)


def test_a_name_as_long_as_the_disk_allows(tmp_path):
    made(tmp_path / "a.tgz", ("d/" * 3000 + "1.jpg", PICTURE))
    with pytest.raises(UserError, match=r"cannot unpack"):
        unpack(tmp_path / "a.tgz", tmp_path / "out", "set", 1_000_000)


def test_every_cut_and_every_flipped_bit_is_found(tmp_path):
    """Wherever the file ends too soon, and whichever of its bits is wrong: damaged, or what went in comes out."""
    whole = made(tmp_path / "a.tgz", ("set/train/1.jpg", PICTURE), ("set/train/2.jpg", PICTURE[::-1])).read_bytes()
    trailer = range(len(whole) - 8, len(whole))  # checksum and length
    for n, at in enumerate([*range(0, trailer[0], len(whole) // 60), *trailer]):
        flipped = bytearray(whole)
        flipped[at] ^= 1 << n % 8
        for kind, data in (("cut", whole[:at]), ("flip", bytes(flipped))):
            (tmp_path / "b.tgz").write_bytes(data)
            out = tmp_path / f"{kind}{at}"
            try:
                count = unpack(tmp_path / "b.tgz", out, "set", 1_000_000)
            except DamagedError as error:
                assert "is damaged" in str(error) and "\n" not in str(error)
            else:  # a bit that means nothing, such as one of the time in gzip's header
                assert kind == "flip" and at not in trailer and count == 2
                assert (out / "set/train/1.jpg").read_bytes() == PICTURE
                assert (out / "set/train/2.jpg").read_bytes() == PICTURE[::-1]


@pytest.mark.parametrize("data", [b"", b"<!DOCTYPE html>", gzip.compress(b"not a tar"), gzip.compress(b"x" * 5000)],
                         ids=["nothing", "a page", "gzip", "long gzip"])
def test_no_archive_at_all(tmp_path, data):
    (tmp_path / "a.tgz").write_bytes(data)
    with pytest.raises(DamagedError, match=r"is damaged"):
        unpack(tmp_path / "a.tgz", tmp_path / "out", "set", 1_000_000)
    assert tree(tmp_path / "out") == []


def test_a_spoilt_header_in_the_middle_is_no_end(tmp_path):
    """tarfile takes it for the end of the archive, and the rest would be missed."""
    path = made(tmp_path / "a.tgz", ("1.jpg", PICTURE), ("2.jpg", PICTURE))
    plain = bytearray(gzip.decompress(path.read_bytes()))
    plain[512 + len(PICTURE)] ^= 1  # the name in the second header; gzip's checksum is right
    path.write_bytes(gzip.compress(bytes(plain)))
    with pytest.raises(DamagedError, match=r"damaged"):
        unpack(path, tmp_path / "out", "set", 1_000_000)


def test_a_disk_that_is_full(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.shutil, "copyfileobj", full)
    made(tmp_path / "a.tgz", ("1.jpg", PICTURE))
    with pytest.raises(UserError, match=r"cannot unpack .*No space left on device") as error:
        unpack(tmp_path / "a.tgz", tmp_path / "out", "set", 1_000_000)
    assert not isinstance(error.value, DamagedError)
