"""`ugc eval`: answers from anywhere, measured as a run's test stage measures, with the settings of their run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ugc.core.device import choose
from ugc.core.encoding import Encoding, LabelEncoding
from ugc.core.errors import UserError
from ugc.core.files import place, sha256
from ugc.core.log import say
from ugc.data.dataset import DATASETS, DataConfig, Dataset, open_dataset, text_of
from ugc.data.labels import LEARNT, differs, listed
from ugc.data.layouts import has_labels
from ugc.data.stream import test_data
from ugc.engine.answers import Answers, PictureAnswers, open_answers
from ugc.engine.evaluate import measure
from ugc.engine.miou import jury_for
from ugc.engine.record import Record
from ugc.metrics.features import Features
from ugc.metrics.frechet import Gaussian, Moments, load_statistics, save_statistics
from ugc.metrics.protocols import METRICS, ordered
from ugc.metrics.scoring import statistics
from ugc.metrics.tools import Tools, tools_at_hand


@dataclass(frozen=True)
class Asked:
    """What the command line asks.

    Attributes:
        student: a saved net, an ONNX file or a folder of pictures.
        data: a folder or a built-in data set.
        against: another one like `student`.
        fields: of DataConfig, and `seed`: what was given.
        device: as `core.device.choose` takes it.
        fid: FID and KID are asked for: their network is downloaded where it is absent.
        lpips: the same of LPIPS.
        miou: mIoU is asked for: a segmenter must judge these data.
        stats: a statistics file to compare with.
        save_stats: where the statistics of the test targets are written.
    """

    student: Path
    data: str
    against: Path | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)
    device: str = "auto"
    fid: bool = False
    lpips: bool = False
    miou: bool = False
    stats: Path | None = None
    save_stats: Path | None = None


def compare(asked: Asked) -> dict[str, Any]:
    """Measure; what `--json` prints. The rows are `student`, `original` (of `against`), `copy` and `floor`;
    of label maps, `palette` and `photos`, too.

    Raises:
        UserError: something is absent, damaged, or does not fit.
    """
    if asked.save_stats and asked.save_stats.suffix != ".npz":
        raise UserError(f"--save-stats {asked.save_stats}: expected a file whose name ends in .npz")
    moments = load_statistics(asked.stats) if asked.stats else None
    answers = {"student": open_answers(asked.student)}
    if asked.against:
        answers["original"] = open_answers(asked.against)
    config, seed = settings(asked, list(answers.values()))
    say(f"measures at {text_of(config.size)} (height x width), {why_size(asked, list(answers.values()))}")
    dataset = open_dataset(config, seed)
    check_test(asked, list(answers.values()), dataset)
    for note in dataset.notes:
        say(note)
    device = choose(asked.device, "fp32").device
    tools = tools_at_hand(device, asked.fid, asked.lpips)
    given = _given(asked.stats, moments, tools)
    data = test_data(dataset, config)
    for one in answers.values():
        one.check(data)
    jury, note = jury_for(dataset, data, device, asked.miou)
    result, targets, _ = measure(answers, data, device, tools, seed, given, jury=jury)
    if note:
        say(note)
        result["warnings"].append(note)
    result["protocol"]["data"] = {
        "name": dataset.name, "path": config.path, "size": list(config.size), "direction": config.direction, "seed": seed,
        "test_images": len(dataset.test), "identity": dataset.identity}
    for role, path in (("student", asked.student), ("original", asked.against)):
        if path:
            result["protocol"]["answers"][role]["path"] = str(path)
    if asked.stats:
        result["protocol"]["stats"] = {"path": str(asked.stats), "sha256": sha256(asked.stats), "metric": next(iter(given))}
    if asked.save_stats:
        name = save(asked.save_stats, targets)
        say(f"{asked.save_stats}: mu and sigma of {len(targets):,} test targets, for {name}")
    return result


def settings(asked: Asked, answers: list[Answers]) -> tuple[DataConfig, int]:
    """How the data are read: what was given, else as the run beside a net read the same data, else as the answers are.

    The run's own seed and labels matter where the data have no test split: another draw would test on images that were
    trained on.
    """
    base: dict[str, Any] = {}
    seed = 0
    for one in answers:
        run = run_of(one.path)
        if not base and same_data(run, asked.data):
            base, seed = dict(run.recipe["data"]), int(run.recipe.get("seed", 0))
            base.pop("load", None)  # a test image is not cropped
            say(f"data are read as in the run {run.folder} (size, direction, split by seed {seed})")
    if not base:
        base["size"] = text_of(answers[0].size)
        directions = [one.direction for one in answers if one.direction]
        if len(set(directions)) > 1 and not asked.fields.get("direction"):
            raise UserError(f"{answers[0].path} was trained {directions[0]}, {answers[1].path} {directions[1]}: they do not "
                            f"answer the same sources; measure each by itself, or give --direction")
        if directions:
            base["direction"] = directions[0]
        for one in [one for one in answers if one.source][:1]:
            base |= {"target_channels": one.colours, **_read_so(one.source, asked.data)}
    base |= {key: value for key, value in asked.fields.items() if value is not None and key != "seed"}
    if asked.fields.get("seed") is not None:
        seed = asked.fields["seed"]
    if isinstance(answers[0], PictureAnswers) and "size" not in asked.fields:
        base["size"] = text_of(answers[0].size)
    return DataConfig.parse({**base, "path": asked.data}, "ugc eval"), seed


def _read_so(source: Encoding | None, data: str) -> dict[str, Any]:
    """The fields of DataConfig by which data are read as `source`; none where they are of the other kind, which is said
    later."""
    maps = data not in DATASETS and has_labels(place(data))
    if isinstance(source, LabelEncoding):
        return {"classes": source.classes, "unknown": source.unknown or None} if maps else {}
    return {"source_channels": source.channels} if source and not maps else {}


def check_test(asked: Asked, answers: list[Answers], dataset: Dataset) -> None:
    """UserError where the run of an answer had other test pictures in the same data: some of these were trained on."""
    keys = [record.key for record in dataset.test]
    for one in answers:
        run = run_of(one.path)
        there = run.folder / "test.txt"
        if same_data(run, asked.data) and differs(there, keys):
            raise UserError(f"{one.path} was made with other test pictures of {asked.data} ({there}): it may have been "
                            f"trained on these; the data, or --seed, have changed; give a folder with a test of its own")
        if not same_data(run, asked.data) and (seen := learnt(run, dataset)):
            raise UserError(f"{one.path} was trained on {seen:,} of the {len(keys):,} pictures that would test "
                            f"{asked.data}, if that is a copy of the data of {run.folder}: give --seed "
                            f"{run.recipe.get('seed', 0)}, by which that run drew its test, or a folder with one of its own")


def learnt(run: Record, dataset: Dataset) -> int:
    """How many test pictures a run has learnt from, where the data are its own by their names and the test was drawn."""
    train, test = ({record.key for record in records} for records in (dataset.train, dataset.test))
    theirs, taught = set(listed(run.folder / "test.txt")), {key for name in LEARNT for key in listed(run.folder / name)}
    drawn = taught.isdisjoint(theirs) and train.isdisjoint(test) and train | test >= taught | theirs
    return len(taught & test) if drawn else 0


def why_size(asked: Asked, answers: list[Answers]) -> str:
    """Where `settings` has the size from."""
    if "size" in asked.fields:
        return "as --size says"
    first = answers[0]
    if isinstance(first, PictureAnswers):
        return f"as the pictures in {first.path} are"
    for one in answers:
        run = run_of(one.path)
        if same_data(run, asked.data):
            return f"as in the run {run.folder}"
    return f"the size that {first.path} was saved with"


def run_of(path: Path) -> Record:
    """The run that a saved net, its ONNX file or a folder of pictures lies in; an empty record where it lies in none."""
    near = [Record(folder) for folder in path.absolute().parents[:2]]  # RUN/student, RUN/student/model.onnx
    return next((run for run in near if run.recipe), near[0])


def same_data(run: Record, other: str) -> bool:
    """Whether a run's data are those of that name: a built-in set, or one folder."""
    one = str((run.recipe.get("data") or {}).get("path", ""))
    if one in DATASETS or other in DATASETS or not one:
        return one == other
    return Path(one).expanduser().resolve() == Path(other).expanduser().resolve()


