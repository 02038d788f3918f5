"""Figures as SVG text: the same bytes for the same numbers, no dates, text as text, colours that the page may change."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ugc.core.files import read_json, write_text
from ugc.engine.page import si, three
from ugc.engine.style import LIGHT, SERIES

Row = Mapping[str, Any]
Line = tuple[str, Sequence[float], Sequence[float]]  # label, x, y

ROLES = {  # role -> words, colour, marker, size, opacity
    "random": ("random nets", LIGHT["soft"], "x", 16, 0.7),
    "ladder": ("uniform ladder", LIGHT["series5"], "s", 20, 0.9),
    "deep": ("search, deep", LIGHT["series2"], "^", 14, 0.55),
    "wide": ("search, wide", LIGHT["series3"], "v", 14, 0.55),
    "student": ("search, student", LIGHT["accent"], "o", 12, 0.55),
}
CHOSEN = {"student": "student", "deep": "deep teacher", "wide": "wide teacher"}
POINTS = 240  # of a curve; more are averaged
WIDE_RANGE = 20.0  # greatest over least value from which an axis is logarithmic


def pareto_plot(path: Path) -> Path:
    """Draw a search's `pareto.json` as `pareto.svg` beside it, with the teachers of the `choice.json` that lies there."""
    choice = path.with_name("choice.json")
    chosen = read_json(choice) if choice.exists() else {}
    svg = pareto_svg(read_json(path), {role: chosen[role] for role in CHOSEN if role in chosen}, background=True)
    write_text(path.with_suffix(".svg"), svg)
    return path.with_suffix(".svg")


def pareto_svg(pareto: Row, chosen: Mapping[str, Row] | None = None, limit: float | None = None,
               background: bool = False) -> str:
    """Score against macs_paper of all scored nets, the front, the chosen nets and the budget.

    Args:
        pareto: `rows`, `front` and `chosen` (one row, or role -> row).
        chosen: role -> row, beside what `pareto` names.
        limit: the budget in macs_paper.
        background: paint the page's white, for a file that stands alone.
    """
    figure, axes = _figure(600, 420, (58, 24, 10, 84), background)
    rows = [row for row in pareto.get("rows") or [] if _plottable(row)]
    for role, (words, colour, marker, size, alpha) in ROLES.items():
        of_role = [row for row in rows if row.get("role") == role]
        if of_role:
            edge = {"linewidths": 1.1} if marker == "x" else {"linewidths": 0}
            axes.scatter([r["macs_paper"] for r in of_role], [r["score"] for r in of_role], s=size, c=colour,
                         marker=marker, alpha=alpha, label=f"{words} ({len(of_role)})", zorder=2, **edge)
    front = [row for row in pareto.get("front") or [] if _plottable(row)]
    if front:
        axes.plot([r["macs_paper"] for r in front], [r["score"] for r in front], color=LIGHT["ink"], linewidth=1,
                  drawstyle="steps-post", label="front", zorder=1.5)
    named = pareto.get("chosen") or {}
    marked = {**({"student": named} if "score" in named else named), **(chosen or {})}
    marked = {role: row for role, row in marked.items() if _plottable(row)}
    for role, row in marked.items():
        colour, marker = (ROLES.get(role) or ROLES["random"])[1:3]
        axes.scatter([row["macs_paper"]], [row["score"]], s=110, c=colour, marker=marker, linewidths=1.6,
                     edgecolors=LIGHT["ink"], zorder=4)
    _name_chosen(axes, marked)
    axes.margins(y=0.1)
    axes.set_xscale("log")
    scores = [row["score"] for row in rows]
    if scores and min(scores) > 0 and max(scores) / min(scores) > WIDE_RANGE:
        axes.set_yscale("log")
    if limit:
        axes.axvline(limit, color=LIGHT["soft"], linewidth=1, dashes=(2, 3), zorder=1)
        axes.annotate("budget", (limit, 1), (4, -2), xycoords=("data", "axes fraction"), textcoords="offset points",
                      va="top", color=LIGHT["soft"], fontsize=11)
    axes.set_xlabel("macs_paper", labelpad=4)
    axes.set_ylabel("search score (lower is better)")
    ticks(axes)
    if axes.get_legend_handles_labels()[0]:
        figure.legend(*axes.get_legend_handles_labels(), loc="lower left", ncol=3, frameon=False, fontsize=11,
                      markerscale=1.5, labelcolor=LIGHT["ink"], handletextpad=0.3, columnspacing=1.4, borderaxespad=0)
    return _svg(figure, "pareto")


def curves_svg(lines: Sequence[Line], name: str) -> str:
    """A panel of smoothed curves with their names at the right end; `name` keeps the ids of panels apart."""
    labelled = len(lines) > 1
    figure, axes = _figure(340, 190, (46, 64 if labelled else 12, 8, 24), background=False)
    ends, values = [], []
    for (label, x, y), colour in zip(lines, SERIES):
        xs, ys = _binned(np.asarray(x, float), np.asarray(y, float))
        averaged = smooth(ys)
        if not labelled:
            axes.plot(xs, ys, color=colour, linewidth=0.7, alpha=0.3)
        axes.plot(xs, averaged, color=colour, linewidth=1.5)
        ends.append((label, float(averaged[-1]), colour))
        values.append(averaged)
    every = np.concatenate(values)
    if every.min() > 0 and every.max() / every.min() > WIDE_RANGE:
        axes.set_yscale("log")
    first, last = min(x[0] for _, x, _ in lines), max(x[-1] for _, x, _ in lines)
    axes.set_xlim(0 if first < 0.1 * last else first, last)
    ticks(axes, 4)
    if labelled:
        label_ends(axes, ends)
    return _svg(figure, name)


