"""Downloads against a server of our own on the loopback: resumed, checked, whole or absent, one sentence on failure."""

import hashlib
import resource
import shutil
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from ugc.core import download, remote
from ugc.core.download import fetch
from ugc.core.errors import UserError
from ugc.core.pins import pin, pin_file

DATA = bytes(range(256)) * 20_000  # what the server has, 5 MB
SHA = hashlib.sha256(DATA).hexdigest()


def get(server, path):
    return fetch(server.address, path, len(DATA), SHA, "the weights")


def get_unknown(server, path, begins=b""):
    """Of a file whose size and digest nobody publishes."""
    return fetch(server.address, path, None, None, "the set", begins)


def names(folder):
    return sorted(p.name for p in folder.iterdir())


def test_whole_and_then_never_again(server, tmp_path):
    path = tmp_path / "new" / "w.pth"
    assert get(server, path).read_bytes() == DATA
    assert names(path.parent) == ["w.pth"]
    get(server, path)
    assert server.asked == [None]


def test_a_cut_connection_goes_on_where_it_stopped(server, tmp_path):
    server.cuts = [3_000_000, 1_000_000]
    assert get(server, tmp_path / "w.pth").read_bytes() == DATA
    assert server.asked == [None, "bytes=3000000-", "bytes=4000000-"]
    assert names(tmp_path) == ["w.pth"]


def test_a_server_without_ranges_starts_again(server, tmp_path):
    server.cuts, server.ranges = [3_000_000], False
    assert get(server, tmp_path / "w.pth").read_bytes() == DATA
    assert server.asked == [None, "bytes=3000000-"]


def test_a_later_call_goes_on_from_the_part(server, tmp_path):
    server.cuts = [1_000_000, 0, 0, 0, 0]
    with pytest.raises(UserError, match=r"cut \(1\.0 MB are kept\); try again"):
        get(server, tmp_path / "w.pth")
    assert names(tmp_path) == ["w.pth.part", "w.pth.part.json"]
    assert get(server, tmp_path / "w.pth").read_bytes() == DATA
    assert server.asked[-1] == "bytes=1000000-"


def test_a_part_that_is_complete_needs_no_server(server, tmp_path):
    (tmp_path / "w.pth.part").write_bytes(DATA)
    get(server, tmp_path / "w.pth")
    assert server.asked == [] and names(tmp_path) == ["w.pth"]


@pytest.mark.parametrize("old", [b"x" * 1_000_000, b"x" * len(DATA)])
def test_a_part_of_something_else_is_found_by_the_digest(server, tmp_path, old, capsys):
    (tmp_path / "w.pth.part").write_bytes(old)
    assert get(server, tmp_path / "w.pth").read_bytes() == DATA
    assert server.asked[-1] is None and "did not belong" in capsys.readouterr().err
    assert names(tmp_path) == ["w.pth"]


def test_another_file_is_not_fetched_twice(server, tmp_path):
    """The part was given up for it already, so it was no part that spoilt it."""
    server.headers, server.cuts = {"ETag": '"one"'}, [1_000_000, 0, 0, 0, 0]
    with pytest.raises(UserError, match=r"cut"):
        get(server, tmp_path / "w.pth")
    server.headers, server.data = {"ETag": '"two"'}, DATA[::-1]
    asked = len(server.asked)
    with pytest.raises(UserError, match=r"another file \(sha256"):
        get(server, tmp_path / "w.pth")
    assert len(server.asked) == asked + 1


def test_a_part_that_is_too_long_is_dropped(server, tmp_path):
    (tmp_path / "w.pth.part").write_bytes(DATA + b"more")
    assert get(server, tmp_path / "w.pth").read_bytes() == DATA


def test_wrong_content_leaves_nothing(server, tmp_path):
    server.data = DATA[:-1] + b"x"
    with pytest.raises(UserError, match=r"another file \(sha256") as error:
        get(server, tmp_path / "w.pth")
    assert names(tmp_path) == []
    message = str(error.value)
    assert server.address in message and str(tmp_path / "w.pth") in message and "\n" not in message


