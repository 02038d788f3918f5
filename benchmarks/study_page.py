"""docs/results.md: the study's tables and pictures, from what study.py kept. The words between them are a person's.

    python benchmarks/study_page.py
    python benchmarks/study_page.py --runs runs/study        # also the paragraph, which needs a student

What stands between `<!-- results: NAME -->` and `<!-- end of results: NAME -->` is replaced.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping
from pathlib import Path

from measure import table
from plots import put
from study import RESULTS
from study_pictures import characters, paragraph
from study_rows import LENGTHS, RECIPE
from study_rows import rows as every_row
from study_sums import Arm, difference, fewer, hours, mean, read

from ugc.core.files import read_json, write_text
from ugc.core.images import Array
from ugc.metrics.protocols import METRICS, worse
from ugc.recipes.table import parsed

PAGE = Path(__file__).parent.parent / "docs" / "results.md"
METRIC = {"psnr": ("PSNR, dB", 2), "ssim": ("SSIM", 3), "ink_iou": ("ink IoU", 3), "l1": ("L1 of 2", 3),
          "ink_grey": ("grey", 2), "kd_efflite0": ("KD", 0), "fd_efflite0": ("FD", 0)}
COLOUR = {**{key: METRIC[key] for key in ("psnr", "ssim", "l1")}, "palette_accuracy": ("palette", 3),
          **{key: METRIC[key] for key in ("kd_efflite0", "fd_efflite0")}}  # of the showcase
WORDS = {  # name without seed -> what it is
    "original-100": "original, 100 % of the labels", "original-50": "original, 50 %", "original-25": "original, 25 %",
    "original-10": "original, 10 %", "original-5": "original, 5 %",
    "ugc-50": "**student, 50 %**", "ugc-25": "**student, 25 %**", "ugc-10": "**student, 10 %**", "ugc-5": "**student, 5 %**",
    "no-finetune-25": "w/o finetune-SSL", "finetune-A-25": "w/o finetune-SSL, equal work (control)",
    "no-nas-ssl-25": "w/o NAS-SSL", "no-ssl-25": "w/o ALL-SSL", "no-nas-25": "w/o NAS",
    "untried-25": "student chosen by the supernet's score, without trials", "even-25": "an even student in its place",
    "quick-25": "four times the rate for the student", "both-25": "**that, in trials, too, and 12,000 steps of stage 2**",
    "both-25-12x": "**both at 12x**",
    "longer-25": "12,000 steps of stage 2 for 6,000", "less-l1-25": "L1 in L_OD at 30 for 100",
    "more-l1-25": "L1 in L_OD at 300 for 100", "slow-25": "rate 2e-4 for 5e-4", "fast-25": "rate 1e-3 for 5e-4",
    "large-batch-25": "batch 16 for 8", "supervised-25": "L_sup^A for the student, too, weight 1",
    "supervised-4-25": "the same, weight 4", "lite0-l1-25": "L_OD with Lite0 beside L1",
    "average-25": "mean of the student's weights, decay 0.999", "fresh-25": "student from fresh weights",
    "augment-25": "DiffAugment on D's inputs",
    "warm-25": "500 steps of warm-up", "supernet-25": "10,000 steps of stage 1 for 5,000", "batch-norm-25": "batch norm",
    "unet-original-100": "UNet: original, 100 % of the labels", "unet-original-25": "UNet: original, 25 %",
    "unet-25": "**UNet: student, 25 %, 15x**", "unet-25-22x": "**UNet: student, 25 %, 22x**",
    "quality-25": "Eq. 8 the other way round", "unfiltered-25": "no Eq. 8", "deep-25": "the deep teacher alone",
    "wide-25": "the wide teacher alone", "lite0-25": "L_OD on Lite0, no L1", "lite0-more-25": "the same, style x 10",
    "lite0-less-25": "the same, style / 10", "hed-25": "L_OD on HED's VGG trunk, no L1", "uniform-25": "G_r drawn uniformly",
    "ugc-25-64x": "**student, 25 %, 64x**", "ugc-10-64x": "**student, 10 %, 64x**",
    "ugc-25-20x": "**student, 25 %, 20x**", "ugc-25-12x": "**student, 25 %, 12x**",
    "emoji-100": "original, 100 %", "emoji-25": "original, 25 %", "emoji-ugc-25": "**student, 25 %**",
    "alone-25": "student alone (control)", "all-25": "U: all 16,880 other characters, too",
}
PAIRS = (("ugc-25", "original-25"), ("ugc-25", "original-100"), ("ugc-10", "original-10"), ("ugc-10", "original-100"),
         ("original-25", "original-100"), ("original-10", "original-100"), ("ugc-10", "ugc-25"))
MORE = (("ugc-25-64x", "ugc-25"), ("ugc-25-20x", "ugc-25"), ("ugc-25-12x", "ugc-25"), ("ugc-25-12x", "original-25"),
        ("ugc-25-20x", "original-100"), ("ugc-25-12x", "original-100"),
        ("ugc-10-64x", "ugc-10"), ("ugc-50", "original-50"), ("ugc-50", "original-100"),
        ("ugc-5", "original-5"), ("ugc-5", "original-100"), ("unet-25", "unet-original-25"),
        ("unet-25", "unet-original-100"), ("unet-25-22x", "unet-25"), ("unet-25", "ugc-25"),
        ("unet-original-100", "original-100"))
HELP = (("even-25", "untried-25"), ("both-25", "original-25"), ("both-25", "original-100"), ("both-25-12x", "original-25"),
        ("both-25-12x", "original-100"))
Arms = Mapping[str, Arm]


def number(value: float, digits: int, signed: bool = False) -> str:
    return f"{value:{'+' if signed else ''}.{digits}f}".replace("-", "−")


def rows(arms: Arms, names: Iterable[str], metrics: Mapping[str, tuple[str, int]] = METRIC) -> str:
    """Each arm's mean and its standard deviation over seeds."""
    lines = []
    for name in names:
        if not (arm := arms.get(name)):
            continue
        cells = {}
        for metric, (head, digits) in metrics.items():
            value, spread = mean(arm, metric)
            cells[head] = number(value, digits) + (f" ± {number(spread, digits)}" if spread is not None else "")
        lines.append({"": WORDS.get(name, name), "seeds": len(arm), **cells})
    return table(lines) if lines else ""


