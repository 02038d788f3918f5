"""Who answers the test sources: a saved net, an ONNX file of one, or a folder of pictures made elsewhere.

A net's answers are scored as the pictures that `ugc translate` writes, rounded to the depth of the sources, so that they
get the same numbers as these pictures.
"""

from __future__ import annotations

import json
import statistics
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

import torch
from torch import Tensor

from ugc.core.encoding import Encoding, encoding_of
from ugc.core.errors import UserError, near
from ugc.core.files import sha256
from ugc.core.images import rounded, to_channels, to_unit, widened
from ugc.core.log import say
from ugc.data.dataset import Size, text_of
from ugc.data.layouts import ENDINGS, Pictures
from ugc.data.pictures import as_channels, picture_info, read_picture
from ugc.data.stream import TestData
from ugc.export.formats import FORMATS, first_line
from ugc.export.saved import load_net, source_of
from ugc.export.wrapped import at_any_size, inputs_of
from ugc.models.generator import Generator
from ugc.nn.cost import total, trace

BATCH = 32
RUNS = 30


class Questions(Protocol):
    """What answers are compared with: `batches` of (source, truth), [n, C, H, W]; `depth`, the sources' dtype; `name`, the
    data set whose targets these are, "" where they are of none."""

    @property
    def depth(self) -> Any: ...
    @property
    def encoding(self) -> Encoding: ...
    @property
    def name(self) -> str: ...
    def __len__(self) -> int: ...
    def batches(self, batch: int) -> Iterator[tuple[Tensor, Tensor]]: ...


