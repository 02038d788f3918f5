"""Generators that other repositories trained, as saved nets: `latest_net_G.pth` -> config.json + model.safetensors.

All that their repositories ask for again and again (--netG, --norm, --no_dropout, --ngf) is read from the tensors. What
comes out computes what theirs does in eval mode: batch norm with its running statistics, no dropout. Instance norm has
no statistics then; those that old files carry are dropped.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import torch
from torch import Tensor

from ugc.core.encoding import Encoding, LabelEncoding
from ugc.core.errors import UserError, of_system
from ugc.core.files import sha256
from ugc.core.palettes import TABLES
from ugc.export.foreign import OURS, looks_like
from ugc.export.published import Published, Tensors, published
from ugc.export.published_spade import published_spade
from ugc.export.saved import about_net, save_net
from ugc.export.untrusted import read_tensors
from ugc.models.generator import FAMILIES, Generator
from ugc.nn.cost import total, trace

IDLE = re.compile(r".*\.(running_mean|running_var|num_batches_tracked)")  # of a norm that does not use them
ROOTS = tuple(re.compile(r"((?:.+?\.)?)" + first) for first in (
    r"model\.model\.1\.model\.", r"model\.\d+\.conv_block\.\d+\.", r"head_0\.norm_0\.mlp_shared\."))


def import_generator(path: Path, out: Path, size: tuple[int, int] | None = None,
                     said: Mapping[str, str] = MappingProxyType({})) -> list[str]:
    """Save the generator that a file holds as a folder; returns what there is to say.

    Args:
        size: (H, W) that it was trained at, which no file says; None takes the most likely one (`Published.size`).
        said: what else no file says, by option (`Published.unsaid`).

    Raises:
        UserError: a file that holds no generator of a known family, an option that it leaves no room for, or an `out`
            that is not empty. Nothing is written.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"--out {out}: exists already and is not an empty folder; choose another")
    folder = path if path.is_dir() else path.parent
    if path in (folder, folder / "model.safetensors") and about_net(folder):
        raise UserError(f"{path}: {folder} is a saved net of ugc already; use it as it is")
    net, found = read_generator(path, said)
    size = size or found.size
    net.check_size(size)
    source = _source(f"{path}, a {found.text}", net.config.in_channels, found.unsaid.get("edges"))
    about = {"source": source.model_dump(mode="json"), "imported": {"file": path.name, "sha256": sha256(path)},
             "attribution": f"weights of {path.name}, under the terms of those who trained them"}
    try:
        save_net(net, out, found.family, "imported", size, about)
    except OSError as error:
        raise UserError(f"--out {out} cannot be written: {of_system(error) or error}") from None
    cost = total(trace(net, None, size))
    config = net.config
    return [f"{path.name}: {found.text}, {config.norm} norm, {config.in_channels} to {config.out_channels} channels",
            *_sources(source, found.unsaid, said), config.arch or f"base {config.base}",
            f"{cost.params:,} params, {cost.macs:,} macs, {cost.macs_paper:,} macs_paper at {size[0]}x{size[1]}",
            f"written to {out}; it draws what the original draws in eval mode (test.py --eval)"]


def _source(where: str, channels: int, edges: str | None) -> Encoding:
    """What the net takes: one-hot label maps, or pictures where there is nothing to be said of `edges`."""
    if edges is None:
        return Encoding(channels=channels)
    classes = channels - (edges == "yes")
    named = next((name for name, table in TABLES.items() if len(table) == classes), "distinct")
    return LabelEncoding.parse({"classes": classes, "edges": edges == "yes", "palette": named}, f"{where}, as label maps")


def _sources(source: Encoding, unsaid: Mapping[str, str], said: Mapping[str, str]) -> list[str]:
    """What was taken for granted of a net of label maps."""
    maps = [f"its sources are label maps: {source.classes} classes, one-hot, and "
            f"{'the' if source.edges else 'no'} edge map of the instances"] if isinstance(source, LabelEncoding) else []
    return [*maps, *(f"--{key} {value} was taken; no file says it" for key, value in unsaid.items() if key not in said)]


def read_generator(path: Path, said: Mapping[str, str] = MappingProxyType({})) -> tuple[Generator, Published]:
    """The generator in a file, in eval mode on the CPU, and what it was recognised as, with what the user says of it.

    Raises:
        UserError: no generator of a known family, or tensors that are missing, misshapen, unknown or not finite.
    """
    tensors = _of_one_net(path, read_tensors(path))
    found = published(tensors) or published_spade(tensors)
    if found is None:
        raise UserError(f"{path} holds no generator that can be imported: {looks_like(tensors)}; {OURS}")
    where = f"{path}, a {found.text}"
    found = found.answered(said, where)
    tensors = dict(found.prepare(tensors, where))
    _named(where, "lacks", [part.weight for part in found.parts if part.weight not in tensors])
    flat = [part.weight for part in found.parts if tensors[part.weight].dim() != 4 or not tensors[part.weight].numel()]
    _named(where, "has no convolution's weight at", flat)
    net = _without_weights(where, found, tensors)
    net.load_state_dict(_renamed(where, found, tensors, net), assign=True)
    return net.eval(), found


