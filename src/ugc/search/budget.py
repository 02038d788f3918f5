"""Budgets: `40x`, `macs=1.5G`, `macs_paper=1.5G`, `params=0.15M`; a bare `1.5G` means `macs`.

For one image at the run's crop size and channels. `40x` is the original's macs_paper / 40.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ugc.core.errors import UserError
from ugc.nn.cost import KEYS, Cost

UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9}
MOST = 1e30
FORM = re.compile(r"(?:(?P<key>[a-z_]+)\s*=\s*)?(?P<number>\d+(?:\.\d+)?(?:e\d+)?)\s*(?P<unit>[KMGx]?)", re.IGNORECASE)


@dataclass(frozen=True)
class Budget:
    """At most `limit` of the cost `key`."""

    key: str
    limit: float
    text: str

    @staticmethod
    def parse(text: str, original: Cost) -> Budget:
        """Read a budget; `original` is the cost that `40x` divides.

        Raises:
            UserError: not of one of the forms above.
        """
        match = FORM.fullmatch(text.strip())
        key = (match and match["key"]) or ""
        if not match or (key and key not in KEYS) or (match["unit"].lower() == "x" and key not in ("", *KEYS)):
            raise UserError(f"--budget {text!r}: expected 40x, macs=1.5G, macs_paper=1.5G, params=0.15M or 1.5G")
        number = float(match["number"])
        if not 0 < number < MOST:
            raise UserError(f"--budget {text!r}: must be above zero and below {MOST:g}")
        if match["unit"].lower() == "x":
            key = key or "macs_paper"
            return Budget(key, getattr(original, key) / number, text)
        return Budget(key or "macs", number * UNITS[match["unit"].upper()], text)

    def of(self, cost: Cost) -> float:
        """The part of a cost that this budget limits."""
        return float(getattr(cost, self.key))

    def holds(self, cost: Cost) -> bool:
        return self.of(cost) <= self.limit

    def check_reachable(self, smallest: Cost, largest: Cost) -> None:
        """UserError when not even the smallest sub-network fits, or when the largest does, too."""
        span = f"the smallest sub-network has {short(self.of(smallest))}, the largest {short(self.of(largest))}"
        if self.holds(largest):
            raise UserError(f"--budget {self.text}: {short(self.limit)} {self.key} leaves nothing to compress: {span}; "
                            "ask for less")
        if not self.holds(smallest):
            times = re.search(r"([\d.e]+)\s*x$", self.text.strip(), re.IGNORECASE)
            most = float(times[1]) * self.limit / self.of(smallest) if times else 0.0
            way = f"ask for at most {int(10 * most) / 10:g}x" if times else "raise the budget or lower --base"
            raise UserError(f"--budget {self.text}: {short(self.limit)} {self.key} is out of reach: {span}; {way}")


def short(number: float) -> str:
    """12.3M, 1.41G: four significant digits with a unit."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("K", 1e3)):
        if abs(number) >= size:
            return f"{number / size:.4g}{unit}"
    return f"{number:.4g}"