def beside(arms: Arms, names: Iterable[str], metrics: Mapping[str, tuple[str, int]] = METRIC) -> str:
    """*copy* and *floor*, which are the same in every run of a data set."""
    found = [result for name in names for result in arms.get(name, {}).values()]
    if not found:
        return ""
    known = found[0].about["rows"]
    return table([{"": name, **{head: number(known[name][metric], digits) if metric in known[name] else ""
                                for metric, (head, digits) in metrics.items()}} for name in ("copy", "floor")])


def differences(arms: Arms, pairs: Iterable[tuple[str, str]]) -> str:
    """a - b; with [interval over test images] and ± spread over seeds; bold where both say that it is one."""
    lines = []
    for a, b in pairs:
        if a not in arms or b not in arms:
            continue
        cells: dict[str, str | int] = {}
        for metric, (head, digits) in METRIC.items():
            found = difference(arms[a], arms[b], metric)
            if found is None:
                break
            cells["seeds"] = found.seeds
            value = number(found.value, digits, signed=True)
            cells[head] = f"**{value}**" if found.beyond else value
            if found.interval:
                cells[head] += f" [{number(found.interval[0], digits, True)}, {number(found.interval[1], digits, True)}]"
            if found.spread is not None:
                cells[head] += f" ± {number(found.spread, digits)}"
        else:
            lines.append({"": f"{plain(a)} − {plain(b)}", **cells})
    return table(lines) if lines else ""


def plain(name: str) -> str:
    return WORDS.get(name, name).replace("*", "")


def verdicts(arms: Arms, a: str, b: str) -> str:
    """One sentence of a beside b, over the seeds that both have: on which metrics better, worse, or neither beyond seeds
    and test images."""
    both = arms[a].keys() & arms[b].keys()
    one, other = ({seed: arms[name][seed] for seed in both} for name in (a, b))
    told: dict[str, list[str]] = {"better": [], "worse": [], "not told apart": [], "no verdict from one seed": []}
    for metric, (head, digits) in METRIC.items():
        found = difference(one, other, metric)
        if found is None:
            return ""
        x, y = mean(one, metric)[0], mean(other, metric)[0]
        if found.seeds == 1:
            kind = "no verdict from one seed"
        elif not found.beyond:
            kind = "not told apart"
        else:
            kind = "worse" if worse(METRICS[metric], x, y) else "better"
        told[kind].append(f"{head.split(',')[0].removesuffix(' of 2')} {number(x, digits)} for {number(y, digits)}")
    said = "; ".join(f"{kind}: {', '.join(found)}" for kind, found in told.items() if found)
    seeds, ratio = len(both), number(fewer(one, other), 1)
    ours, theirs = (plain(name).replace(",", " with") for name in (a, b))
    return (f"Against the {theirs}, the {ours} ({ratio} times fewer macs_paper) is, over {seeds} seed{'s' * (seeds > 1)}: "
            f"{said}.")


def lengths(results: Path) -> str:
    """PSNR on the held-out pairs by length."""
    path = results / "lengths.json"
    known = read_json(path) if path.exists() else {}
    lines = []
    for labels in sorted(known, key=int, reverse=True):
        found = known[labels]
        pairs = next(iter(found.values()))["pairs"]
        lines.append({"labels": f"{labels} %", "held-out pairs": pairs, **{
            f"{steps:,} steps": number(found[str(steps)]["psnr"], 3) if str(steps) in found else "" for steps in LENGTHS}})
    return table(lines) if lines else ""