@pytest.mark.parametrize("data", [DATA[:1000], DATA + b"more"])
def test_wrong_size(server, tmp_path, data):
    server.data = data
    with pytest.raises(UserError, match=r"bytes instead of 5120000"):
        get(server, tmp_path / "w.pth")
    assert names(tmp_path) == [] and len(server.asked) == 1


def test_a_wrong_file_in_place_is_replaced(server, tmp_path):
    (tmp_path / "w.pth").write_bytes(b"x" * len(DATA))
    assert get(server, tmp_path / "w.pth").read_bytes() == DATA


def test_not_found_is_asked_once_and_a_tired_server_more_often(server, tmp_path):
    server.status = 404
    with pytest.raises(UserError, match=r"answered 404 Not Found"):
        get(server, tmp_path / "w.pth")
    assert len(server.asked) == 1
    server.status = 503
    with pytest.raises(UserError, match=r"answered 503"):
        get(server, tmp_path / "w.pth")
    assert len(server.asked) == 1 + download.TRIES


def test_no_network(server, tmp_path):
    server.shutdown()
    server.server_close()
    with pytest.raises(UserError, match=r"no connection to .*put it at"):
        get(server, tmp_path / "w.pth")


def test_no_place_on_disk(server, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot write the weights"):
        get(server, tmp_path / "file" / "w.pth")


def public(server, file):
    """A public file that this server has."""
    return replace(file, address=server.address, size=len(server.data), sha256=hashlib.sha256(server.data).hexdigest())


def test_the_inception_file_comes_through_it(server, tmp_path, monkeypatch):
    import torch

    from ugc.metrics.tools import tools_at_hand
    from ugc.nn import inception

    with torch.device("meta"):
        weights = inception.Inception().state_dict()
    torch.save({key: torch.full(t.shape, 0.5) for key, t in weights.items()}, tmp_path / "made.pth")
    server.data = (tmp_path / "made.pth").read_bytes()
    server.cuts = [1_000_000]
    monkeypatch.setenv("UGC_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("UGC_INCEPTION", raising=False)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.setattr(inception, "PUBLIC", public(server, inception.PUBLIC))
    assert "inception" not in tools_at_hand().provenance and not server.asked  # never fetched unasked
    assert tools_at_hand(inception=True).extractors[1].net.fc.weight.eq(0.5).all()
    assert len(server.asked) == 2
    assert "inception" in tools_at_hand().provenance and len(server.asked) == 2  # from now on it is at hand
    where = tmp_path / "hub" / "checkpoints" / "weights-inception-2015-12-05-6726825d.pth"  # as another tool calls it
    where.parent.mkdir(parents=True)
    (tmp_path / "home" / inception.PUBLIC.name).rename(where)
    assert inception.Inception.cached() == where


def test_the_vgg16_file_comes_through_it(server, tmp_path, monkeypatch):
    import torch

    from ugc.nn import vgg16
    from ugc.nn.backbones import load_backbone

    torch.save(vgg16.VGG16().state_dict(), tmp_path / "made.pth")
    server.data = (tmp_path / "made.pth").read_bytes()
    server.cuts = [1_000_000]
    monkeypatch.setenv("UGC_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("UGC_VGG16", raising=False)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.setattr(vgg16, "PUBLIC", public(server, vgg16.PUBLIC))
    assert load_backbone("vgg16").name == load_backbone("auto").name == "vgg16"
    assert len(server.asked) == 2


# ---- files that may have changed, and whose digest nobody publishes ----

OTHER = DATA[::-1]


def test_the_rest_of_another_file_is_not_taken(server, tmp_path):
    """The server's file has changed between two calls: never half of one and half of the other."""
    server.headers, server.cuts = {"ETag": '"one"'}, [3_000_000, 0, 0, 0, 0]
    with pytest.raises(UserError, match=r"3\.0 MB are kept"):
        get_unknown(server, tmp_path / "s")
    server.headers, server.data = {"ETag": '"two"'}, OTHER
    assert get_unknown(server, tmp_path / "s").read_bytes() == OTHER
    assert server.asked[-1] == "bytes=3000000-"
    assert names(tmp_path) == ["s"]


@pytest.mark.parametrize("headers", [{"ETag": '"one"'},
                                     {"ETag": 'W/"weak"', "Last-Modified": "Sun, 02 Sep 2018 08:58:00 GMT"}])
def test_the_rest_of_the_same_file_is(server, tmp_path, headers):
    server.headers, server.cuts = headers, [3_000_000]
    assert get_unknown(server, tmp_path / "s").read_bytes() == DATA
    assert server.asked == [None, "bytes=3000000-"]


@pytest.mark.parametrize("size", [len(DATA), len(DATA) - 7])
def test_a_server_that_ignores_if_range_is_found_out(server, tmp_path, size):
    """By the ETag of its answer; by the length where it gives none then."""
    server.headers, server.cuts, server.if_range = {"ETag": '"one"'}, [3_000_000, 0, 0, 0, 0], False
    with pytest.raises(UserError):
        get_unknown(server, tmp_path / "s")
    server.data, server.headers = OTHER[:size], {"ETag": '"two"'} if size == len(DATA) else {}
    assert get_unknown(server, tmp_path / "s").read_bytes() == OTHER[:size]
    assert server.asked[-2:] == ["bytes=3000000-", None]


def test_without_etag_date_and_digest_it_begins_anew(server, tmp_path, capsys):
    server.cuts = [3_000_000]
    assert get_unknown(server, tmp_path / "s").read_bytes() == DATA
    assert server.asked == [None, None]
    assert "begins anew" in capsys.readouterr().err


def test_a_file_that_has_become_shorter(server, tmp_path):
    server.headers, server.cuts = {"ETag": '"one"'}, [3_000_000, 0, 0, 0, 0]
    with pytest.raises(UserError):
        get_unknown(server, tmp_path / "s")
    server.if_range, server.data = False, DATA[:1000]  # answers 416
    assert get_unknown(server, tmp_path / "s").read_bytes() == DATA[:1000]


def test_the_first_digest_counts(server, tmp_path):
    path = tmp_path / "s"
    pin(get_unknown(server, path), server.address)
    path.unlink()
    assert get_unknown(server, path).read_bytes() == DATA  # the same again
    path.write_bytes(b"spoilt")
    assert get_unknown(server, path).read_bytes() == DATA
    path.unlink()
    server.data = OTHER
    with pytest.raises(UserError, match=f"another file.*first download.*remove {pin_file(path)}"):
        get_unknown(server, path)
    assert names(tmp_path) == [pin_file(path).name]
    pin_file(path).unlink()
    assert get_unknown(server, path).read_bytes() == OTHER


# ---- lies ----

def test_a_wrong_range_answer_is_not_taken(server, tmp_path):
    server.headers, server.cuts, server.shift = {"ETag": '"one"'}, [3_000_000], 5
    assert get_unknown(server, tmp_path / "s").read_bytes() == DATA
    assert server.asked == [None, "bytes=3000000-", None]


def test_a_part_that_nobody_asked_for(server, tmp_path):
    server.status = 206
    with pytest.raises(UserError, match=r"answered 206"):
        get(server, tmp_path / "w")
    assert len(server.asked) == 1 and names(tmp_path) == []


def test_a_page_instead_of_the_file(server, tmp_path):
    """It is told by its first bytes, and what has come of the file before stays."""
    server.headers, server.data, server.cuts = {"ETag": '"one"'}, b"\x1f\x8b" + DATA, [3_000_000, 0, 0, 0, 0]
    with pytest.raises(UserError, match=r"cut"):
        get_unknown(server, tmp_path / "s", b"\x1f\x8b")
    server.headers, server.data = {"Content-Type": "text/html"}, b"<!DOCTYPE html><title>Log in</title>" * 200
    with pytest.raises(UserError, match=r"text/html that begins with '<!DOCTYPE.*\(3\.0 MB are kept\)"):
        get_unknown(server, tmp_path / "s", b"\x1f\x8b")
    server.headers, server.data = {"ETag": '"one"'}, b"\x1f\x8b" + DATA
    assert get_unknown(server, tmp_path / "s", b"\x1f\x8b").read_bytes() == server.data
    assert server.asked[-1] == "bytes=3000000-"


def test_a_length_that_is_too_long_ends(server, tmp_path):
    server.length = 1000
    with pytest.raises(UserError, match=r"connection was cut"):
        get_unknown(server, tmp_path / "s")
    assert len(server.asked) < 3 * download.TRIES
    with pytest.raises(UserError, match=r"5121000 bytes instead of 5120000"):
        get(server, tmp_path / "w")


def test_a_length_that_is_not_said(server, tmp_path):
    server.length = None
    with pytest.raises(UserError, match=r"does not say how long"):
        get_unknown(server, tmp_path / "s")
    assert names(tmp_path) == []


# ---- stalls, stops, full disks, company ----

def test_a_stalled_server(server, tmp_path, monkeypatch):
    monkeypatch.setattr(remote, "TIMEOUT", 0.1)
    go = threading.Event()
    server.cuts, server.after = [2_500_000, 0, 0, 0, 0], lambda: go.wait(5)
    with pytest.raises(UserError, match=r"nothing came for 0\.1 s \(2\.5 MB are kept\); try again; or get"):
        get(server, tmp_path / "w")
    go.set()
    assert get(server, tmp_path / "w").read_bytes() == DATA
    assert server.asked[-1] == "bytes=2500000-"


def test_a_bad_line_that_goes_forward_is_borne(server, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "TRIES", 2)
    server.cuts = [1_200_000] * 4  # more cuts than tries
    assert get(server, tmp_path / "w").read_bytes() == DATA


def test_ctrl_c_keeps_the_part(server, tmp_path, capsys):
    server.headers, server.cuts = {"ETag": '"one"'}, [2_000_000]
    main, pause = threading.main_thread().ident, threading.Event()

    def interrupt():
        while (tmp_path / "s.part").stat().st_size < 1_900_000:
            pause.wait(0.01)
        signal.pthread_kill(main, signal.SIGINT)
        pause.wait(0.3)

    server.after = interrupt
    with pytest.raises(KeyboardInterrupt):
        get_unknown(server, tmp_path / "s")
    assert "stopped (2.0 MB are kept); the same command goes on" in capsys.readouterr().err
    server.after = None
    assert get_unknown(server, tmp_path / "s").read_bytes() == DATA
    assert server.asked == [None, "bytes=2000000-"]


def test_a_full_disk(server, tmp_path):
    """A limit on the size of files fails as a full disk does: in the middle of a write."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, before[1]))
    try:
        with pytest.raises(UserError, match=r"cannot write the weights: .*\(\d\.\d MB are kept\)") as error:
            get(server, tmp_path / "w")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "\n" not in str(error.value)
    assert get(server, tmp_path / "w").read_bytes() == DATA
    assert len(server.asked) == 2 and server.asked[1].startswith("bytes=")


def test_too_little_room_is_said_before(server, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(download.shutil, "disk_usage", lambda path: usage._replace(free=3_000_000))
    with pytest.raises(UserError, match=r"5 MB are to come, and .* has 3 MB free; make room"):
        get(server, tmp_path / "w")
    assert names(tmp_path) == []


def test_two_at_once_are_one_download(server, tmp_path, capsys):
    go, both = threading.Event(), ThreadPoolExecutor(2)
    server.cuts, server.after = [1_000_000], lambda: go.wait(60)
    first = both.submit(get, server, tmp_path / "w")
    while not server.asked:
        time.sleep(0.01)
    second = both.submit(get, server, tmp_path / "w")
    while "waiting for it" not in capsys.readouterr().err:
        assert not second.done()
        time.sleep(0.01)
    go.set()
    assert first.result().read_bytes() == second.result().read_bytes() == DATA
    assert server.asked == [None, "bytes=1000000-"] and names(tmp_path) == ["w"]
