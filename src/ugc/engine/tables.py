"""The report's numbers: the sentence at the top, quality by metric, cost with ratios, the choices of an architecture."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ugc.engine.drawing import parse
from ugc.engine.page import DASH, Html, flat, fold, markup, si, tag, three
from ugc.engine.record import Record
from ugc.metrics.protocols import OF_LABELS, TO_ORIGINAL, Metric, ordered, to_original, worse

Row = Mapping[str, Any]

NAMES = {"original": "original", "student": "student", "copy": "copy of the source",
         "palette": "label map in its colours", "photos": "the photos themselves", "floor": "floor",
         "deep_teacher": "deep teacher", "wide_teacher": "wide teacher", "largest": "largest of the supernet"}
WORDS = {"miou": "mIoU", "pixel_accuracy": "pixel accuracy", "fwiou": "IoU by frequency", "psnr": "PSNR", "ssim": "SSIM",
         "l1": "L1", "lpips": "LPIPS", "ink_iou": "ink IoU", "ink_grey": "grey", "palette_accuracy": "palette accuracy",
         "kd_efflite0": "KD (Lite0)", "fd_efflite0": "FD (Lite0)", "kid": "KID", "fid": "FID"}
DIGITS = {"miou": 1, "pixel_accuracy": 1, "fwiou": 1, "psnr": 2, "ssim": 3, "l1": 3, "lpips": 3, "ink_iou": 3, "ink_grey": 2,
          "palette_accuracy": 3, "kd_efflite0": 1, "fd_efflite0": 1, "kid": 1, "fid": 1}
COSTS = {"params": "params", "macs": "MACs", "macs_paper": "macs_paper", "latency_ms": "latency"}
COST_TEXT = {
    "params": "weights and biases",
    "macs": "multiply-adds of convolutions for one image at the run’s size, counted as they are carried out",
    "macs_paper": "the same as the papers of this line count them: a transposed convolution on its output grid, which is "
                  "four times too many at stride 2; budgets such as 40x are in this unit",
    "latency_ms": "milliseconds for one image on the CPU",
}


def verdict(record: Record) -> Html | None:
    """One sentence in plain words: how small, how good, against what. None before there is a student."""
    student, original, copy = (record.row(name) for name in ("student", "original", "copy"))
    if "macs" not in student:
        return None
    parts: list[Any] = ["A student of ", tag("b", f"{si(student['macs'])} MACs")]
    if original.get("macs"):
        parts += [", ", tag("b", f"{_times(original['macs'] / student['macs'])} fewer"), " than the original"]
        if original.get("macs_paper") and student.get("macs_paper"):
            parts.append(f" ({three(original['macs_paper'] / student['macs_paper'])} as the papers count)")
    key = next((m.name for m in ordered() if m.name in student), None)
    close = next((m.name for m in ordered() if m.name + TO_ORIGINAL in student), None)
    if close is not None:  # it was made to imitate
        number = _value(close, student[close + TO_ORIGINAL], unit=True)
        parts += [", agrees with the original’s pictures to ", tag("b", number)]
        if close + TO_ORIGINAL in copy:
            parts.append(f"; copying the source agrees to {_value(close, copy[close + TO_ORIGINAL])}")
        return markup(*parts, ".")
    if key is None:
        return markup(*parts, ". It has not been measured on the test images yet.")
    parts += [", " if original.get("macs") else " ", "scores ", tag("b", _value(key, student[key], unit=True))]
    if key in original:
        parts.append(f" against the original’s {_value(key, original[key])}")
    cheap, what = (copy, "copying the source") if copy else (record.row("palette"), "the label map in its colours")
    if key in cheap:
        better = not worse(next(m for m in ordered() if m.name == key), student[key], cheap[key])
        parts.append(f"; {what} scores {_value(key, cheap[key])}" if better else
                     f"; that is no better than {what}, which scores {_value(key, cheap[key])}")
    if key in (photos := record.row("photos")):
        parts.append(f", and the photos themselves {_value(key, photos[key])}")
    return markup(*parts, ".")


def _times(ratio: float) -> str:
    return f"{three(ratio)} times"


def _value(key: str, value: float, unit: bool = False) -> str:
    """The verdict's number: the metric's name is in it where the unit is asked for."""
    number = f"{value:.{1 if key == 'psnr' else digits(key, 3)}f}"
    units = {m.name: m.unit for m in ordered()}
    return " ".join(filter(None, (number, units.get(key), word(key)))) if unit else number


def quality(record: Record) -> Html | None:
    """Nets by metric. The protocol of each metric is its column's tooltip and a line under the table."""
    known = {metric.name: metric for metric in ordered()}
    others = {key for row in _rows(record).values() for key in row} - known.keys() - COSTS.keys()
    return _by_metric(record, known, (*known, *sorted(key for key in others if not key.endswith(TO_ORIGINAL))))


