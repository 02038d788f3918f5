"""`report.html`: one page, one file, made of nothing but the files of a run folder. Also of a run that stopped early."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ugc.core.files import write_text
from ugc.engine import tables
from ugc.engine.curves import curves
from ugc.engine.drawing import architecture_svg, layers, parse
from ugc.engine.inherit import STAGES as TAKEN
from ugc.engine.page import (
    Html,
    definitions,
    duration,
    flat,
    fold,
    inline_svg,
    light_picture,
    markup,
    picture,
    picture_size,
    plain,
    si,
    tag,
)
from ugc.engine.plots import pareto_svg
from ugc.engine.record import SAMPLES, Record
from ugc.engine.style import CSS, LIGHT
from ugc.export.terms import attribution

COLUMNS = {"source": "input", "target": "target", "original": "original", "student": "student"}
LABEL_COLUMNS = {**COLUMNS, "source": "label map", "target": "photo (target)"}
SCORES = {"l_od": "L_OD", "l1": "L1", "ssim": "SSIM loss"}
SMALL = 128  # pixels below which a picture is shown at twice its size, two samples a row
GRIDS = 8  # sample grids of a stage that the page keeps
KEYS = 4096  # of the labelled list that the page keeps
FIRST = 12


def write_report(run: Path) -> Path:
    """Write `RUN/report.html` from the files of the run folder `run`; what is missing is left out, and said.

    Returns:
        The page's path. The same files give the same bytes.
    """
    record = Record(run)
    body = tag("main", _header(record), _asked_and_done(record), _samples(record), _results(record),
               _architecture(record), _pareto(record), _training(record), _labels(record), _fine_print(record))
    head = markup(tag("meta", charset="utf-8"), tag("meta", name="viewport", content="width=device-width,initial-scale=1"),
                  tag("title", _name(record)), tag("style", Html(CSS)))
    page = f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>{body}</body></html>\n'
    write_text(run / "report.html", page)
    return run / "report.html"


def _name(record: Record) -> str:
    dataset = str(record.run.get("dataset") or "")
    name = str(record.recipe.get("name") or "") or dataset or "a run"
    return f"{name}: {dataset} with {record.recipe.get('family', 'ugc')}" if dataset else f"{name}, ugc"


def _section(title: str, lead: Any, *content: Any) -> Html:
    return tag("section", tag("h2", title), tag("p", lead, class_="lead") if lead else None, *content)


def _header(record: Record) -> Html:
    """The verdict, or how far the run has come."""
    sentence = tables.verdict(record) or markup(
        "This run trains an original, and makes no student." if record.recipe.get("method") == "original" else
        "There is no student yet.")
    left = record.open_stages
    note = None
    if left or not record.stages:
        ended = [stage for stage in record.stages if stage not in left]
        state = "no stage has ended yet"
        if ended:
            state = f"{_and(ended)} {_is(ended)} done" + (f", {_and(left)} {_is(left)} not" if left else "")
        note = tag("p", f"This run has not finished: {state}. What is missing is left out below. The same command again "
                        "goes on from here.", class_="open")
    return tag("header", tag("h1", _name(record)), tag("p", sentence, class_="verdict"), note)


def _and(words: list[str]) -> str:
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1]))) if words else ""


def _is(words: list[str]) -> str:
    return "is" if len(words) == 1 else "are"


def _asked_and_done(record: Record) -> Html:
    recipe, run, ran = record.recipe, record.run, record.ran
    data = recipe.get("data") or {}
    budget, counts = run.get("budget") or {}, run.get("counts") or {}
    channels = run.get("channels") or []
    form = " to ".join(map(str, channels)) + (" channels" if len(channels) == 2 else "")
    labels = data.get("labels")
    share = f"{100 * labels:.3g} % of the pairs" if isinstance(labels, float | int) else plain(labels) if labels else ""
    unit = f"ms in {budget['on']}" if budget.get("on") else budget.get("key", "")
    limit = f", at most {si(budget['limit'])} {unit}" if _is_number(budget.get("limit")) else ""
    loss, warm = _loss(record), run.get("warm_start") or {}
    trained = [f"{name} {steps:,}" for name, steps in record.taken.items()]
    dataset = str(run.get("dataset") or plain(data.get("path") or ""))
    asked = definitions([
        ("data", ", ".join(filter(None, (dataset, _size(data.get("size")), form, str(data.get("direction") or ""))))),
        ("labels", "none: it learns from the original’s pictures" if run.get("imitates") else share),
        ("budget", f"{budget.get('text') or recipe.get('budget') or ''}{limit}"),
        ("family", f"{recipe.get('family', '')}, base {recipe.get('base', '?')}" if recipe.get("family") else ""),
        ("method", str(recipe.get("method") or "")),
        ("original", plain(recipe["original"]) if recipe.get("original") not in (None, "train", "none") else ""),
        ("steps", ", ".join(trained)),
        ("batch, seed", f"{recipe['batch']}, {recipe.get('seed', '?')}" if "batch" in recipe else ""),
    ])
    taken = TAKEN if run.get("from") else ()
    times = [(stage, record.done(stage)) for stage in record.stages]
    total = sum(about.get("seconds", 0) for stage, about in times if about and stage not in taken)
    source = [f"Original and supernet were taken over from {plain(str(run['from']))}."] if run.get("from") else []
    done = definitions([
        *((stage, _time(record, stage, about, stage in taken)) for stage, about in times),
        ("in all", duration(total) if total else ""),
        ("trained on", _counts(counts, "unlabelled" if run.get("sees_unlabelled") is False else "")),
        ("tested on", f"{counts['test']:,} images, read once" if _is_number(counts.get("test")) and record.metrics else ""),
        ("L_sup", str((run.get("objective") or {}).get("text") or "").removeprefix("L_sup: ")),
        ("L_OD", str(loss.get("text") or "")),
        ("warm start", str(warm.get("text") or "").removeprefix("warm start: ")),
        ("device", ran.get("device") or str(recipe.get("device") or "")),
        ("versions", ", ".join(f"{k} {ran[f'versions.{k}']}" for k in ("ugc", "python", "torch") if f"versions.{k}" in ran)),
    ])
    warnings = [w for _, about in times if about for w in about.get("warnings") or []]
    notes = [tag("li", str(n)) for n in (*source, *(run.get("notes") or []), *(record.choice.get("notes") or []), *warnings)]
    return _section("What was asked, what was done", None, tag("div", tag("div", tag("h3", "Asked"), asked),
                    tag("div", tag("h3", "Done"), done), class_="two"), tag("ul", notes, class_="notes") if notes else None)


def _loss(record: Record) -> Mapping[str, Any]:
    """What run.json says of L_OD: a line, or `text` and where its backbone comes from."""
    said = record.run.get("distillation")
    return said if isinstance(said, Mapping) else {"text": said}


def _time(record: Record, stage: str, about: dict[str, Any] | None, taken: bool) -> str:
    if about is None:
        steps = record.steps(stage)
        of = f" of {steps['of']:,}" if steps["of"] else ""
        return f"stopped at step {steps['at']:,}{of}" if steps["at"] else "not done"
    parts = [f"{about[key]:,} {words}" for key, words in (("steps", "steps"), ("scored", "nets scored")) if about.get(key)]
    took = [duration(about["seconds"])] if about.get("seconds") else []
    return ", ".join([*parts, *took, *(["taken over"] if taken else [])]) or "done"


def _counts(counts: Mapping[str, Any], unseen: str = "") -> str:
    words = (("labelled", "labelled pairs"), ("unlabelled", "unlabelled sources"), ("validation", "held out for the search"),
             ("hidden", "targets hidden"))
    return ", ".join(f"{counts[key]:,} {text}" for key, text in words if counts.get(key) and key != unseen)


def _size(size: Any) -> str:
    pair = list(size) if isinstance(size, list | tuple) else [size, size] if size else []
    return "×".join(map(str, pair)) + " px" if pair else ""


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _samples(record: Record) -> Html | None:
    """Random test images: input | target | original | student."""
    if not record.samples:
        return None
    columns = [c for c in SAMPLES if any(c in sample for sample in record.samples)]
    columns += sorted({c for sample in record.samples for c in sample} - set(columns))
    names = LABEL_COLUMNS if record.source.kind == "labels" else COLUMNS
    small = max(picture_size(next(iter(record.samples[0].values())))) <= SMALL
    card = len(columns) * (128 if small else 256) + (len(columns) - 1) * 6
    head = [tag("span", names.get(c, c), class_="student" if c == "student" else None) for c in columns]
    cards = [tag("div", head, class_="sample head"), tag("div", head, class_="sample head more") if small else None]
    for number, sample in enumerate(record.samples):
        cards.append(tag("div", [picture(sample[c], f"{names.get(c, c)} of test image {number + 1}") if c in sample
                                 else tag("span") for c in columns], class_="sample"))
    grid = tag("div", cards, class_="samples pair crisp" if small else "samples",
               style=f"--card:{card}px;--columns:{len(columns)}")
    seen = "; what the original has seen is not known" if record.run.get("imitates") else ""
    return _section("Test images", f"{len(record.samples)} images of the test split, drawn at random, not picked. Nothing "
                    f"here was seen in training{seen}.", grid)


def _results(record: Record) -> Html | None:
    if not record.metrics.get("rows"):
        return None
    count = (record.run.get("counts") or {}).get("test")
    truth = "the original’s pictures" if record.run.get("imitates") else "the test targets"
    cheap = "The label map in its colours" if record.row("palette") else "A copy"
    lead = (f"Means over {count:,} test images, " if _is_number(count) else "On the test images, ") + (
        f"one run with one seed: small differences between rows are not findings. {cheap} is the source as the answer; the "
        f"floor is what one half of {truth} scores against the other.") + (
        " Under a distance: where 95 % of draws of the test images have it." if record.metrics.get("intervals") else "")
    close, quality = tables.closeness(record), tables.quality(record)
    own = markup(tag("h3", "Against the original’s pictures"), close) if close else None
    theirs = markup(tag("h3", "Against the targets"), quality) if close and quality else quality
    return _section("The numbers", lead, own, theirs, tag("h3", "Cost of one image"), tables.cost(record),
                    tables.budget_of_time(record), tables.protocol(record))


def _architecture(record: Record) -> Html | None:
    net, largest = record.nets["student"], record.nets["largest"]
    arch = parse(str(net.get("arch") or (record.choice.get("student") or {}).get("arch") or ""))
    if not arch:
        return None
    config = net.get("config") or {}
    student, ghost = layers(arch, config), layers(parse(str(largest.get("arch", ""))), largest.get("config") or config)
    over = " over the largest net of the supernet in grey" if ghost else ""
    lead = (f"The student{over}. A bar is a layer, as high as it has channels; thin bars behind it are inserted blocks. "
            "The picture enters on the left.")
    drawing = architecture_svg(student, ghost, "the student’s layers")
    return _section("The architecture", lead, drawing, tables.choices(record))


def _pareto(record: Record) -> Html | None:
    if not record.pareto.get("rows"):
        return None
    chosen = {role: record.choice[role] for role in ("student", "deep", "wide") if isinstance(record.choice.get(role), dict)}
    budget = record.run.get("budget") or {}
    limit = budget.get("limit") if budget.get("key") == "macs_paper" and _is_number(budget.get("limit")) else None
    svg = inline_svg(pareto_svg(record.pareto, chosen, limit), "search score against macs_paper", LIGHT)
    score = SCORES.get(str((record.recipe.get("search") or {}).get("score")), "distance")
    whose = "original’s" if record.run.get("imitates") else "largest net’s"
    lead = (f"All {len(record.pareto['rows']):,} nets that were scored on the supernet’s weights, before distillation. The "
            f"score is the mean {score} to the {whose} answers on held-out sources.")
    return _section("Quality against cost", lead, tag("figure", svg, class_="wide pareto"))


def _training(record: Record) -> Html | None:
    """Loss curves and sample grids by stage."""
    parts = []
    for stage in record.stages:
        panels, grids = curves(record, stage), record.grids(stage)
        if panels or grids:
            rows = (record.done(stage) or {}).get("rows") or []
            parts += [tag("h3", stage), tag("div", panels, class_="curves") if panels else None, _strip(stage, grids, rows)]
    if not parts:
        return None
    lead = ("Parts of the losses, weighted as they were summed, smoothed; the scale is logarithmic where they range far. "
            "A: labelled pairs, U: unlabelled sources; l, r, s: largest, random and smallest sub-network.")
    return _section("Training", lead, parts)


def _strip(stage: str, grids: list[tuple[int, Path]], rows: list[str]) -> Html | None:
    if not grids:
        return None
    last = len(grids) - 1
    kept = sorted({round(i * last / (GRIDS - 1)) for i in range(GRIDS)}) if last >= GRIDS else range(len(grids))
    figures = [tag("figure", tag("figcaption", f"step {grids[i][0]:,}"),
                   light_picture(grids[i][1], f"{stage}, samples at step {grids[i][0]}")) for i in kept]
    some = f", {len(figures)} of {len(grids)}" if len(figures) < len(grids) else ""
    return fold(f"Samples during training ({stage}{some})", tag("p", f"Held-out sources in the first row, below "
                f"them {', '.join(rows) or 'one row a net'}.", class_="soft"), tag("div", figures, class_="strip"))


def _labels(record: Record) -> Html | None:
    labels = record.keys("labels")
    if not labels:
        return None
    others = [(words, record.keys(name)) for name, words in (("unlabelled", "unlabelled sources"),
                                                             ("validation", "sources held out for the search"))]
    long = " long" if max(map(len, labels)) > 14 else ""
    more = tag("p", f"and {len(labels) - KEYS:,} more, in labels.txt") if len(labels) > KEYS else None
    lines = [tag("p", f"{len(keys):,} {words}: {_first(keys)}", class_="soft") for words, keys in others if keys]
    return _section("The labels used", f"{len(labels):,} targets were shown in training: {_first(labels)}", lines,
                    fold("All of them", tag("div", [tag("span", key) for key in labels[:KEYS]], class_=f"keys{long}"), more))


def _first(keys: list[str]) -> str:
    return ", ".join(keys[:FIRST]) + (", …" if len(keys) > FIRST else "")


def _fine_print(record: Record) -> Html:
    recipe = fold("Recipe, as it ran", tables.pairs(flat(record.recipe))) if record.recipe else None
    env = fold("Environment", tables.pairs(list(record.ran.items()))) if record.ran else None
    about = [(name, value) for name, value in flat(_loss(record)) if name != "text"]
    loss = fold("Distillation loss", tables.pairs(about)) if about else None
    net, own = record.nets.get("student") or {}, record.run.get("attribution")
    terms = attribution({**net, "attribution": own}) if own or net.get("original") else ""
    return markup(_section("Recipe and environment", None, recipe, loss, env) if recipe or env else None,
                  tag("footer", tag("p", terms) if terms else None,
                      tag("p", "Written by ugc from the files of this run folder.")))
