"""Saved nets on the Hugging Face hub, against a small hub of our own on the loopback."""

import base64
import hashlib
import json
import re
import shutil
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import torch
from huggingface_hub import constants
from PIL import Image

import ugc
from ugc.core.errors import UserError
from ugc.export.hub import located
from ugc.export.saved import load_net, save_net
from ugc.models.generator import shrink


class Hub(ThreadingHTTPServer):
    """As much of a hub as uploading a folder and fetching it take: `repos[name][sha]` are files, `refs[name][ref]` a sha."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server_port}"
        self.repos, self.refs, self.made, self.served, self.tokens, self.status = {}, {}, [], [], set(), None

    def commit(self, name, files):
        files = {**self.repos.get(name, {}).get(self.refs.get(name, {}).get("main"), {}), **files}
        sha = hashlib.sha1(repr(sorted(files.items())).encode()).hexdigest()
        self.repos.setdefault(name, {})[sha] = files
        self.refs.setdefault(name, {})["main"] = sha
        return sha

    def handle_error(self, request, client_address):
        pass


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, body, status=200, **headers):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for key, value in {"Content-Length": str(len(data)), **headers}.items():
            self.send_header(key.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def refuse(self, status, code=""):
        self.answer({"error": "refused"}, status, **({"X_Error_Code": code} if code else {}))

    def do_POST(self):
        hub, path = self.server, urlsplit(self.path).path
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        hub.tokens.add(self.headers.get("Authorization"))
        if hub.status:
            self.refuse(hub.status)
        elif path == "/api/validate-yaml":
            self.answer({"errors": [], "warnings": []})
        elif path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked['organization']}/{asked['name']}"
            exists = name in hub.repos
            hub.made.append((name, "private" if asked.get("private") or asked.get("visibility") == "private" else "public"))
            hub.commit(name, {".gitattributes": b""})
            self.answer({"url": f"{hub.address}/{name}"}, 409 if exists else 200)
        elif found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/preupload/main", path):
            self.answer({"files": [{"path": file["path"], "uploadMode": "regular", "shouldIgnore": False, "oid": None}
                                   for file in json.loads(body)["files"]]})
        elif found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/commit/main", path):
            rows = [json.loads(line) for line in body.splitlines()]
            sha = hub.commit(found[1], {row["value"]["path"]: base64.b64decode(row["value"]["content"])
                                        for row in rows if row["key"] == "file"})
            self.answer({"success": True, "commitOid": sha, "commitUrl": f"{hub.address}/{found[1]}/commit/{sha}"})
        else:
            self.refuse(404)

    def do_GET(self):
        hub, path = self.server, unquote(urlsplit(self.path).path)
        if hub.status:
            self.refuse(hub.status, "GatedRepo" if hub.status == 403 else "")
        elif found := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/(revision|tree)/([^/]+))?", path):
            name, what, revision = found[1], found[2], found[3] or "main"
            sha = hub.refs.get(name, {}).get(revision, revision)
            if name not in hub.repos:
                self.refuse(404, "RepoNotFound")
            elif sha not in hub.repos[name]:
                self.refuse(404, "RevisionNotFound")
            elif what == "tree":
                self.answer([{"type": "file", "path": file, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
                             for file, data in hub.repos[name][sha].items()])
            else:
                self.answer({"id": name, "modelId": name, "sha": sha, "private": False, "tags": [], "downloads": 0,
                             "siblings": [{"rfilename": file} for file in hub.repos[name][sha]]})
        elif found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            data = hub.repos[found[1]][found[2]][found[3]]
            hub.served.append((self.command, found[3]))
            self.answer(data, ETag=f'"{hashlib.sha1(data).hexdigest()}"', X_Repo_Commit=found[2])
        else:
            self.refuse(404)

    do_HEAD = do_GET  # noqa: N815

    def log_message(self, *args):
        pass


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A hub that huggingface_hub takes for the real one, with a token, and an empty cache."""
    server = Hub()
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setenv("HF_TOKEN", "hf_example")
    monkeypatch.setattr(constants, "ENDPOINT", server.address)
    template = "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", server.address + template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", True)
    monkeypatch.chdir(tmp_path)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def saved(setting_of, tmp_path):
    """A student's folder with a card, and things that are nobody's business."""
    setting = setting_of("pix2pix-resnet")
    net = setting.family(setting.config).init(torch.Generator().manual_seed(0))
    folder = tmp_path / "net"
    save_net(shrink(net, net.space.uniform(2, 1)), folder, "pix2pix-resnet", "student", (32, 32), {})
    (folder / "README.md").write_text("---\nlicense: other\n---\n# a card\n")
    (folder / "notes.txt").write_text("private")
    (folder / ".env").write_text("secret")
    return folder


