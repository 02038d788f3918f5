"""A saved net is a folder that says what it is: `config.json` and `model.safetensors`. It loads with no flags."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from ugc.core.encoding import Encoding, encoding_of
from ugc.core.errors import UserError
from ugc.core.files import atomic, read_json, write_json
from ugc.models.generator import FAMILIES, Generator
from ugc.nn.cost import total, trace
from ugc.version import __version__

FORMAT = 1


def save_net(net: Generator, folder: Path, family: str, role: str, size: tuple[int, int], about: dict[str, Any]) -> None:
    """Write a generator as a folder.

    Args:
        net: any member: original, supernet, teacher or student.
        role: what it was in its run ("student").
        size: (H, W) that it was trained at, and at which its cost is given (of the largest member, for a supernet).
        about: plain data to keep beside it: data set, attribution, recipe digest.
    """
    cost = total(trace(net, None, size))
    config = {
        "ugc": __version__, "format": FORMAT, "role": role, "family": family,
        "config": net.config.model_dump(mode="json"), "arch": net.config.arch or net.space.largest.text,
        "size": list(size), "value_range": [-1, 1], "layout": "NCHW", "params": cost.params, "macs": cost.macs,
        "macs_paper": cost.macs_paper, **about,
    }
    save_tensors(net.state_dict(), folder / "model.safetensors")
    write_json(folder / "config.json", config)


def about_net(folder: Path) -> dict[str, Any] | None:
    """The `config.json` of a saved net; None where there is none, or another program's."""
    try:
        config = read_json(folder / "config.json")
    except (OSError, UserError):
        return None
    ours = isinstance(config, dict) and "ugc" in config and isinstance(config.get("config"), dict)
    return config if ours and isinstance(config.get("family"), str) else None


def load_net(folder: Path) -> tuple[Generator, dict[str, Any]]:
    """A saved net, in eval mode on the CPU, and its `config.json`.

    Raises:
        UserError: no saved net there, one that is damaged, or one of a newer format.
    """
    try:
        config = read_json(folder / "config.json")
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"{folder} holds no saved net: expected config.json and model.safetensors, such as in "
                        f"RUN/student") from None
    kinds = {"family": str, "config": dict, "format": int}
    known = isinstance(config, dict) and all(isinstance(config.get(key), kind) for key, kind in kinds.items())
    if not known or config["format"] > FORMAT:
        raise UserError(f"{folder / 'config.json'} is not of a net that this version ({__version__}) can read")
    family = FAMILIES[config["family"]]
    size = config.get("size", [1, 1])  # a net may name none
    if not isinstance(size, list) or [type(side) for side in size] != [int, int] or min(size) < 1:
        raise UserError(f"{folder / 'config.json'} names no size (expected \"size\": [H, W])")
    where = str(folder / "config.json")
    wish = family.Config.parse(config["config"], where)
    source = config.get("source") or {}  # a net of older versions, which knew pictures only, says nothing
    if not isinstance(source, dict) or encoding_of(source, wish.in_channels, where).channels != wish.in_channels:
        raise UserError(f"{where}: its \"source\" is not what a net of {wish.in_channels} channels takes")
    with torch.device("meta"):  # whatever the file asks for, it takes no memory before the weights are there
        net = family(wish)
    tensors = load_tensors(folder / "model.safetensors")
    wanted = {name: tuple(t.shape) for name, t in net.state_dict().items()}
    have = {name: tuple(t.shape) for name, t in tensors.items()}
    if wanted != have:
        odd = sorted(name for name in wanted.keys() | have.keys() if wanted.get(name) != have.get(name))
        raise UserError(f"{folder / 'model.safetensors'} does not fit its config.json: {len(odd)} tensors differ, "
                        f"first {odd[0]!r}")
    net = family(wish)
    net.load_state_dict(tensors)
    return net.eval(), config


def source_of(net: Generator, config: dict[str, Any]) -> Encoding:
    """What a saved net takes, from what `load_net` gave."""
    return encoding_of(config.get("source"), net.config.in_channels)


def save_tensors(tensors: Mapping[str, torch.Tensor], path: Path) -> None:
    """Write tensors as safetensors, whole or not at all."""
    with atomic(path) as file:
        file.write(save({name: t.detach().cpu().contiguous() for name, t in tensors.items()}))


def load_tensors(path: Path) -> dict[str, torch.Tensor]:
    """Read safetensors; UserError where the file is absent or damaged."""
    try:
        return load_file(path)
    except (FileNotFoundError, SafetensorError, OSError) as error:
        raise UserError(f"{path} cannot be read as safetensors ({error}); put the whole file back, or make it "
                        "again") from None