def latency(results: Path) -> str:
    """What benchmarks/latency.py found of the original and the student of seed 0."""
    lines, machine = [], {}
    for path in sorted(results.parent.glob("study-latency-*-[0-9].json")):
        found = read_json(path)
        machine, rows = found["machine"], {row["net"]: row for row in found["rows"]}
        ours, theirs = rows["student"], rows["original"]
        lines.append({"runtime": ours["runtime"], "threads": ours["threads"],
                      "times faster": number(ours["x faster than original"], 1),
                      "ms, student": number(ours["ms"], 2), "ms, original": number(theirs["ms"], 2)})
    if not lines:
        return ""
    said = f"{machine['device'].rpartition(' (')[0]} ({machine['device'].rpartition(' (')[2].partition(',')[0]})"
    fewer_macs = number(ours["x fewer macs"], 1)
    return (f"{table(lines)}\n\n64x64, one picture at a time, fp32; {fewer_macs} times fewer multiply-adds; {said}, torch "
            f"{machine['torch']}, commit {machine['commit']}, {machine['date']}.")


def runs(arms: Arms) -> str:
    """What was run, on what, for how long."""
    lines, devices = [], sorted({result.about["env"]["device"] for arm in arms.values() for result in arm.values()})
    for name, arm in sorted(arms.items()):
        for seed, result in sorted(arm.items()):
            about, taken = result.about, result.about["seconds"]
            lines.append({"run": f"{name}-{seed}", "options": f"`{' '.join(about['options'])}`",
                          "from": about["source"], "minutes": number(sum(filter(None, taken.values())) / 60, 0),
                          "on": devices.index(about["env"]["device"]) + 1,
                          "commit": ", ".join(filter(None, about["env"]["commits"]))})
    named = "; ".join(f"({at}) {device}" for at, device in enumerate(devices, 1))
    head = f"{len(lines)} runs, {hours(arms.values()):.1f} hours of wall time in all, begun on {named}."
    return f"{head}\n\n{table(lines)}"


def drawn(arms: Arms, names: Iterable[str]) -> list[tuple[str, Array]]:
    """Rows of pictures: each arm's, by the first of its seeds, which is named unless it is 0."""
    firsts = [(name, min(arms[name])) for name in names if name in arms]
    return [(plain(name) + f" (seed {seed})" * (seed > 0), arms[name][seed].pictures) for name, seed in firsts]


def blocks(results: Path, folder: Path, runs_at: Path | None) -> dict[str, str]:
    """Name of a place in the page -> Markdown."""
    arms = read(results)
    groups: dict[str, list[str]] = {}
    for row in every_row([0]):
        groups.setdefault(row.group, []).append(row.name.removesuffix("-0"))
    show = groups.pop("show")
    named = [name for group in groups.values() for name in group]
    found = {"lengths": lengths(results)}
    if timed := latency(results):
        found["latency"] = timed
    if not arms:
        return found
    compared = [(a, b) for a, b in PAIRS if a in arms and b in arms]
    found["verdict"] = "\n\n".join(filter(None, (verdicts(arms, a, b) for a, b in compared if a.startswith("ugc-25"))))
    found["core"] = f"{rows(arms, groups['core'])}\n\n{beside(arms, groups['core'])}"
    found["differences"] = differences(arms, PAIRS)
    gain = rows(arms, ["ugc-25", *groups["gain"]]), differences(arms, [(name, "ugc-25") for name in groups["gain"]])
    found["gain"] = "\n\n".join(filter(None, gain))
    found["open"] = rows(arms, groups["open"]) and "\n\n".join((
        rows(arms, ["ugc-25", *groups["open"]]), differences(arms, [(name, "ugc-25") for name in groups["open"]])))
    found["more"] = rows(arms, groups["more"]) and "\n\n".join((
        rows(arms, ["ugc-25", *groups["more"]]), differences(arms, MORE)))
    found["help"] = "\n\n".join(filter(None, (rows(arms, ["ugc-25", *groups["help"]]), differences(
        arms, [*((name, "ugc-25") for name in groups["help"]), *HELP]))))
    characters(folder / "characters.png", drawn(arms, named), parsed(RECIPE))
    found["pictures"] = f"![Twelve test characters by every net]({folder.name}/characters.png)"
    if drawings := drawn(arms, show):
        characters(folder / "drawings.png", drawings, parsed(RECIPE).with_settings(["data.path=openmoji"]))
        found["show"] = "\n\n".join((rows(arms, show, COLOUR), beside(arms, show, COLOUR),
                                     f"![Twelve test drawings by every net]({folder.name}/drawings.png)"))
    found["runs"] = runs(arms)
    if runs_at and (run := runs_at / "ugc-25-0").exists():
        known = paragraph(folder / "paragraph.png", run / "student", (run / "labels.txt").read_text().split())
        found["paragraph"] = (f"![A paragraph: source, student, the real type]({folder.name}/paragraph.png)\n\n"
                              f"Of these characters {known} were among the labelled pairs.")
    return found


def write_page(results: Path, page: Path, runs_at: Path | None) -> None:
    """Renew the page and its pictures."""
    text = page.read_text(encoding="utf-8")
    for name, block in blocks(results, page.with_suffix(""), runs_at).items():
        text = put(text, name, block)
    write_text(page, text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--page", type=Path, default=PAGE)
    parser.add_argument("--runs", type=Path, help="the folder of the run folders")
    options = parser.parse_args()
    write_page(options.results, options.page, options.runs)


if __name__ == "__main__":
    main()
