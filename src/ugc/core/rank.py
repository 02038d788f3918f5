"""Which of the processes that torchrun started this one is; takes no torch. One process alone is 0 of 1."""

from __future__ import annotations

import os


def rank() -> int:
    return int(os.environ.get("RANK", "0")) if size() > 1 else 0


def size() -> int:
    return int(os.environ.get("WORLD_SIZE", "1")) if "MASTER_ADDR" in os.environ else 1


def local_rank() -> int:
    """Among the processes of this machine."""
    return int(os.environ.get("LOCAL_RANK", "0")) if size() > 1 else 0


def lead() -> bool:
    """Whether this process is the one that writes and speaks."""
    return rank() == 0
