"""The README's commands: every one parses, and the main ones run, cut to a few steps."""

import json
import re
import shlex
from importlib.util import find_spec
from pathlib import Path

import pytest

from ugc.cli.main import parser
from ugc.data.dataset import DATASETS, DataConfig, open_dataset
from ugc.data.pictures import read_picture, write_picture
from ugc.recipes.table import TABLE

README = Path(__file__).parents[1] / "README.md"
ROOT = README.parent


def commands():
    """Lines of shell blocks that start with `ugc` (a prompt, comments and continued lines allowed), as lists of words."""
    text = README.read_text(encoding="utf-8") if README.exists() else ""
    found = []
    for kind, block in re.findall(r"^ *```(\w*)[^\n]*\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL):
        if kind in ("", "sh", "bash", "shell", "console"):
            for line in re.sub(r"\\\n\s*", " ", block).splitlines():
                words = line.strip().removeprefix("$ ")
                if re.match(r"(\.venv/bin/)?ugc ", words):
                    found.append(shlex.split(words, comments=True)[1:])
    return found


COMMANDS = commands()


def of(verb):
    return [words for words in COMMANDS if words[0] == verb]


def test_the_readme_has_commands_of_every_verb():
    assert README.exists()
    assert {words[0] for words in COMMANDS} >= {"run", "show", "data", "translate", "export", "push", "recipes"}


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_it_parses(words):
    options = parser().parse_args(words)
    assert options.verb == words[0]


def test_make_targets_are_real():
    rules = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"\bmake (\w+)\b(?=`|$| +#| [A-Z]+=)", README.read_text(encoding="utf-8"), re.MULTILINE))
    assert {"demo", "test"} <= named <= rules


def test_the_files_that_it_names_are_there():
    text = README.read_text(encoding="utf-8")
    links = {target.split("#")[0] for target in re.findall(r"\]\((?!https?:|#|mailto:)([^)\s]+)\)", text)}
    links |= set(re.findall(r"`((?:src|docs|tests|benchmarks)/[\w./-]+)`", text))
    missing = [name for name in sorted(links) if not (ROOT / name).exists()]
    assert not missing


@pytest.mark.parametrize("words", of("show") + of("recipes"), ids=" ".join)
def test_it_runs(ugc, words):
    told = ugc(*words)
    assert told.code == 0 and told.out and not told.err


def test_the_table_of_sizes_is_what_show_says(ugc):
    """Rows `| ..family.. or largest/smallest | params | macs | macs_paper |` in plain numbers; 3:3, 256x256 unless said."""
    family, at, seen = "", None, 0
    for line in README.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) != 4 or not all(re.fullmatch(r"[\d,]{6,}", cell) for cell in cells[1:]):
            continue
        if name := re.search(r"`([\w-]+)`", cells[0]):
            family, at = name[1], re.search(r"(\d+:\d+) at (\d+x\d+)", cells[0])
        arch = next(word for word in ("original", "largest", "smallest") if word in cells[0])
        where = ("--channels", at[1], "--size", at[2]) if at else ()
        found = json.loads(ugc("show", family, "--arch", arch, "--json", *where).out)
        assert [int(cell.replace(",", "")) for cell in cells[1:]] == [found[k] for k in ("params", "macs", "macs_paper")]
        seen += 1
    assert seen >= 2


SETTINGS = ("batch=2", "distillation.backbone=none", "search.population=4", "search.generations=1", "search.random=2",
            "search.validation=4", "search.recalibrate=4", "search.trials=2", "search.trial=1",
            "generator.depths=[0,1]", "patch.ndf=8", "grids=1")
CUT = ("--steps", 2, "--base", 8, "--budget", "8x", "--device", "cpu", "--precision", "fp32",
       *(word for setting in SETTINGS for word in ("--set", setting)))


def placed(words, folder):
    """The words with --out below `folder`."""
    words = list(words)
    words[words.index("--out") + 1] = str(folder / words[words.index("--out") + 1])
    return words


@pytest.fixture(scope="module")
def glyph_run(tmp_path_factory, ugc):
    """The first run of built-in data, with few labels and steps, up to the student."""
    words = next(w for w in of("run") if w[1] in TABLE or w[1] in DATASETS)
    folder = tmp_path_factory.mktemp("readme")
    words = placed(words, folder)
    told = ugc(*words, *CUT, "--size", 64, "--labels", 0.01, "--until", "distill")
    assert told.code == 0, told.err
    return Path(words[words.index("--out") + 1])


def test_a_run_of_the_built_in_data_then_translate(glyph_run, ugc, tmp_path):
    assert (glyph_run / "student/model.safetensors").exists() and (glyph_run / "report.html").exists()
    assert len((glyph_run / "labels.txt").read_text().split()) == 20  # 1 % of 2,048
    dataset = open_dataset(DataConfig(path="sans2serif", size=(64, 64)), 0)
    for record in dataset.test[:3]:
        write_picture(tmp_path / f"in/{record.key}.png", dataset.read(record.source, 64, 64, load=False))
    for words in of("translate"):
        options = parser().parse_args(words)
        output = tmp_path / Path(options.output).name
        source = tmp_path / "in" / Path(options.input).name if "*" in options.input else tmp_path / "in"
        if not source.name.startswith("*") and Path(options.input).suffix:
            source = next((tmp_path / "in").iterdir())
        told = ugc("translate", glyph_run / "student", source, output, *words[4:])
        assert told.code == 0, told.err
        for path in [output] if output.is_file() else output.iterdir():
            assert read_picture(path).shape == (64, 64, 1)


def test_the_other_runs(ugc, pairs_in, glyph_run, tmp_path, monkeypatch):
    """As dry runs: every folder that they name is a small data set here, and `--from` is the run above."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("ugc.data.streets.COUNTS", {"train": 4, "val": 1, "test": 2})
    monkeypatch.setenv("UGC_HOME", str(tmp_path / "home"))
    drawn = find_spec("mujoco") is not None
    for written in [words for words in of("run") if drawn or not words[1].startswith("streets")]:
        words = [str(glyph_run) if before == "--from" else word for before, word in zip(["", *written], written)]
        options = parser().parse_args(words)
        if options.what and options.what not in TABLE and options.what not in DATASETS and not Path(options.what).exists():
            pairs_in(tmp_path / options.what, channels=(1, 1) if options.method == "from-teacher" else (3, 3))
        if options.original not in (None, "train", "none"):
            words[words.index("--original") + 1] = str(glyph_run / "original")
        yours = [f for f in options.set if f.startswith("data.path=")]
        for field in yours:
            pairs_in(tmp_path / field.partition("=")[2])
        own = () if options.source else ("--set", "generator.depths=[0]")
        if not (options.budget or "").endswith("x"):
            words += ["--budget", "8x"]  # all nets of base 16 are within the budgets that are written
        told = ugc(*words, "--device", "cpu", *own, *(() if options.base or options.source else ("--base", 16)),
                   *(() if options.dry_run else ("--dry-run",)))
        assert told.code == 0, (words, told.err)
        assert not [path for path in tmp_path.iterdir() if path.name == Path(options.out).parts[0]]
