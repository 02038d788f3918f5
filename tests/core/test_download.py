"""Downloads against a server of our own on the loopback: resumed, checked, whole or absent, one sentence on failure."""

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from ugc.core import download
from ugc.core.download import fetch
from ugc.core.errors import UserError

DATA = bytes(range(256)) * 20_000  # 5 MB
SHA = hashlib.sha256(DATA).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves DATA; counts what it is asked; can cut connections, ignore ranges, send something else."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked = []  # the Range header of each request
        self.cuts = []  # bytes after which the next connections are cut
        self.ranges, self.status, self.data = True, 200, DATA
        self.address = f"http://127.0.0.1:{self.server_port}/weights.pth"

    def handle_error(self, request, client_address):
        pass


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        asked = self.headers.get("Range")
        self.server.asked.append(asked)
        if self.server.status != 200:
            self.send_error(self.server.status)
            return
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and self.server.ranges else 0
        body = self.server.data[start:]
        if asked and self.server.ranges and not body:
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body)))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(self.server.data) - 1}/{len(self.server.data)}")
        self.end_headers()
        self.wfile.write(body[: self.server.cuts.pop(0)] if self.server.cuts else body)

    def log_message(self, *args):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(download.time, "sleep", lambda seconds: None)
    server = Server()
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def get(server, path):
    return fetch(server.address, path, len(DATA), SHA, "the weights")


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
    with pytest.raises(UserError, match=r"cut after 1\.0 MB, which are kept; try again"):
        get(server, tmp_path / "w.pth")
    assert names(tmp_path) == ["w.pth.part"]
    assert get(server, tmp_path / "w.pth").read_bytes() == DATA
    assert server.asked[-1] == "bytes=1000000-"


def test_a_part_that_is_complete_needs_no_server(server, tmp_path):
    (tmp_path / "w.pth.part").write_bytes(DATA)
    get(server, tmp_path / "w.pth")
    assert server.asked == [] and names(tmp_path) == ["w.pth"]


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
    with pytest.raises(UserError, match="bytes instead of 5120000"):
        get(server, tmp_path / "w.pth")
    assert names(tmp_path) == [] and len(server.asked) == 1


def test_a_wrong_file_in_place_is_replaced(server, tmp_path):
    (tmp_path / "w.pth").write_bytes(b"x" * len(DATA))
    assert get(server, tmp_path / "w.pth").read_bytes() == DATA


def test_not_found_is_asked_once_and_a_tired_server_more_often(server, tmp_path):
    server.status = 404
    with pytest.raises(UserError, match="answered 404 Not Found"):
        get(server, tmp_path / "w.pth")
    assert len(server.asked) == 1
    server.status = 503
    with pytest.raises(UserError, match="answered 503"):
        get(server, tmp_path / "w.pth")
    assert len(server.asked) == 1 + download.TRIES


def test_no_network(server, tmp_path):
    server.shutdown()
    server.server_close()
    with pytest.raises(UserError, match=r"no connection to .*put it at"):
        get(server, tmp_path / "w.pth")


def test_no_place_on_disk(server, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write the weights"):
        get(server, tmp_path / "file" / "w.pth")


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
    monkeypatch.setattr(vgg16, "ADDRESS", server.address)
    monkeypatch.setattr(vgg16, "SIZE", len(server.data))
    monkeypatch.setattr(vgg16, "SHA256", hashlib.sha256(server.data).hexdigest())
    assert load_backbone("vgg16").name == load_backbone("auto").name == "vgg16"
    assert len(server.asked) == 2
