"""What a player's optimiser keeps of its weights."""

from torch import Tensor

from ugc.training.player import Player


def moments(player: Player) -> dict[Tensor, dict[str, Tensor]]:
    """Parameter -> exp_avg, exp_avg_sq, step, of those that have learnt."""
    return {player.own[i]: kept for i, kept in player.state()["optimiser"]["state"].items()}
