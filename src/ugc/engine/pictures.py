"""Contact sheets: rows of pictures in one PNG; the sample grids of a training stage."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ugc.core.images import from_unit, to_channels
from ugc.data.pictures import write_picture
from ugc.data.stream import Stream
from ugc.methods.method import Phase
from ugc.nn.shrink import recalibrate

GAP = 4


def sheet(rows: Sequence[Tensor], path: Path) -> None:
    """Each row [N, C, H, W] in [-1, 1]; pictures of a column belong together. Written as an 8-bit PNG, grey or RGB."""
    channels = 1 if all(row.shape[1] == 1 for row in rows) else 3
    lines = []
    for row in rows:
        pixels = from_unit(to_channels(row, channels))  # [N, H, W, c]
        framed = np.pad(pixels, ((0, 0), (0, GAP), (0, GAP), (0, 0)), constant_values=255)
        lines.append(np.concatenate(list(framed), axis=1))
    write_picture(path, np.concatenate(lines, axis=0))


def spread(pictures: Tensor) -> float:
    """How far pictures [N, C, H, W] differ from each other: the standard deviation over them, averaged over pixels."""
    return float(pictures.float().std(0).mean()) if len(pictures) > 1 else 0.0


def sample_grid(phase: Phase, path: Path, stream: Stream, unlabelled: bool = True) -> dict[str, float]:
    """What a phase's nets make of eight held-out sources: the sources, then one row a net.

    Args:
        unlabelled: whether the stage, and so its batch norm, sees sources of U.

    Returns:
        net -> how far its pictures differ from each other, in the sources' own differences; 0: all are the same.
        1 where the sources do not differ, such as a single one.
    """
    sources = stream.validation()[:8].all()
    rows, spreads = [stream.data.encoding.view(sources).cpu()], dict[str, float]()
    for role, net in phase.nets().items():
        if role != "supernet":
            copy = type(net)(net.config).to(sources.device)
            copy.load_state_dict(net.state_dict())
            rows.append(in_batches(recalibrate(copy, stream.calibration(64, unlabelled).split(16)), sources))
            spreads[role] = spread(rows[-1]) / spread(rows[0]) if spread(rows[0]) else 1.0
    sheet(rows, path)
    return spreads


@torch.no_grad()
def in_batches(net: torch.nn.Module, images: Tensor, size: int = 32) -> Tensor:
    """net over [N, C, H, W], some at a time, on the net's device; the result on the CPU."""
    device = next(net.parameters()).device
    return torch.cat([net(part.to(device)).float().cpu() for part in images.split(size)])
