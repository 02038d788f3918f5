"""Name -> thing. A new family, method, metric or data set is one new file that registers itself.

The files of a registry's package are imported on first use, so a new file suffices: nothing else lists it.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from ugc.core.errors import UserError, near

T = TypeVar("T")


class Registry(Generic[T]):
    """A table of things by name, filled by the files of one package.

    Args:
        kind: what the things are, for error sentences ("family").
        package: the package whose files register them, such as `ugc.models`.
    """

    def __init__(self, kind: str, package: str) -> None:
        self.kind = kind
        self.package = package
        self._things: dict[str, T] = {}
        self._scanned = False

    def register(self, name: str) -> Callable[[T], T]:
        """Decorator: put the thing under `name`; a second thing of that name is a programming error."""

        def put(thing: T) -> T:
            if name in self._things and self._things[name] is not thing:
                raise ValueError(f"two things of kind {self.kind} are named {name!r}")
            self._things[name] = thing
            return thing

        return put

    def _scan(self) -> None:
        if not self._scanned:
            package = importlib.import_module(self.package)
            for module in pkgutil.iter_modules(package.__path__):
                importlib.import_module(f"{self.package}.{module.name}")
            self._scanned = True

    def __getitem__(self, name: str) -> T:
        self._scan()
        if name not in self._things:
            raise UserError(f"unknown {self.kind} {name!r}: {near(name, self._things)}")
        return self._things[name]

    def name_of(self, thing: T) -> str:
        """What a registered thing is called."""
        return next(name for name, other in self._things.items() if other is thing)

    def __contains__(self, name: object) -> bool:
        self._scan()
        return name in self._things

    def __iter__(self) -> Iterator[str]:
        self._scan()
        return iter(sorted(self._things))

    def items(self) -> Iterator[tuple[str, T]]:
        return ((name, self[name]) for name in self)