def _name_chosen(axes: Any, marked: Mapping[str, Row]) -> None:
    """Below the mark, where no net is better; of two teachers, which cost the same, the worse one above, at its right."""
    teachers = [row["score"] for role, row in marked.items() if role != "student"]
    for role, row in marked.items():
        beside = role != "student" and len(teachers) > 1 and row["score"] == max(teachers)
        offset, across, up = ((12, 9), "left", "center") if beside else ((0, -11), "center", "top")
        axes.annotate(CHOSEN.get(role, role), (row["macs_paper"], row["score"]), offset, textcoords="offset points",
                      ha=across, va=up, color=LIGHT["ink"], fontsize=12, fontweight="bold", zorder=5)


def label_ends(axes: Any, ends: Sequence[tuple[str, float, str]], room: float = 0.095, longest: int = 11) -> None:
    """Each line's name (label, y, colour) where the line ends, pushed apart where they would overlap.

    Args:
        room: how far, as a share of the height.
        longest: characters of a name; more are cut.
    """
    to_fraction = axes.transData + axes.transAxes.inverted()
    x_end = axes.get_xlim()[1]
    places = sorted((float(to_fraction.transform((x_end, y))[1]), label, colour) for label, y, colour in ends)
    at = -1.0
    heights = []
    for fraction, _, _ in places:
        at = max(fraction, at + room)
        heights.append(at)
    ceiling = 1.0
    for i in reversed(range(len(heights))):
        heights[i] = min(heights[i], ceiling)
        ceiling = heights[i] - room
    for (_, label, colour), height in zip(places, heights):
        text = label if len(label) <= longest else label[:longest - 1] + "…"
        axes.annotate(text, (1, height), (5, 0), xycoords="axes fraction", textcoords="offset points", va="center",
                      color=colour, fontsize=11, annotation_clip=False)


def _plottable(row: Any) -> bool:
    return isinstance(row, Mapping) and all(isinstance(row.get(k), int | float) for k in ("macs_paper", "score"))


def _binned(x: Any, y: Any) -> tuple[Any, Any]:
    """At most POINTS points: means of neighbours."""
    if len(x) <= POINTS:
        return x, y
    parts = np.array_split(np.arange(len(x)), POINTS)
    return np.array([x[p].mean() for p in parts]), np.array([y[p].mean() for p in parts])


def smooth(y: Any) -> Any:
    """A centred running mean over a fifteenth of the curve; narrow at the steep beginning, one-sided at the end."""
    half = max(1, len(y) // 30) if len(y) > 8 else 0
    total = np.concatenate([[0.0], np.cumsum(y)])
    i = np.arange(len(y))
    reach = np.minimum(i, half)
    low, high = i - reach, np.minimum(i + reach + 1, len(y))
    return (total[high] - total[low]) / (high - low)


def _figure(width: int, height: int, margins: tuple[int, int, int, int], background: bool) -> tuple[Any, Any]:
    """A figure of so many pixels (of the SVG's view box) with margins left, right, top, bottom."""
    from matplotlib.figure import Figure

    left, right, top, bottom = margins
    figure = Figure(figsize=(width / 72, height / 72), facecolor=LIGHT["paper"] if background else "none")
    return figure, panel(figure, (left / width, bottom / height, 1 - (left + right) / width, 1 - (top + bottom) / height))


def panel(figure: Any, place: tuple[float, float, float, float]) -> Any:
    """Axes in the look of all figures at (left, bottom, width, height), in shares of the figure."""
    axes = figure.add_axes(place)
    axes.set_facecolor("none")
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(LIGHT["soft"])
    axes.grid(axis="y", color=LIGHT["hair"], linewidth=0.8)
    axes.set_axisbelow(True)
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set_color(LIGHT["soft"])
        label.set_fontsize(12)
    return axes


def ticks(axes: Any, count: int = 6) -> None:
    """Round numbers, few of them, as people write them (never in powers of ten)."""
    from matplotlib import ticker

    axes.tick_params(which="both", colors=LIGHT["soft"], labelsize=11, length=0)
    axes.tick_params(axis="x", which="major", length=3, color=LIGHT["soft"])
    for axis in (axes.xaxis, axes.yaxis):
        if axis.get_scale() == "log":
            low, high = axis.get_view_interval()
            decades = np.log10(high / low)
            subs = (1, 2, 5) if decades < 2 else (1, 3) if decades < 3 else (1,)
            axis.set_major_locator(ticker.LogLocator(subs=subs, numticks=count + 4))
            axis.set_minor_locator(ticker.NullLocator())
        else:
            axis.set_major_locator(ticker.MaxNLocator(count, steps=[1, 2, 2.5, 5, 10]))
        axis.set_major_formatter(ticker.FuncFormatter(lambda value, _: _short(value)))


def _short(value: float) -> str:
    """A round number without its zeros: 10 M, 0.5, 2,000."""
    if 1000 <= value < 100_000:
        return f"{value:,.0f}"
    number, space, prefix = (si(value) if abs(value) >= 1000 else three(round(value, 12))).partition(" ")
    return (number.rstrip("0").rstrip(".") if "." in number and "e" not in number else number) + space + prefix


def _svg(figure: Any, name: str) -> str:
    import matplotlib as mpl

    buffer = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": name, "font.family": "sans-serif"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return "\n".join(line.rstrip() for line in buffer.getvalue().splitlines()) + "\n"
