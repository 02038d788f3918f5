"""Which curves share a panel: the same part of the same kind of player, so that few lines are compared with their like."""

from __future__ import annotations

from typing import Any

from ugc.engine.page import Html, inline_svg, tag
from ugc.engine.plots import Line, curves_svg
from ugc.engine.record import Record
from ugc.engine.style import LIGHT, SERIES

PARTS = {"gan": "adversarial", "recon": "L1 to the target", "features": "feature matching",
         "perceptual": "perceptual", "ssim": "1 − SSIM", "feature": "features",
         "style": "style", "tv": "total variation", "l1": "L1"}
LEFT_OUT = ("step", "lr")


def curves(record: Record, stage: str) -> list[Html]:
    """The panels of a stage: its losses, or for the search the best score by generation."""
    panels = _search(record) if stage == "search" else _losses(record.log(stage))
    figures = []
    for number, (title, lines) in enumerate(panels):
        svg = inline_svg(curves_svg(lines, f"{stage}-{number}"), f"{stage}: {title}", LIGHT)
        figures.append(tag("figure", tag("figcaption", title), svg))
    return figures


def _losses(rows: list[dict[str, Any]]) -> list[tuple[str, list[Line]]]:
    """Panels in the log's order. A value that is not a number (it was not finite) leaves a gap."""
    series: dict[str, tuple[list[float], list[float]]] = {}
    for row in rows:
        for key, value in row.items():
            if key not in LEFT_OUT and isinstance(value, int | float):
                x, y = series.setdefault(key, ([], []))
                x.append(row["step"])
                y.append(value)
    panels: dict[str, list[Line]] = {}
    for key, (x, y) in series.items():
        if len(x) > 1:
            title, label = panel_of(key)
            panels.setdefault(title, []).append((label, x, y))
    split = []
    for title, lines in panels.items():
        size = len(SERIES)
        split += [(title, lines[i:i + size]) for i in range(0, len(lines), size)]
    return split


def panel_of(key: str) -> tuple[str, str]:
    """The panel's title and the curve's name: `student/A.deep.ssim` -> `student, 1 − SSIM` and `A deep`."""
    player, slash, rest = key.partition("/")
    if not slash:
        return key, key
    *path, part = rest.split(".")
    if player.startswith("D"):
        kind, name = "discriminator", player.removeprefix("D").strip("_") or "D"
    elif player in ("deep", "wide"):
        kind, name = "teachers", player
    else:
        kind, name = {"G": "generator"}.get(player, player), ""
    words = PARTS.get(part, part)
    return f"{kind}, {words}", " ".join(filter(None, (name, *path))) or words


def _search(record: Record) -> list[tuple[str, list[Line]]]:
    """The best score so far by generation, for each of the three searches."""
    lines: list[Line] = []
    for role in ("student", "deep", "wide"):
        best: dict[int, float] = {}
        for row in record.candidates:
            generation, score = row.get("generation"), row.get("score")
            if row.get("role") == role and isinstance(generation, int) and isinstance(score, int | float):
                best[generation] = min(score, best.get(generation, score))
        so_far, y = float("inf"), []
        for generation in sorted(best):
            so_far = min(so_far, best[generation])
            y.append(so_far)
        if len(y) > 1:
            lines.append((role, sorted(best), y))
    return [("best score so far, by generation", lines)] if lines else []
