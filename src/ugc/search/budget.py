"""Budgets: `40x`, `macs=1.5G`, `macs_paper=1.5G`, `params=0.15M`; a bare `1.5G` means `macs`; `latency=10ms@onnxruntime`.

For one image at the run's crop size and channels. `40x` is the original's macs_paper / 40. What a latency is, on which
runtime and machine, knows whoever makes the costs: here it is a number of a cost like the others.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ugc.core.errors import UserError
from ugc.nn.cost import KEYS, Cost

UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9}
MOST = 1e30
RUNTIME = "onnxruntime"  # of a latency that names none
MS = {"us": 1e-3, "ms": 1.0, "s": 1e3}
LATENCY = re.compile(r"latency\s*=\s*(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>[um]?s)(?:\s*@\s*(?P<runtime>[\w.-]+))?",
                     re.IGNORECASE)
FORM = re.compile(r"(?:(?P<key>[a-z_]+)\s*=\s*)?(?P<number>\d+(?:\.\d+)?(?:e\d+)?)\s*(?P<unit>[KMGx]?)", re.IGNORECASE)


@dataclass(frozen=True)
class Budget:
    """At most `limit` of the cost `key`. runtime: whose latency it is."""

    key: str
    limit: float
    text: str
    runtime: str = ""

    @staticmethod
    def parse(text: str, original: Cost) -> Budget:
        """Read a budget; `original` is the cost that `40x` divides.

        Raises:
            UserError: not of one of the forms above.
        """
        key, number, how = meant(text)
        return Budget(key, getattr(original, key) / number, text) if how == "x" else Budget(key, number, text, how)

    @property
    def most(self) -> str:
        """The limit for people, such as `1.5G macs` or `10 ms in onnxruntime`."""
        return f"{self._said(self.limit)} {self.unit}"

    @property
    def unit(self) -> str:
        return f"ms in {self.runtime}" if self.runtime else self.key

    def _said(self, value: float) -> str:
        return f"{value:.4g}" if self.runtime else short(value)

    def of(self, cost: Cost) -> float:
        """The part of a cost that this budget limits."""
        return float(getattr(cost, self.key))

    def holds(self, cost: Cost) -> bool:
        return self.of(cost) <= self.limit

    def check_named(self, where: str, cost: Cost) -> None:
        """UserError where a net that was named in `where` is above the budget."""
        if not self.holds(cost):
            raise UserError(f"{where}: that net has {short(self.of(cost))} {self.unit}, above the budget {self.text} "
                            f"({short(self.limit)}); raise --budget")

    def check_reachable(self, smallest: Cost, largest: Cost) -> None:
        """UserError when not even the smallest sub-network fits, or when the largest does, too."""
        span = f"the smallest sub-network has {self._said(self.of(smallest))}, the largest {self._said(self.of(largest))}"
        if self.holds(largest):
            raise UserError(f"--budget {self.text}: {self.most} leaves nothing to compress: {span}; "
                            "ask for less")
        if not self.holds(smallest):
            times = re.search(r"([\d.e]+)\s*x$", self.text.strip(), re.IGNORECASE)
            most = float(times[1]) * self.limit / self.of(smallest) if times else 0.0
            way = f"ask for at most {int(10 * most) / 10:g}x" if times else "raise the budget or lower --base"
            raise UserError(f"--budget {self.text}: {self.most} is out of reach: {span}; {way}")


def meant(text: str) -> tuple[str, float, str]:
    """What a budget says, however it is spelled: the cost, a number, and `x`, the runtime of a latency, or "".

    Raises:
        UserError: not of one of the forms above.
    """
    wanted, match = text.strip(), FORM.fullmatch(text.strip())
    if wanted.lower().startswith("latency"):
        if not (match := LATENCY.fullmatch(wanted)):
            raise UserError(f"--budget {text!r}: expected a time, such as latency=10ms, latency=0.5s or latency=10ms@torch")
        limit, runtime = float(match["number"]) * MS[match["unit"].lower()], (match["runtime"] or RUNTIME).lower()
        return "latency_ms", _positive(text, limit, " ms"), runtime
    if not match or match["key"] not in (None, *KEYS):
        raise UserError(f"--budget {text!r}: expected 40x, macs=1.5G, macs_paper=1.5G, params=0.15M, 1.5G or latency=10ms")
    number = _positive(text, float(match["number"]))
    if match["unit"].lower() == "x":
        return match["key"] or "macs_paper", number, "x"
    return match["key"] or "macs", number * UNITS[match["unit"].upper()], ""


def _positive(text: str, number: float, unit: str = "") -> float:
    if not 0 < number < MOST:
        raise UserError(f"--budget {text!r}: must be above zero and below {MOST:g}{unit}")
    return number


def spelled(text: str) -> str:
    """The text with the runtime that a latency means."""
    match = LATENCY.fullmatch(text.strip())
    return f"{text.strip()}@{RUNTIME}" if match and not match["runtime"] else text


def short(number: float) -> str:
    """12.3M, 1.41G: four significant digits with a unit."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("K", 1e3)):
        if abs(number) >= size:
            return f"{number / size:.4g}{unit}"
    return f"{number:.4g}"