def _given(path: Path | None, moments: Moments | None, tools: Tools) -> dict[str, Moments]:
    """Metric -> the statistics of a file, by the number of its features."""
    if moments is None:
        return {}
    here = {d: space for extractor in tools.extractors for space, d in extractor.spaces.items()}
    for metric in ordered():
        if metric.statistics == Gaussian.of and metric.space == here.get(len(moments.mean)):
            return {metric.name: moments}
    known = "2,048 (Inception; add --fid, which downloads it, or put it there) or 320 (EfficientNet-Lite0)"
    raise UserError(f"{path} is of {len(moments.mean):,} features; expected {known}")


def save(path: Path, targets: Features) -> str:
    """Write the statistics of FID where its network is at hand, else of fd_efflite0; returns which."""
    name = "fid" if METRICS["fid"].space in targets.spaces else "fd_efflite0"
    if len(targets) < 2:
        raise UserError(f"--save-stats {path}: statistics need two test images")
    try:
        save_statistics(path, statistics(METRICS[name], targets))
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror or error}") from None
    return name


def table(result: Mapping[str, Any]) -> str:
    """Rows as text: a metric a line, distances with their intervals and once more at the floor's count."""
    rows, intervals, half = result["rows"], result["intervals"], result["half"]
    heads = list(rows)
    lines = [["", "better", *heads]]
    known = {metric.name: metric for metric in ordered()}
    for key in dict.fromkeys(key for name in [*known, *_others(rows, known)] for key in (name, f"{name}_stats")):
        if not any(key in row for row in rows.values()):
            continue
        metric = known.get(key.removesuffix("_stats"))
        sets = bool(metric and metric.number) and not key.endswith("_stats")
        shown = [role for role in heads if not (sets and role == "floor")]
        name = f"{key}, {metric.unit}" if metric and metric.unit else key
        lines.append([name, metric.better if metric else "", *(
            _cell(rows[role].get(key), intervals.get(role, {}).get(key)) if role in shown else "" for role in heads)])
        if sets and "floor" in rows and key in rows["floor"]:
            count = result["protocol"]["floor_images"]
            lines.append([f"  of {count:,} images", metric.better if metric else "",
                          *(_cell(half.get(role, {}).get(key)) for role in heads)])
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return "\n".join("  ".join(cell.ljust(width) if i < 2 else cell.rjust(width)
                               for i, (cell, width) in enumerate(zip(line, widths))).rstrip() for line in lines)


def _others(rows: Mapping[str, Mapping[str, float]], known: Mapping[str, Any]) -> list[str]:
    return [key for key in dict.fromkeys(key for row in rows.values() for key in row)
            if key.removesuffix("_stats") not in known]


def _cell(value: float | None, interval: tuple[float, float] | None = None) -> str:
    if value is None:
        return ""
    digits = 0 if isinstance(value, int) else 3 if abs(value) < 2 else 2
    text = f"{value:,.{digits}f}"
    return f"{text} [{interval[0]:,.1f}, {interval[1]:,.1f}]" if interval else text
