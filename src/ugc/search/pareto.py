"""The Pareto front of quality against cost."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


def front(rows: Iterable[Mapping[str, Any]], cost: str = "macs_paper", score: str = "score") -> list[dict[str, Any]]:
    """The rows that no other row beats in both `cost` and `score` (lower is better), from cheap to dear.

    A row without a score is none of them.
    """
    best: list[dict[str, Any]] = []
    for row in sorted((r for r in rows if r[score] is not None), key=lambda r: (r[cost], r[score])):
        if not best or row[score] < best[-1][score]:
            best.append(dict(row))
    return best
