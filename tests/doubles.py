"""Phases in float64, where two ways to compute a step are told apart from rounding."""

import torch


def in_doubles(phase):
    """The phase with float64 nets, all weights large enough to matter."""
    generator = torch.Generator().manual_seed(1)
    for player in phase.players.values():
        player.net.double()
        with torch.no_grad():
            for p in player.net.parameters():
                p.add_(torch.empty(p.shape, dtype=p.dtype).normal_(0, 0.1, generator=generator))
    for ema in getattr(phase, "D_EMA", {}).values():
        ema.data = ema.data.double()
    return phase
