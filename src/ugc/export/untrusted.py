"""Tensors out of a file that someone else made. Nothing of it is run, whatever it says: tensors and plain data are read.

A `.pth` is a pickle, and a pickle can name any function to be called when it is opened. torch's reader for weights alone
refuses all that is not a tensor, a number, a text or a table of these.
"""

from __future__ import annotations

import pickletools
import re
import tarfile
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ugc.core.errors import UserError

DEPTH = 5  # tables inside tables; a table that holds itself ends here
# What a file of nothing but tensors names.
PLAIN = re.compile(r"collections\.OrderedDict|_codecs\.encode|torch\.\w+|torch\.(_utils|storage|serialization|_tensor)\.\w+|"
                   r"torch\.nn\.parameter\.\w+")
AGAIN = "where you trust it, open it yourself and save the tensors alone: torch.save(net.state_dict(), 'latest_net_G.pth')"


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Every tensor of a PyTorch or safetensors file, by its dotted name, on the CPU; what is no tensor is left out.

    Tables inside tables are joined: {"G": {"model.1.weight": ..}} gives "G.model.1.weight".

    Raises:
        UserError: no such file, one that is damaged or of another kind, one that holds code, or no tensor in it.
    """
    try:
        with open(path, "rb") as file:
            head, length = file.read(256), path.stat().st_size
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): expected the file of a generator, such as "
                        f"latest_net_G.pth") from None
    if tarfile.is_tarfile(path):  # torch before 2.6 opens one without its guard, whatever it is asked (CVE-2025-32434)
        raise UserError(f"{path} is a tar archive, as torch wrote in its first year; it was not opened: {AGAIN}")
    if head[:4] == b"PK\x03\x04" or head[:1] == b"\x80":
        found = _pytorch(path)
    elif head[8:9] == b"{":
        found = _safetensors(path)
    else:
        raise UserError(f"{path} is no PyTorch file and no safetensors file: {_kind(head)}")
    tensors = dict(_flat(found))
    if not tensors:
        raise UserError(f"{path} holds no tensor by name; expected a generator's state dict, such as latest_net_G.pth")
    for name, tensor in tensors.items():
        if not name.isprintable() or len(name) > 400:
            raise UserError(f"{path} names a tensor {name[:40]!a}, which no network does")
        if tensor.numel() > length:
            raise UserError(f"{path}: {name} claims {tensor.numel():,} numbers, and the whole file has {length:,} bytes")
    return tensors


def _pytorch(path: Path) -> Any:
    if any(name.endswith("/constants.pkl") for name in _members(path)):
        raise UserError(f"{path} is a TorchScript archive, which holds code; nothing of it was run: {AGAIN}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # damage meets the unpickler with any error there is
        if names := [ascii(name[:80])[1:-1] for name in _named(path) if not PLAIN.fullmatch(name)]:
            raise UserError(f"{path} is a pickle that calls for {names[0]}, which is code and no tensor; nothing of it was "
                            f"run: {AGAIN}") from None
        raise UserError(f"{path} is damaged or cut short: torch cannot read it; copy or download it again") from None


def _safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path} is damaged or cut short: it cannot be read as safetensors ({error})") from None


def _flat(data: Any, prefix: str = "", depth: int = 0) -> Iterator[tuple[str, Tensor]]:
    """The tensors of tables inside tables, by dotted name."""
    if not isinstance(data, Mapping) or depth == DEPTH:
        return
    for key, value in data.items():
        if isinstance(value, Tensor):
            yield f"{prefix}{key}", value.detach()
        else:
            yield from _flat(value, f"{prefix}{key}.", depth + 1)


def _kind(head: bytes) -> str:
    """What the first bytes of a file look like."""
    if not head:
        return "it is empty"
    if b"git-lfs" in head:
        return "it is a Git LFS pointer, a note of where the file lies; fetch the file itself with git lfs pull"
    if head.lstrip()[:1] == b"<":
        return "it is a web page, so the download went wrong; download the file itself"
    text = head[:40].decode(errors="ignore")
    if len(text) > 8 and all(c.isprintable() or c.isspace() for c in text):
        return f"it is text, {text!r}"
    return f"it begins with the bytes {head[:4].hex(' ')}"


def _members(path: Path) -> list[str]:
    """The names in a zip file; none where it is no zip file, or a damaged one."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.namelist()
    except Exception:  # as above
        return []


def _named(path: Path) -> list[str]:
    """The functions and classes that a PyTorch file's pickles name, read without running anything."""
    try:
        if not (inner := [name for name in _members(path) if name.endswith(".pkl")]):
            with open(path, "rb") as file:
                return _globals(file)
        with zipfile.ZipFile(path) as archive:
            return [found for name in inner for found in _globals(BytesIO(archive.open(name).read(1 << 24)))]
    except Exception:  # as above
        return []


def _globals(file: BinaryIO) -> list[str]:
    """The names in one or more pickles behind one another, up to the first byte that is none."""
    found: list[str] = []
    texts: list[str] = []
    try:
        while True:
            for opcode, value, _ in pickletools.genops(file):
                if opcode.name in ("GLOBAL", "INST"):
                    found.append(str(value).replace(" ", "."))
                elif opcode.name == "STACK_GLOBAL" and len(texts) > 1:
                    found.append(".".join(texts[-2:]))
                elif isinstance(value, str):
                    texts.append(value)
    except Exception:  # the pickles' end: genops has no error of its own
        return found
