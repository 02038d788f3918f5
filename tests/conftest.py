"""What tests of several packages share: tiny settings of a method, random batches, float64 throughout."""

import io
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from sizes import least_size
from ugc.cli.main import main
from ugc.core.device import Device
from ugc.data.stream import Batch
from ugc.losses.distillation import DistillationConfig
from ugc.methods.method import METHODS, Method, Setting
from ugc.methods.objective import ObjectiveConfig
from ugc.models.discriminators import PatchConfig
from ugc.models.generator import FAMILIES
from ugc.nn.backbones import Backbone
from ugc.training.player import OptimiserConfig

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a shell's background jobs, and their children, ignore Ctrl-C
    signal.signal(signal.SIGINT, signal.default_int_handler)

SIZE = (32, 32)
torch.set_num_threads(1)  # nets this small only wait for each other's threads


def make_setting(family: str = "pix2pix-resnet", seed: int = 0, objective: dict[str, Any] | None = None,
                 distillation: dict[str, Any] | None = None, patch: dict[str, Any] | None = None,
                 optimiser: dict[str, Any] | None = None, **config: Any) -> Setting:
    """base 8, 32x32 or the least size, one channel to one, no backbone; ResNets have 3 blocks in the body."""
    cls, size = FAMILIES[family], least_size(family, **config)
    fields = {"base": 8, "in_channels": 1, "out_channels": 1, **config}
    if "blocks" in cls.Config.model_fields:
        fields.setdefault("blocks", 3)
    return Setting(
        family=cls, config=cls.config_for(size, **fields),
        patch=PatchConfig(**(patch or {"ndf": 8})).resolved(8, size, cls.judge), size=size, seed=seed,
        device=Device(torch.device("cpu"), "fp32"),
        objective=ObjectiveConfig(**(objective or {})).resolved(cls.objective),
        optimiser=OptimiserConfig(**(optimiser or {})),
        distillation=DistillationConfig(backbone="none", **(distillation or {"l1": 3.0})))


def make_method(name: str = "ugc", options: dict[str, Any] | None = None, **setting: Any) -> Method:
    cls = METHODS[name]
    return cls(cls.Config(**(options or {})), make_setting(**setting))