class Answers(ABC):
    """Answers to the test sources, and what they cost."""

    path: Path
    size: Size  # of one picture: what a net was trained at, what a folder holds
    source: Encoding | None = None  # what is answered; None takes any
    colours = 0  # channels of an answer; 0: any
    direction: str | None = None  # AtoB or BtoA, where it is known

    @abstractmethod
    def batches(self, asked: Questions, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
        """(answer, truth), [n, C, H, W] in [-1, 1] on the device, in the order of the questions, BATCH at a time."""

    @abstractmethod
    def about(self) -> dict[str, Any]:
        """What a reader of the numbers must know."""

    def cost(self, size: Size) -> dict[str, float]:
        """`params`, `macs`, `macs_paper`, `latency_ms` of one picture; what nobody knows is left out."""
        return {}

    def check(self, data: TestData) -> None:
        """UserError unless these can be scored on that data."""
        if self.source and not self.source.same(data.encoding):
            raise UserError(f"{self.path} takes {self.source.text}; the sources of the data are read as "
                            f"{data.encoding.text}")
        if self.colours not in (0, data.targets.shape[3]):
            raise UserError(f"{self.path} gives {self.colours} channel(s); the targets of the data are read as "
                            f"{data.targets.shape[3]}")


class NetAnswers(Answers):
    """A saved net. Sizes that it does not take are padded by reflection, as `ugc translate` does."""

    def __init__(self, path: Path) -> None:
        net, self.config = load_net(path)
        self.path = path
        self.source, self.colours = source_of(net, self.config), net.config.out_channels
        self.direction = self.config.get("direction")
        size = self.config.get("size")
        self.size = (size[0], size[1]) if isinstance(size, list) and len(size) == 2 else (256, 256)

    def batches(self, asked: Questions, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
        net = load_net(self.path)[0].to(device)
        for source, target in asked.batches(BATCH):
            with torch.no_grad():
                answer = at_any_size(net, source.to(device))
            yield rounded(answer, asked.depth), target.to(device)

    def cost(self, size: Size) -> dict[str, float]:
        net = load_net(self.path)[0]
        if not _fits(net, size):
            return {"params": total(trace(net, None, self.size)).params}
        return {**vars(total(trace(net, None, size))), "latency_ms": latency(net, size)}

    def about(self) -> dict[str, Any]:
        return {"kind": "net", **{key: self.config.get(key) for key in ("family", "role", "arch", "data")},
                "weights_sha256": sha256(self.path / "model.safetensors")}


class OnnxAnswers(Answers):
    """A file of `ugc export --format onnx`, in onnxruntime on the CPU."""

    def __init__(self, path: Path) -> None:
        self.path, self.format = path, FORMATS["onnx"]()
        self.format.check_packages()
        try:
            self.data = path.read_bytes()
            self.said = self.format.about(self.data)
            self.run = self.format.runtime(self.data)
        except Exception as error:  # protobuf and onnxruntime have errors of their own
            raise UserError(f"{path} cannot be read as ONNX: {first_line(error)}") from None
        try:
            self.source = encoding_of(json.loads(self.said.get("source", "{}")), int(self.said["in_channels"]))
            self.colours = int(self.said["out_channels"])
            height, _, width = self.said["size"].partition("x")
            self.size, self.direction = (int(height), int(width)), self.said.get("direction")
        except (KeyError, ValueError, UserError):
            raise UserError(f"{path} was not written by ugc export: it does not say its channels and size; write its "
                            "answers as pictures and give their folder") from None

    def batches(self, asked: Questions, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
        for source, target in asked.batches(BATCH):
            answer = torch.from_numpy(self.run(*inputs_of(source, asked.encoding, self.said.get("labels"))))
            yield rounded(widened(answer), asked.depth).to(device), target.to(device)

    def cost(self, size: Size) -> dict[str, float]:
        keys = ("params", "macs", "macs_paper") if size == self.size else ("params",)
        return {key: int(self.said[key]) for key in keys if key in self.said}

    def about(self) -> dict[str, Any]:
        return {"kind": "onnx", **{key: self.said.get(key) for key in ("family", "role", "arch", "data", "opset")},
                "sha256": sha256(self.path)}


class PictureAnswers(Answers):
    """A folder of pictures with the stems of the test sources; those of Cityscapes' tree with or without its endings."""

    def __init__(self, path: Path) -> None:
        self.path = path
        pictures = Pictures(path, path)
        self.files = {key: path / name for key, name in pictures.found.items()}
        self.clashes = pictures.clashes
        if not self.files:
            raise UserError(f"{path} holds neither a saved net (config.json and model.safetensors) nor a picture")
        self.size = picture_info(self.files[min(self.files)]).size
        self.keys = tuple[str, ...]()  # those of the test, once it is known

    def check(self, data: TestData) -> None:
        """There must be one picture for each test source, at its size; others are not scored."""
        found = {key: name for key in data.keys for ending in ("", ENDINGS["A"], ENDINGS["B"])
                 if (name := key + ending) in self.files}
        if clash := next(((one, other) for one, other in self.clashes if PurePosixPath(one).with_suffix("").as_posix()
                          in found.values()), None):
            raise UserError(f"{self.path}: {clash[0]} and {clash[1]} answer the same test source; leave one of them there")
        missing = [key for key in data.keys if key not in found]
        if missing:
            raise UserError(f"{self.path} lacks pictures for {len(missing):,} of {len(data):,} test sources, first "
                            f"{missing[0]!r}; it has such as {self.files[min(self.files)].name}")
        if others := len(self.files) - len(data):
            say(f"{self.path}: {others:,} pictures answer no test source and are not scored")
        size, channels = data.targets.shape[1:3], data.targets.shape[3]
        self.keys = tuple(found[key] for key in data.keys)
        for key in self.keys:
            info = picture_info(self.files[key])
            if info.size != size:
                raise UserError(f"{self.files[key]} is {text_of(info.size)}; the test is at {text_of(size)} "
                                "(height x width; --size sets it)")
            if max(info.channels, channels) > 4 and info.channels != channels:
                raise UserError(f"{self.files[key]} has {info.channels} channels; the targets have {channels}")
        self.colours = channels

    def batches(self, asked: Questions, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
        at = 0
        for source, target in asked.batches(BATCH):
            keys = self.keys[at : at + len(source)]
            at += len(source)
            pictures = [to_unit(as_channels(read_picture(self.files[key]), self.colours)[None].copy()) for key in keys]
            yield torch.cat(pictures).to(device), target.to(device)

    def about(self) -> dict[str, Any]:
        return {"kind": "pictures", "count": len(self.files)}


class CopyAnswers(Answers):
    """The source as the answer; a grey one in as many channels as the targets have."""

    @staticmethod
    def fits(view: Tensor, target: Tensor) -> bool:
        """Whether a source as it is shown could be an answer."""
        return view.shape[1] in (1, target.shape[1])

    def batches(self, asked: Questions, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
        return ((to_channels(source.to(device), target.shape[1]), target.to(device))
                for source, target in asked.batches(BATCH))

    def about(self) -> dict[str, Any]:
        return {"kind": "copy"}


class PaletteAnswers(CopyAnswers):
    """The label map in its colours as the answer."""

    def batches(self, asked: Questions, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
        view = asked.encoding.view
        return ((view(source.to(device)), target.to(device)) for source, target in asked.batches(BATCH))

    def about(self) -> dict[str, Any]:
        return {"kind": "palette"}


def open_answers(path: Path) -> Answers:
    """A saved net where there is a config.json, an ONNX file by its suffix, else a folder of pictures.

    Raises:
        UserError: none of these.
    """
    if path.suffix.lower() == ".onnx" and path.is_file():
        return OnnxAnswers(path)
    if not path.is_dir():
        beside = [entry.name for entry in path.parent.iterdir() if entry.is_dir()] if path.parent.is_dir() else []
        kind = "is a file that is no .onnx" if path.exists() else "is not there"
        raise UserError(f"{path} {kind}; expected a saved net such as RUN/student, an ONNX file or a folder of pictures"
                        + (f" ({near(path.name, beside)})" if beside and not path.exists() else ""))
    if (path / "config.json").exists():
        return NetAnswers(path)
    if (path / "student" / "config.json").exists():
        raise UserError(f"{path} is the folder of a run; give one of its nets, such as {path / 'student'}")
    return PictureAnswers(path)


def _fits(net: Generator, size: Size) -> bool:
    try:
        net.check_size((size[0], size[1]))
    except UserError:
        return False
    return True


@torch.no_grad()
def latency(net: Generator, size: Size) -> float:
    """Milliseconds for one picture on the CPU, fp32, all threads: the median of RUNS after a warm-up."""
    net = net.to("cpu")
    x = torch.zeros(net.source_shape(size))
    for _ in range(3):
        net(x)
    times = []
    for _ in range(RUNS):
        start = time.perf_counter()
        net(x)
        times.append(time.perf_counter() - start)
    return round(1000 * statistics.median(times), 3)