def closeness(record: Record) -> Html | None:
    """Nets by metric, with the original's pictures in the targets' place; None where nothing was made to imitate it."""
    known = {metric.name: metric for metric in to_original()}
    return _by_metric(record, known, known)


def _by_metric(record: Record, known: Mapping[str, Metric], keys: Iterable[str]) -> Html | None:
    rows = _rows(record)
    columns = [key for key in keys if any(key in row for row in rows.values())]
    if not columns:
        return None
    texts = {**{key: m.text for key, m in known.items()}, **((record.metrics.get("protocol") or {}).get("metrics") or {})}
    head = [tag("th", "net"), *(_metric_head(key, known.get(key), str(texts.get(key, ""))) for key in columns)]
    body = [_row(name, [_number(row.get(key), digits(key), record.pair("intervals", name, key)) for key in columns])
            for name, row in rows.items() if any(key in row for key in columns)]
    notes = [tag("p", f"{word(key)}: {texts[key]}.") for key in columns if texts.get(key)]
    return markup(_table(head, body), tag("div", *_of_labels(rows, columns), *_at_the_floor(record, columns), notes,
                                          class_="foot"))


def kind(key: str) -> str:
    """A metric's name without the segmenter that it is by, and without `_to_original`."""
    key = key.removesuffix(TO_ORIGINAL)
    return next((start.rstrip("_") for start in OF_LABELS if key.startswith(start)), key)


def word(key: str) -> str:
    """A metric as a column's head."""
    return WORDS.get(kind(key), key.removesuffix(TO_ORIGINAL))


def digits(key: str, otherwise: int | None = None) -> int | None:
    """Digits after the point."""
    return DIGITS.get(kind(key), otherwise)


def _of_labels(rows: Mapping[str, Row], columns: Iterable[str]) -> Iterable[Html]:
    """Between what mIoU lies."""
    for key in (key for key in columns if kind(key) == "miou"):
        ends = [f"{NAMES[name]} {rows[name][key]:.1f} ({what})" for name, what in
                (("photos", "the ceiling: as the segmenter errs on real ones"), ("palette", "the floor"))
                if key in rows.get(name, {})]
        if ends:
            yield tag("p", f"mIoU lies between {' and '.join(reversed(ends))}.")


def _at_the_floor(record: Record, columns: Iterable[str]) -> Iterable[Html]:
    """Distances at the count that the floor has, which is half of the test images."""
    count = (record.metrics.get("protocol") or {}).get("floor_images")
    for key in columns:
        found = {name: value for name in NAMES if (value := record.half(name, key)) is not None}
        if isinstance(count, int) and "floor" in found:
            values = ", ".join(f"{NAMES[name]} {value:,.{digits(key) or 0}f}" for name, value in found.items())
            yield tag("p", f"{word(key)} of {count:,} images, as many as the floor is of: {values}.")