def _of_one_net(path: Path, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of the one generator in a file, without what its names begin with: `module.`, `G.`, `state_dict.` .."""
    roots = dict.fromkeys(match[1] for name in tensors for match in [_begins(name)] if match)
    if len(roots) > 1:
        raise UserError(f"{path} holds {len(roots)} generators ({', '.join(root.rstrip('.') or '-' for root in roots)}); "
                        f"save the one that you want in a file of its own")
    root = next(iter(roots), "")
    return {name.removeprefix(root): tensor for name, tensor in tensors.items() if name.startswith(root)}


def _begins(name: str) -> re.Match[str] | None:
    return next((match for root in ROOTS if (match := root.match(name))), None)


def _norm(where: str, found: Published, tensors: Tensors) -> str:
    """`batch` or `instance`: batch norm has weights; beside instance norm the convolutions have biases."""
    # Separable convolutions have biases whatever the norm is.
    normed = [part for part in found.parts if part.normed and not part.our_conv.endswith("pointwise")]
    if any(f"{part.norm}.weight" in tensors for part in normed):
        return "batch"
    if any(f"{part.conv}.bias" in tensors for part in normed):
        return "instance"
    raise UserError(f"{where} has neither the weights of batch norm nor the biases that stand beside instance norm: nets "
                    f"of --norm none cannot be imported")


def _without_weights(where: str, found: Published, tensors: Tensors) -> Generator:
    """Our net of the shapes that the file has, on the meta device."""
    family = FAMILIES[found.family]
    said = {key: value for key, value in found.unsaid.items() if key in family.Config.model_fields}
    fields = found.fields(tensors, where)
    norm = fields.get("norm") or _norm(where, found, tensors)
    config = family.Config.parse({**fields, **said, "norm": norm}, where)
    with torch.device("meta"):
        net = family(config)
        return family(config.model_copy(update={"arch": net.space.largest.text})) if config.arch else net


def _renamed(where: str, found: Published, tensors: Tensors, net: Generator) -> dict[str, Tensor]:
    """The file's tensors as our net's, in float32; UserError unless every one fits and none is left over.

    A bias before a norm is taken away by it. So one that is absent is 0, and one before a batch norm, where ours has
    none, goes into the running mean: norm(x + b; mean) = norm(x; mean - b).
    """
    wanted = {name: tuple(t.shape) for name, t in net.state_dict().items()}
    theirs = {ours: name for part in found.parts for ours, name in part.names() if ours in wanted}
    used = {name: wanted[ours] for ours, name in theirs.items()}
    spare = {f"{part.conv}.bias" for part in found.parts if part.normed}
    into_mean = {f"{part.conv}.bias": f"{part.our_norm}.running_mean" for part in found.parts
                 if part.normed and f"{part.conv}.bias" in tensors and f"{part.our_conv}.bias" not in wanted}
    used |= {name: wanted[mean] for name, mean in into_mean.items()}
    _named(where, "lacks", [name for name in used if name not in tensors and name not in spare])
    _named(where, "has tensors that such a net has not:", [n for n in tensors if n not in used and not IDLE.fullmatch(n)])
    for name, shape in used.items():
        if name in tensors:
            _check_tensor(where, name, tensors[name], shape)
    state = {ours: tensors[theirs[ours]].to(torch.float32, copy=True) if theirs[ours] in tensors else torch.zeros(shape)
             for ours, shape in wanted.items()}
    for name, mean in into_mean.items():
        state[mean] -= tensors[name].to(torch.float32)
    return state


def _check_tensor(where: str, name: str, tensor: Tensor, shape: tuple[int, ...]) -> None:
    if tuple(tensor.shape) != shape:
        have, want = ("x".join(map(str, s)) for s in (tensor.shape, shape))
        raise UserError(f"{where}: {name} is {have or 'a single number'}, expected {want}")
    if not tensor.is_floating_point() or tensor.layout is not torch.strided or tensor.device.type != "cpu":
        raise UserError(f"{where}: {name} is {tensor.dtype} on {tensor.device} ({tensor.layout}), expected plain floats")
    if not torch.isfinite(tensor).all():
        raise UserError(f"{where}: {name} holds NaN or infinity; the training broke off before it, so take an older file")


def _named(where: str, what: str, names: list[str]) -> None:
    """UserError that names the first of `names`, if there are any."""
    if names:
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        raise UserError(f"{where}, {what} {', '.join(names[:3])}{more}")