def make_batch(seed: int, n: int = 2, m: int | None = None, dtype: torch.dtype = torch.float32,
               size: tuple[int, int] = SIZE) -> Batch:
    """Smooth random pictures in [-1, 1]: n pairs and m sources; sides of `size` are multiples of 4."""
    rng = np.random.default_rng(seed)

    def pictures(count: int) -> Tensor:
        coarse = torch.from_numpy(rng.uniform(-1, 1, (max(count, 1), 1, size[0] // 4, size[1] // 4)))[:count].to(dtype)
        return coarse.repeat_interleave(4, 2).repeat_interleave(4, 3) * 0.8

    return Batch(pictures(n), pictures(n), pictures(n if m is None else m))


@pytest.fixture(name="setting_of", scope="session")
def _setting_of() -> Callable[..., Setting]:
    return make_setting


@pytest.fixture(name="method_of", scope="session")
def _method_of() -> Callable[..., Method]:
    return make_method


@pytest.fixture(name="batch_of", scope="session")
def _batch_of() -> Callable[..., Batch]:
    return make_batch


class Eyes(Backbone):
    """A backbone of two taps, 4 and 6 channels, of fixed weights; in the images' precision."""

    name = "eyes"
    perceptual = (0.5, 2.0)

    def __init__(self) -> None:
        super().__init__()
        self.weights = [torch.linspace(-1, 1, 108).sin().view(4, 3, 3, 3), torch.linspace(-2, 1, 216).cos().view(6, 4, 3, 3)]

    def taps(self, images: Tensor) -> list[Tensor]:
        maps = [images]
        for weight in self.weights:
            maps.append(F.leaky_relu(F.conv2d(maps[-1], weight.to(images), stride=2, padding=1), 0.1))
        return maps[1:]


@pytest.fixture
def eyes(monkeypatch: pytest.MonkeyPatch) -> Backbone:
    """What sees for the perceptual term of L_sup in this test, whichever backbone is asked for."""
    backbone = Eyes()
    monkeypatch.setattr("ugc.methods.objective.load_backbone", lambda name, device: backbone)
    return backbone


@pytest.fixture
def doubles(monkeypatch: pytest.MonkeyPatch) -> None:
    """`.float()` leaves float64 alone, so that losses, which leave half precision by it, can be checked in float64."""
    plain = torch.Tensor.float
    monkeypatch.setattr(torch.Tensor, "float", lambda self: self if self.dtype == torch.float64 else plain(self))


# ---- whole runs on a few small pictures ----

class Told(NamedTuple):
    """What a command left: its exit status, stdout and stderr."""

    code: int
    out: str
    err: str

    @property
    def last(self) -> str:
        """The last line on stderr."""
        return self.err.strip().splitlines()[-1]


def run_ugc(*words: object) -> Told:
    """`ugc WORDS` in this process."""
    out, err = io.StringIO(), io.StringIO()
    handler = signal.getsignal(signal.SIGTERM)
    with redirect_stdout(out), redirect_stderr(err):
        try:
            code = main([str(word) for word in words])
        except SystemExit as end:
            code = int(end.code or 0)
        finally:
            signal.signal(signal.SIGTERM, handler)
    return Told(code, out.getvalue(), err.getvalue())


def make_pairs(root: Path, channels: tuple[int, int] = (3, 3), pairs: int = 8, alone: int = 12, test: int = 4,
               seed: int = 0) -> Path:
    """trainA trainB testA testB of 40x40: coarse coloured squares, and their negatives; `alone` sources have no target."""
    rng = np.random.default_rng(seed)
    for split, count, lone in (("train", pairs, alone), ("test", test, 0)):
        for i in range(count + lone):
            source = rng.integers(0, 256, (5, 5, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
            for side, pixels, n in (("A", source, channels[0]), ("B", 255 - source, channels[1])):
                if side == "A" or i < count:
                    path = root / f"{split}{side}" / f"{i:02d}.png"
                    path.parent.mkdir(parents=True, exist_ok=True)
                    Image.fromarray(pixels if n == 3 else pixels[..., 0]).save(path)
    return root


def make_labels(root: Path, splits: Sequence[tuple[str, int]] = (("train", 6), ("val", 3)), city: bool = False,
                instances: bool = True, classes: int = 7, empty_test: bool = False, seed: int = 0) -> Path:
    """Label maps of 32x64 in blocks of 8, ids 1 to classes - 1, and their photos: the ids times 30, in three channels.

    city: as Cityscapes has them; else train_label, train_inst and train_img. The instance of a block has a number from
    its id and one of three more; empty_test: the test's label maps hold Cityscapes' id 3 only.
    """
    rng = np.random.default_rng(seed)
    for split, count in splits:
        for i in range(count):
            coarse = np.full((4, 8), 3) if empty_test and split == "test" else rng.integers(1, classes, (4, 8))
            things = coarse * 1000 + rng.integers(0, 3, (4, 8))
            ids, numbers = (small.repeat(8, 0).repeat(8, 1) for small in (coarse, things))
            key = f"bonn_{i:06d}_000019"
            names = (f"gtFine/{split}/bonn/{key}_gtFine_labelIds", f"gtFine/{split}/bonn/{key}_gtFine_instanceIds",
                     f"leftImg8bit/{split}/bonn/{key}_leftImg8bit")
            if not city:
                names = (f"{split}_label/{i}", f"{split}_inst/{i}", f"{split}_img/{i}")
            maps = (ids.astype(np.uint8), numbers.astype(np.uint16), np.stack([ids * 30] * 3, 2).astype(np.uint8))
            for name, pixels in zip(names, maps):
                if instances or pixels is not maps[1]:
                    path = root / f"{name}.png"
                    path.parent.mkdir(parents=True, exist_ok=True)
                    Image.fromarray(pixels).save(path)
    return root


TINY = ("--base", 8, "--size", 32, "--steps", 3, "--budget", "8x", "--device", "cpu", "--precision", "fp32",
        *(word for setting in ("batch=2", "log_every=1", "grids=1", "distillation.backbone=none", "search.population=4",
                               "search.generations=1", "search.random=2", "search.validation=4", "search.recalibrate=4",
                               "search.trials=2", "search.trial=1")
          for word in ("--set", setting)))


@pytest.fixture(scope="session")
def ugc_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache for all whole runs of the session."""
    home = tmp_path_factory.mktemp("ugc-home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UGC_HOME", str(home))
        yield home


@pytest.fixture(scope="session")
def ugc(ugc_home: Path) -> Iterator[Callable[..., Told]]:
    """ugc("run", folder, ..) -> what it told; the cache is the session's. Dry runs tell no times, which takes seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ugc.engine.rehearsal.rehearse", lambda run, until: iter(()))
        yield run_ugc


@pytest.fixture(scope="session")
def pairs_in() -> Callable[..., Path]:
    """pairs_in(folder, channels=(3, 3), pairs=8, alone=12, test=4): writes a small data set; see `make_pairs`."""
    return make_pairs


@pytest.fixture(scope="session")
def labels_in() -> Callable[..., Path]:
    """labels_in(folder, splits=(("train", 6), ("val", 3)), city=False, ..): a tree of label maps; see `make_labels`."""
    return make_labels


@pytest.fixture(scope="session")
def tiny() -> tuple[object, ...]:
    """The options that make `ugc run` small: base 8, 32x32, 3 steps a stage, a search of some forty nets."""
    return TINY


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """8 pairs, 12 sources without a target, 4 test pairs; colour to colour. Not to be changed."""
    return make_pairs(tmp_path_factory.mktemp("data") / "squares")


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory, ugc: Callable[..., Told], tiny_data: Path) -> Path:
    """A finished run folder: pix2pix-resnet, colour. Not to be changed."""
    folder = tmp_path_factory.mktemp("runs") / "resnet"
    told = ugc("run", tiny_data, "--out", folder, *TINY)
    assert told.code == 0, told.err
    return folder


@pytest.fixture(scope="session")
def tiny_run_unet(tmp_path_factory: pytest.TempPathFactory, ugc: Callable[..., Told]) -> Path:
    """A finished run folder: pix2pix-unet, grey. Not to be changed."""
    data = make_pairs(tmp_path_factory.mktemp("data") / "grey squares", channels=(1, 1))
    folder = tmp_path_factory.mktemp("runs") / "unet"
    told = ugc("run", data, "--out", folder, "--family", "pix2pix-unet", *TINY)
    assert told.code == 0, told.err
    return folder


# ---- a server on the loopback that can misbehave ----

class Loopback(ThreadingHTTPServer):
    """Serves `data` under every path, as a static file; notes what it is asked; cuts, lies and stalls on demand."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        self.address = f"http://127.0.0.1:{self.server_port}"
        self.data = bytes(range(256)) * 20_000  # 5 MB
        self.asked: list[str | None] = []  # the Range header of each request
        self.cuts: list[int] = []  # bytes after which the next connections are cut
        self.status = 200
        self.headers: dict[str, str] = {}  # ETag, Last-Modified, Content-Type
        self.ranges, self.if_range = True, True  # whether it knows these headers
        self.length: int | None = 0  # added to Content-Length; None: it says none
        self.shift = 0  # added to the first byte of a Range answer
        self.after: Callable[[], object] | None = None  # called before a connection is cut

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is no news."""


class _Answers(BaseHTTPRequestHandler):
    server: Loopback

    def do_GET(self) -> None:
        server, asked = self.server, self.headers.get("Range")
        server.asked.append(asked)
        if server.status >= 400:
            self.send_error(server.status)
            return
        known = self.headers.get("If-Range")
        if known and server.if_range and known not in (server.headers.get("ETag"), server.headers.get("Last-Modified")):
            asked = None
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and server.ranges else 0
        if start and start >= len(server.data):
            self.send_error(416)
            return
        start += server.shift if start else 0
        body = server.data[start:]
        self.send_response(206 if start else server.status)
        for name, value in server.headers.items():
            self.send_header(name, value)
        if server.length is not None:
            self.send_header("Content-Length", str(len(body) + server.length))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(server.data) - 1}/{len(server.data)}")
        self.end_headers()
        cut = server.cuts.pop(0) if server.cuts else None
        self.wfile.write(body[:cut])
        if cut is not None and server.after:
            server.after()

    def log_message(self, format: str, *args: Any) -> None:
        """Silent."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Loopback]:
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr("ugc.core.download.time.sleep", lambda seconds: None)
    server = Loopback()
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()