def cost(record: Record) -> Html:
    """Nets by cost, each with how many times fewer than the original."""
    rows = {name: row for name, row in _rows(record).items() if any(key in row for key in COSTS)}
    columns = [key for key in COSTS if any(key in row for row in rows.values())]
    base = record.row("original")
    head, body = [tag("th", "net")], []
    for key in columns:
        unit = tag("span", "ms") if key == "latency_ms" else None
        head.append(tag("th", COSTS[key], unit, title=COST_TEXT[key]))
        if base.get(key):
            head.append(tag("th", "× faster" if key == "latency_ms" else "× fewer"))
    for name, row in rows.items():
        cells = []
        for key in columns:
            cells.append(tag("td", three(row[key]) if key == "latency_ms" else si(row[key])) if key in row else _none())
            if base.get(key):
                ratio = three(base[key] / row[key]) if row.get(key) else DASH
                cells.append(tag("td", DASH if name == "original" else ratio, class_="x"))
        body.append(_row(name, cells))
    protocol = record.metrics.get("protocol") or {}
    texts = {**COST_TEXT, **({"latency_ms": str(protocol["latency_ms"])} if "latency_ms" in protocol else {})}
    return markup(_table(head, body), tag("div", [tag("p", f"{COSTS[k]}: {texts[k]}.") for k in columns], class_="foot"))


def budget_of_time(record: Record) -> Html | None:
    """What was predicted and what was measured, where the budget was a latency."""
    said = (record.metrics.get("latency") or {}).get("text")
    return tag("p", f"The budget: {said}.") if said else None


def protocol(record: Record) -> Html | None:
    """All that `metrics.json` says of how it was measured."""
    about = record.metrics.get("protocol")
    return fold("How it was measured", pairs(flat(about))) if isinstance(about, dict) and about else None


def pairs(rows: Iterable[tuple[str, str]]) -> Html:
    """Names and values in two columns."""
    return tag("div", [tag("div", tag("span", name), tag("span", value)) for name, value in rows], class_="pairs")


def choices(record: Record) -> Html | None:
    """What was chosen for each name of the search space, by net."""
    archs = {name: parse(str(record.nets[name].get("arch", ""))) for name in
             ("student", "deep_teacher", "wide_teacher", "largest")}
    for role, name in (("student", "student"), ("deep", "deep_teacher"), ("wide", "wide_teacher")):
        archs[name] = archs[name] or parse(str((record.choice.get(role) or {}).get("arch", "")))
    archs = {name: arch for name, arch in archs.items() if arch}
    if not archs:
        return None
    names = list(dict.fromkeys(name for arch in archs.values() for name in arch))
    head = [tag("th", "choice"), *(tag("th", NAMES[net]) for net in archs)]
    body = [tag("tr", tag("th", name), [_number(arch.get(name), 0) for arch in archs.values()]) for name in names]
    return fold("Every choice as a number (base widths; d. counts inserted blocks)", _table(head, body))


def _rows(record: Record) -> dict[str, Row]:
    """Rows in the table's order; those of nobody are left out."""
    measured = record.metrics.get("rows") or {}
    names = [*NAMES, *(name for name in measured if name not in NAMES)]
    return {name: row for name in names if (row := record.row(name))}


def _metric_head(key: str, metric: Metric | None, text: str) -> Html:
    arrow = {"higher": "↑ better", "lower": "↓ better", "one": "1 is best"}.get(metric.better if metric else "", "")
    under = ", ".join(filter(None, (metric.unit if metric else "", arrow)))
    return tag("th", word(key), tag("span", under), title=text or None)


def _row(name: str, cells: Iterable[Html]) -> Html:
    kind = {"original": "", "student": "student"}.get(name, "rest")
    return tag("tr", tag("th", NAMES.get(name, name)), list(cells), class_=kind or None)


def _number(value: Any, digits: int | None, interval: tuple[float, float] | None = None) -> Html:
    if value is None:
        return _none()
    ends = [f"{end:,.{digits or 0}f}".replace("-", "−") for end in interval or ()]
    title = f"95 % of draws of the test images: {ends[0]} to {ends[1]}" if ends else None
    under = tag("span", f"{ends[0]} to {ends[1]}", class_="ends") if ends else None
    return tag("td", three(value) if digits is None else f"{value:,.{digits}f}".replace("-", "−"), under, title=title)


def _none() -> Html:
    return tag("td", DASH, class_="none")


def _table(head: list[Html], body: list[Html]) -> Html:
    return tag("div", tag("table", tag("thead", tag("tr", head)), tag("tbody", body)), class_="wide")