def test_up_and_down_again(hub, saved, tmp_path):
    """What is fetched by name computes what was uploaded; only the net, its card and its ONNX file go up."""
    assert ugc.push_to_hub(saved, "ann/small") == f"{hub.address}/ann/small"
    files = hub.repos["ann/small"][hub.refs["ann/small"]["main"]]
    assert set(files) == {".gitattributes", "config.json", "model.safetensors", "README.md"}
    assert files["model.safetensors"] == (saved / "model.safetensors").read_bytes()
    assert hub.made == [("ann/small", "public")] and hub.tokens == {"Bearer hf_example"}
    ours, theirs = load_net(saved)[0], ugc.load("ann/small", "cpu").net
    x = torch.rand(1, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    assert torch.equal(ours(x), theirs(x))
    assert {file for _, file in hub.served} == {"config.json", "model.safetensors"}  # no code, no pickle, no picture
    (saved / "model.onnx").write_bytes(b"graph")
    ugc.push_to_hub(saved, "ann/small")  # again, with one more
    assert hub.repos["ann/small"][hub.refs["ann/small"]["main"]]["model.onnx"] == b"graph"


def test_a_revision(hub, saved):
    first = hub.commit("ann/small", {name: (saved / name).read_bytes() for name in ("config.json", "model.safetensors")})
    hub.refs["ann/small"]["v1"] = first
    hub.commit("ann/small", {"config.json": b"{}"})
    assert ugc.load("ann/small@v1").about["role"] == "student"
    assert ugc.load(f"ann/small@{first}").about["role"] == "student"
    with pytest.raises(UserError, match=r"config\.json is not of a net"):
        ugc.load("ann/small")
    with pytest.raises(UserError, match="has no such revision"):
        ugc.load("ann/small@v2")


def test_offline_it_comes_from_the_cache(hub, saved, monkeypatch):
    ugc.push_to_hub(saved, "ann/small")
    ugc.load("ann/small")
    served = len(hub.served)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert ugc.load("ann/small").about["role"] == "student" and len(hub.served) == served
    refused("HF_HUB_OFFLINE is set, and it is not in the cache", ugc.load, "ann/other")
    assert refused("HF_HUB_OFFLINE is set", ugc.push_to_hub, saved, "ann/small").endswith("HF_HUB_OFFLINE is set")


def refused(why, function, *arguments):
    with pytest.raises(UserError) as error:
        function(*arguments)
    assert why in str(error.value) and "\n" not in str(error.value), str(error.value)
    return str(error.value)


def test_what_can_be_mended(hub, saved, tmp_path, monkeypatch):
    told = refused("there is no such name, or it is private", ugc.load, "runs/studnet")  # a slip in a folder's name
    assert "runs/studnet is no folder here" in told
    hub.commit("ann/other", {"pytorch_model.bin": b"pickle", "config.json": b"{}"})
    refused("holds no net of ugc: model.safetensors not there", ugc.load, "ann/other")
    refused("expected a name such as org/name", ugc.push_to_hub, saved, "small")
    refused("expected a name such as org/name", ugc.push_to_hub, saved, "ann/small@v1")
    refused("holds no saved net", ugc.push_to_hub, tmp_path / "none", "ann/small")
    assert hub.made == []
    hub.status = 403
    refused("on request only", ugc.load, "ann/gated")
    refused("was not uploaded to ann/small", ugc.push_to_hub, saved, "ann/small")
    hub.status = 401
    assert "hf auth login" in refused("was not uploaded to ann/small", ugc.push_to_hub, saved, "ann/small")
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")  # nobody listens there
    refused("no connection", ugc.load, "ann/small")
    refused("was not uploaded to ann/small: ConnectError", ugc.push_to_hub, saved, "ann/small")


def test_a_missing_package_is_named(saved, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)  # as if it were not installed
    assert "ann/small is no folder here" in refused("pip install 'ugc[hub]'", ugc.load, "ann/small")
    refused("pip install 'ugc[hub]'", ugc.push_to_hub, saved, "ann/small")


@pytest.mark.parametrize("text", ["net", "/a/b", "a/b/c", "../net", "./net", "a/b@", "a/b@c@d", ".hidden/net", "a b/c"])
def test_what_is_no_name_is_a_folder(text, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")  # no saved net is near
    assert located(Path(text)) == Path(text)


def test_a_folder_comes_first(hub, saved, tmp_path):
    saved.rename(tmp_path / "ann")
    (tmp_path / "runs").mkdir()
    (tmp_path / "ann").rename(tmp_path / "runs/ann")
    assert ugc.load("runs/ann").about["role"] == "student" and hub.served == []


@pytest.fixture
def nets(saved, tmp_path):
    """r1/student and r1/original are saved nets, r1/stages is none, empty/ is empty."""
    for folder in ("r1/stages", "empty"):
        (tmp_path / folder).mkdir(parents=True)
    shutil.copytree(saved, tmp_path / "r1/original")
    shutil.move(saved, tmp_path / "r1/student")


@pytest.mark.parametrize("text", ["r1/studnet", "./r1/studnet", "r1/studnet/", "r1//studnet", "empty/../r1/studnet",
                                  "~/studnet"])
def test_a_slip_in_a_path_asks_nobody(hub, nets, tmp_path, monkeypatch, text):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)  # would be told
    monkeypatch.chdir(tmp_path)
    told = refused("no saved net" if text[0] == "~" else "did you mean 'student'? known: original, student", ugc.load, text)
    assert ("r1/studnet@main asks the Hugging Face hub" in told) == (text == "r1/studnet")


def test_a_path_or_a_name(hub, nets, tmp_path):
    """A folder `org` says path; a revision, or no such folder, says name; what begins with ./ is never one."""
    assert "(empty holds none)" in refused("empty/net holds no saved net, it is not there", ugc.load, "empty/net")
    refused("holds no saved net", ugc.load, "./ann/small")
    ugc.push_to_hub(tmp_path / "r1/student", "r1/small")
    assert hub.served == []
    refused("known: original, student); r1/small@main asks", ugc.load, "r1/small")
    assert hub.served == [] and ugc.load("r1/small@main").about["role"] == "student" and hub.served


def test_from_the_command_line(hub, saved, ugc, tmp_path):
    told = ugc("push", saved, "ann/small", "--private")
    assert told.code == 0 and told.last == f"uploaded to {hub.address}/ann/small" and hub.made == [("ann/small", "private")]
    (saved / "README.md").unlink()
    assert "has no model card" in ugc("push", saved, "ann/small").err
    told = ugc("push", saved, "small")
    assert told.code == 2 and told.last.startswith("ugc: ")
    Image.new("L", (20, 30)).save(tmp_path / "in.png")
    told = ugc("translate", "net/small", tmp_path / "in.png", tmp_path / "out.png")
    assert told.code == 2 and told.last.startswith("ugc: net/small holds no saved net")
    assert not (tmp_path / "out.png").exists()
    assert ugc("translate", "ann/small", tmp_path / "in.png", tmp_path / "out.png", "--device", "cpu").code == 0
    assert Image.open(tmp_path / "out.png").size == (20, 30)
