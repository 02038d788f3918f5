"""Drawings of results for docs/performance.md: PNG, one idea each, in the look of the report's figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ugc.core.files import atomic
from ugc.engine.plots import label_ends, panel, smooth, ticks
from ugc.engine.style import LIGHT, SERIES

WIDTH = 820  # as wide as GitHub shows a page, in its pixels; drawn with two dots a pixel
DOTS = 144
COLOURS = 64  # of a file, a third of the bytes of all of them
PER_ROW = 2  # panels

CURVE = 205  # pixels of a panel's height

Points = Sequence[tuple[float, float]]  # x, y
Lines = Mapping[str, Points]  # name -> points, by x


def growth_lines(path: Path, panels: Mapping[str, Lines], across: str, up: str, slope: tuple[str, float] | None = None
                 ) -> Path:
    """Lines on logarithmic axes, a panel each with its title, names at the lines' ends; panels share their axes.

    Args:
        across, up: names of the axes, with units.
        slope: a line to compare with, from the first point: its name, and the power of x.
    """
    rows = -(-len(panels) // PER_ROW)
    columns = min(PER_ROW, len(panels))
    figure = _sheet(rows * 270 + 20)
    every = [point for lines in panels.values() for points in lines.values() for point in points]
    xs, highest, lowest = sorted({x for x, _ in every}), max(y for _, y in every), min(y for _, y in every)
    names = list(dict.fromkeys(name for lines in panels.values() for name in lines))
    for at, (title, lines) in enumerate(panels.items()):
        place = _cell(at, rows, columns, right=0.28 if columns > 1 else 0.16)
        axes = panel(figure, place)
        axes.set_title(title, loc="left", fontsize=12, color=LIGHT["ink"], pad=8)
        ends = []
        for name, points in lines.items():
            colour, mark = SERIES[names.index(name) % len(SERIES)], "os^Dv"[names.index(name) % 5]
            axes.plot([x for x, _ in points], [y for _, y in points], color=colour, marker=mark, markersize=5, linewidth=1.8)
            ends.append((name, points[-1][1], colour))
        top = highest
        if slope:
            first = min(points[0][1] for points in lines.values())
            compared = [first * (x / xs[0]) ** slope[1] for x in xs]
            axes.plot(xs, compared, color=LIGHT["soft"], linewidth=1, dashes=(2, 3), zorder=1)
            ends.append((slope[0], compared[-1], LIGHT["soft"]))
            top = max(top, compared[-1])
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_ylim(lowest / 1.15, top * 1.25)
        ticks(axes)
        _round_ticks(axes.yaxis, lowest, top)
        axes.set_xticks(xs, [f"{x:,g}" for x in xs])
        axes.set_xlabel(across)
        if at % columns == 0:
            axes.set_ylabel(up)
        label_ends(axes, ends, room=0.08, longest=40)
    return _save(figure, path)


def bars(path: Path, groups: Mapping[str, Mapping[str, float]], across: str, form: str = "{:,.3g}",
         line: tuple[str, float] | None = None) -> Path:
    """Horizontal bars: a group each with its name, in it a bar of each series with its value at its end.

    Args:
        across: what is measured, with its unit.
        line: a value to compare with: its name, and where.
    """
    series = list(dict.fromkeys(name for values in groups.values() for name in values))
    thick, gap = 17, 12
    inner = sum(thick * len(values) + gap for values in groups.values())
    legend = 26 if len(series) > 1 else 0
    height = inner + 58 + legend
    figure = _sheet(height)
    left = 30 + 7.2 * max(len(name) for name in groups)
    axes = panel(figure, (left / WIDTH, 48 / height, 1 - (left + 80) / WIDTH, inner / height))
    at, middles = 0.0, []
    for values in groups.values():
        begin = at
        for name, value in values.items():
            axes.barh(at + thick / 2, value, thick * 0.86, color=SERIES[series.index(name) % len(SERIES)])
            axes.annotate(form.format(value), (value, at + thick / 2), (5, 0), textcoords="offset points", va="center",
                          fontsize=11, color=LIGHT["ink"])
            at += thick
        middles.append((begin + at) / 2)
        at += gap
    axes.set_ylim(at - gap / 2, -gap / 2)
    axes.set_xlim(0, 1.05 * max(*(value for values in groups.values() for value in values.values()), line[1] if line else 0))
    ticks(axes)
    axes.set_yticks(middles, list(groups))
    axes.tick_params(axis="y", labelsize=12, colors=LIGHT["ink"])
    axes.grid(axis="y", visible=False)
    axes.grid(axis="x", color=LIGHT["hair"], linewidth=0.8)
    if line:
        axes.axvline(line[1], color=LIGHT["ink"], linewidth=1, dashes=(3, 3), zorder=3)
        axes.annotate(line[0], (line[1], -gap / 2), (3, 2), textcoords="offset points", va="bottom", fontsize=11,
                      color=LIGHT["soft"], annotation_clip=False)
    axes.set_xlabel(across)
    if legend:
        from matplotlib.patches import Patch

        handles = [Patch(color=SERIES[at % len(SERIES)], label=name) for at, name in enumerate(series)]
        figure.legend(handles=handles, loc="upper left", bbox_to_anchor=(left / WIDTH, 1), ncol=len(series), frameon=False,
                      fontsize=11, labelcolor=LIGHT["ink"], borderaxespad=0.3, handlelength=1, handletextpad=0.4)
    return _save(figure, path)


def training_curves(path: Path, panels: Mapping[str, Mapping[str, Sequence[float]]], steps: int) -> Path:
    """Smoothed losses by step: a panel each with its title; the first two versions in colours, all others thin behind them.

    Args:
        panels: title -> version -> means over windows of equal lengths.
        steps: that all windows have together.
    """
    from matplotlib.lines import Line2D

    rows, columns, legend = -(-len(panels) // PER_ROW), min(PER_ROW, len(panels)), 30
    height = rows * CURVE + legend
    figure = _sheet(height)
    looks = ({"color": SERIES[0], "linewidth": 1.9}, {"color": SERIES[1], "linewidth": 1.5, "dashes": (4, 1.5)})
    behind = {"color": LIGHT["soft"], "linewidth": 0.8, "alpha": 0.7}
    named: dict[str, Any] = {}
    for at, (title, lines) in enumerate(panels.items()):
        left, below, wide, tall = _cell(at, rows, columns, right=0.03)
        share = rows * CURVE / height
        axes = panel(figure, (left, below * share, wide, tall * share))
        axes.set_title(title, loc="left", fontsize=12, color=LIGHT["ink"], pad=6)
        for number, (name, means) in reversed(list(enumerate(lines.items()))):  # the first lies on top
            look, label = (looks[number], name) if number < len(looks) else (behind, "other seeds")
            edges = np.linspace(0, steps, len(means) + 1)
            axes.plot((edges[1:] + edges[:-1]) / 2, smooth(np.asarray(means)), zorder=3 - min(number, 2) / 2 + (number == 1),
                      **look)
            named[label] = look
        axes.set_xlim(0, steps)
        ticks(axes, 4)
        if at >= len(panels) - columns:
            axes.set_xlabel("step")
    handles = [Line2D([], [], label=label, **look) for label, look in reversed(named.items())]
    figure.legend(handles=handles, loc="upper left", bbox_to_anchor=(62 / WIDTH, 1), ncol=len(handles), frameon=False,
                  fontsize=11, labelcolor=LIGHT["ink"], borderaxespad=0.3, handlelength=2.4)
    return _save(figure, path)


def _sheet(height: float) -> Any:
    from matplotlib.figure import Figure

    return Figure(figsize=(WIDTH / 72, height / 72), dpi=DOTS, facecolor=LIGHT["paper"])


def _cell(at: int, rows: int, columns: int, right: float) -> tuple[float, float, float, float]:
    """The axes of panel `at`: room at its left and below it for numbers, at its right for names (a share of the cell)."""
    row, column = divmod(at, columns)
    wide, tall = 1 / columns, 1 / rows
    left, below, above = 62 / WIDTH, 0.2 * tall, 0.13 * tall
    return (column * wide + left, 1 - (row + 1) * tall + below, wide * (1 - right) - left, tall - below - above)


def _round_ticks(axis: Any, low: float, high: float) -> None:
    """Few round numbers on a logarithmic axis that may span less than a decade."""
    from matplotlib import ticker

    wide = high / max(low, 1e-12)
    subs = (1, 1.5, 2, 3, 5, 7) if wide < 4 else (1, 2, 5) if wide < 200 else (1,)
    axis.set_major_locator(ticker.LogLocator(subs=subs, numticks=12))


def _save(figure: Any, path: Path) -> Path:
    """The same bytes for the same numbers and the same matplotlib."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    few = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB").quantize(COLOURS)
    with atomic(path) as file:
        few.save(file, "PNG", optimize=True)
    return path
