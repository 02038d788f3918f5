"""How files of SPADE and GAN Compression name a GauGAN generator's tensors, and where these lie in ours.

    fc, conv_img                       convolutions: the first, the last
    B.conv_0, B.conv_1, B.conv_s       of B = head_0, G_middle_0, G_middle_1, up_0 .. up_3 (only these have conv_s)
    B.norm_N.param_free_norm           running statistics; of norm_0 and norm_s the same, for they see the same maps
    B.norm_N.mlp_shared.0              the hidden layer; .mlp_gamma, .mlp_beta, of mobile nets .conv.0 and .conv.2 in these

Under spectral norm X.weight is X.weight_orig, .weight_u and .weight_v. Nets cut out of GAN Compression's supernets keep
its statistics at full width and pad their maps with zeros for them, which leaves the leading ones to be used.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from ugc.core.errors import UserError
from ugc.export.published import Part, Published, Tensors, pinned

BLOCKS = {"head": "head_0", "middle0": "G_middle_0", "middle1": "G_middle_1", **{f"up{i}": f"up_{i}" for i in range(4)}}
TIMES = dict(zip(BLOCKS, (16, 16, 16, 8, 4, 2, 1)))
FREE = ".param_free_norm.running_"


def published_spade(tensors: Tensors) -> Published | None:
    """The generator whose names these are; None where it is no SPADE."""
    if not any(name.startswith("head_0.norm_0.mlp_shared.") for name in tensors):
        return None
    separable = any(".mlp_gamma.conv." in name for name in tensors)
    spectral = ", under spectral norm" if any(name.endswith(".weight_orig") for name in tensors) else ""
    text = f"SPADE (GauGAN) generator of {'separable' if separable else 'full'} gamma and beta{spectral}"
    return Published("gaugan", text, tuple(_parts(separable)), _fields, (256, 512), {"upsampling": "more", "edges": "yes"},
                     sizes={"normal": (256, 256)}, prepare=_prepared)


def _parts(separable: bool) -> Iterator[Part]:
    yield Part("fc", "fc")
    for ours, theirs in BLOCKS.items():
        for n in ("0", "1", "s") if ours.startswith("up") else ("0", "1"):
            norm, spade = f"{theirs}.norm_{n}", f"blocks.{ours}.spade_s" if n == "s" else f"blocks.{ours}.spade{n}"
            beside = (f"{norm}.param_free_norm", f"blocks.{ours}.norm{n}") if n != "s" else ("", "")
            yield Part(f"{norm}.mlp_shared.0", f"{spade}.shared", *beside, apart=True)
            for part in ("gamma", "beta"):
                if separable:
                    yield Part(f"{norm}.mlp_{part}.conv.0", f"{spade}.{part}.depthwise")
                    yield Part(f"{norm}.mlp_{part}.conv.2", f"{spade}.{part}.pointwise")
                else:
                    yield Part(f"{norm}.mlp_{part}", f"{spade}.{part}")
            yield Part(f"{theirs}.conv_{n}", f"blocks.{ours}.conv_s" if n == "s" else f"blocks.{ours}.conv{n}")
    yield Part("conv_img", "last")


def _fields(t: Tensors, where: str) -> dict[str, Any]:
    widths = [("fc", "fc", 0, 16), *((ours, f"{theirs}.conv_0", 0, TIMES[ours]) for ours, theirs in BLOCKS.items())]
    found = pinned(t, where, widths)
    hidden = {name: t[f"{theirs}.norm_0.mlp_shared.0.weight"].shape[0] for name, theirs in BLOCKS.items()}
    twice = {ours: 2 * t[f"{theirs}.conv_0.weight"].shape[0] // TIMES[ours] for ours, theirs in BLOCKS.items()}
    if hidden != twice and len(set(hidden.values())) > 1:
        raise UserError(f"{where}: the hidden layers of its norms have {', '.join(map(str, hidden.values()))} channels; "
                        f"expected one number throughout, or twice the base width of each block")
    return {"in_channels": t["fc.weight"].shape[1], "out_channels": t["conv_img.weight"].shape[0],
            "norm": "batch" if any(FREE in name for name in t) else "instance",
            "modulation": "separable" if any(".mlp_gamma.conv." in name for name in t) else "plain",
            "hidden": None if hidden == twice else hidden["head"], **found}


def _prepared(t: Tensors, where: str) -> dict[str, Tensor]:
    """With plain weights and statistics of the widths that are used.

    Raises:
        UserError: another generator of theirs, or tensors that do not belong together.
    """
    if "fc.weight" in t and t["fc.weight"].dim() == 2:
        raise UserError(f"{where} that draws from a code (--use_vae): its first layer takes no label map, so it cannot be "
                        f"imported")
    if any(name.startswith("up_4.") for name in t):
        raise UserError(f"{where} with 7 doublings (--num_upsampling_layers most, up_4): only those with 6 and 5 (more, "
                        f"normal) can be imported")
    found = {name: tensor for name, tensor in t.items() if not name.endswith(("weight_orig", "weight_u", "weight_v"))}
    for name in t:
        if name.endswith(".weight_orig"):
            found[name.removesuffix("_orig")] = _baked(t, name.removesuffix("_orig"), where)
    for name, tensor in found.items():
        norm, free, _ = name.partition(FREE)
        gamma = found.get(f"{norm}.mlp_gamma.weight", found.get(f"{norm}.mlp_gamma.conv.2.weight"))
        if free and gamma is not None and gamma.dim() and tensor.dim() == 1:
            found[name] = tensor[: gamma.shape[0]]
    for theirs in list(BLOCKS.values())[3:]:
        for what in ("mean", "var"):
            pair = [found.get(f"{theirs}.norm_{n}{FREE}{what}") for n in ("0", "s")]
            if pair[0] is not None and pair[1] is not None and not _alike(pair[0], pair[1]):
                raise UserError(f"{where}: the running_{what} of {theirs}.norm_0 and {theirs}.norm_s differ, though both "
                                f"see the same maps; save the file again where it was trained")
    return found


def _baked(t: Tensors, name: str, where: str) -> Tensor:
    """W / (u^T W v), of W as a matrix and the vectors as they are stored: what eval mode uses."""
    w, u, v = t[f"{name}_orig"], t.get(f"{name}_u"), t.get(f"{name}_v")
    fit = w.dim() == 4 and w.numel() and u is not None and v is not None
    if not fit or u is None or v is None or (u.numel(), v.numel()) != (len(w), w[0].numel()):
        raise UserError(f"{where}: {name}_u and {name}_v, which its spectral norm needs, are missing or of another length")
    sigma = torch.dot(u.flatten().double(), w.double().flatten(1) @ v.flatten().double())
    return (w.double() / sigma).float()


def _alike(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and torch.allclose(a.double(), b.double(), rtol=1e-4, atol=1e-6, equal_nan=True)
