"""Several processes of one run (torchrun): who is who, and the few things that they tell each other.

Every process holds the whole state. Each draws what one process alone would draw and takes its share of it: of W
processes, process r takes rows r n/W .. (r+1) n/W - 1 of a batch of n. Losses are means over images and shares are
equal, so the mean of the processes' gradients is the gradient of the whole batch, but through batch norm, which sees a
share alone (docs/scale.md).

Without a group every function here is what it is for one process, and costs nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor

from ugc.core import rank as env
from ugc.core.errors import LostError

PATIENCE = timedelta(hours=12)  # a process may wait for another one's search or saving; one that has died is noticed at once


def started() -> bool:
    """Whether this process is one of a group."""
    return dist.is_available() and dist.is_initialized()


def size() -> int:
    """How many processes are in the group."""
    return dist.get_world_size() if started() else 1


def rank() -> int:
    """Which of them this one is."""
    return dist.get_rank() if started() else 0


def lead() -> bool:
    """Whether this process is the one that writes and speaks; true before the group starts, too."""
    return env.rank() == 0


@contextmanager
def group(device: torch.device) -> Iterator[None]:
    """While it is open, the processes that torchrun started are a group: nccl on CUDA, else gloo.

    Raises:
        LostError: the others cannot be reached.
    """
    if env.size() == 1:
        yield
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    try:
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=PATIENCE)
    except (RuntimeError, ValueError) as error:
        raise _lost() from error
    try:
        yield
    finally:
        dist.destroy_process_group()


def share(n: int) -> slice:
    """Which rows of a batch of n are this process's. n is a multiple of the group's size."""
    each = n // size()
    return slice(rank() * each, (rank() + 1) * each)


def whole(n: int) -> int:
    """The rows of the whole batch, where each share has n."""
    return n * size()


def mean(tensor: Tensor) -> Tensor:
    """The mean of all processes' tensors of that shape."""
    if not started():
        return tensor
    total = tensor.detach().clone()
    with _together():
        dist.all_reduce(total)
    return total / size()


def mean_(tensors: Iterable[Tensor]) -> None:
    """Put the means of all processes' tensors in their places: one message for all of a kind."""
    if not started():
        return
    kinds: dict[torch.dtype, list[Tensor]] = {}
    for tensor in tensors:
        kinds.setdefault(tensor.dtype, []).append(tensor)
    for kind in kinds.values():
        flat = mean(torch.cat([t.reshape(-1) for t in kind]))
        for tensor, part in zip(kind, flat.split([t.numel() for t in kind])):
            tensor.copy_(part.view_as(tensor))


def gather(value: float) -> list[float]:
    """Every process's number, in the order of their ranks."""
    if not started():
        return [value]
    mine = torch.tensor([value], dtype=torch.float64, device="cuda" if dist.get_backend() == "nccl" else "cpu")
    all_of_them = [torch.empty_like(mine) for _ in range(size())]
    with _together():
        dist.all_gather(all_of_them, mine)
    return [float(one) for one in all_of_them]


def wait() -> None:
    """Until every process is here: what the first one wrote can be read then."""
    if started():
        with _together():
            dist.barrier()


@contextmanager
def one_first() -> Iterator[None]:
    """The first process of every machine does what is inside, then the others, who find its files."""
    if env.local_rank() != 0:
        wait()
    yield
    if env.local_rank() == 0:
        wait()


@contextmanager
def _together() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # of gloo or nccl: a connection was closed
        raise _lost() from error


def _lost() -> LostError:
    """Said as soon as it is known: torchrun sends SIGTERM to all that are left, and a word later could come too late."""
    lost = LostError(f"process {env.rank()} of {env.size()} cannot reach the others: one of them has ended (look above for "
                     f"its own word); what was saved is kept: run the same command again to go on")
    print(f"ugc: {lost}", file=sys.stderr, flush=True)
    return lost
