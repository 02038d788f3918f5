"""How a run is stopped, and kept to itself: Ctrl-C and SIGTERM between two steps, one process a run folder."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, NoReturn

from ugc.core.errors import UserError
from ugc.core.files import locked


class Stop:
    """Whether somebody asked the process to end. The second time it ends at once (KeyboardInterrupt)."""

    def __init__(self) -> None:
        self.asked = False

    def __call__(self, *_: Any) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True


@contextmanager
def stoppable() -> Iterator[Stop]:
    """While it is open, Ctrl-C and SIGTERM only set `asked`, so that what is under way can end and be saved."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():  # signals reach the main thread only
        yield stop
        return
    heard = [number for number in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, stop) for number in heard}  # what a script ignores stays ignored
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def alone(folder: Path) -> AbstractContextManager[None]:
    """Hold a lock on `folder`, made if absent.

    Raises:
        UserError: another process works in the folder.
    """
    def refuse() -> NoReturn:
        raise UserError(f"{folder}: another run is working in it; wait for its end, or give another --out") from None

    folder.mkdir(parents=True, exist_ok=True)
    return locked(folder, refuse)
