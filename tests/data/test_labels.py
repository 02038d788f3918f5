"""Splits: nested, seeded, disjoint; .meta files; what the split hides."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from ugc.core.errors import UserError
from ugc.data.dataset import DataConfig, Dataset, Record
from ugc.data.labels import Split, changed, read_names, split, write_split


class Names(Dataset):
    """Records without pictures."""

    name, unlabelled_default, flip_default, load_ratio, identity = "names", "hidden", False, 1.0, "names"
    source_channels = target_channels = 1

    def __init__(self, pairs: int, alone: int = 0) -> None:
        self.config = DataConfig(path="names")
        self.train = (*(Record(f"p{i}.x/{i}", i, i) for i in range(pairs)), *(Record(f"u{i}", i) for i in range(alone)))
        self.test = (Record("t", 0, 0),)

    def read(self, ref: Any, height: int, width: int, load: bool) -> Any:
        raise AssertionError("a split reads no picture")


def made(dataset: Dataset, labels: float | str = 1.0, seed: int = 0, **options: Any) -> Split:
    return split(dataset, DataConfig(path="names", labels=labels, **options), seed)


def test_fractions_are_nested_and_rounded_half_up() -> None:
    data = Names(250)
    by = {fraction: set(made(data, fraction).labelled) for fraction in (0.001, 0.01, 0.1, 0.25, 0.5)}
    assert [len(found) for found in by.values()] == [1, 3, 25, 63, 125]
    found = list(by.values())
    assert all(small < large for small, large in itertools.pairwise(found))


def test_the_seed_decides() -> None:
    data = Names(100)
    assert made(data, 0.25, 3) == made(data, 0.25, 3)
    assert made(data, 0.25, 3).labelled != made(data, 0.25, 4).labelled


@pytest.mark.parametrize("labels", [0.1, 0.5, 1.0])
@pytest.mark.parametrize("unlabelled", ["hidden", "all", None])
def test_the_three_parts_are_disjoint_and_complete(labels: float, unlabelled: Any) -> None:
    data = Names(100, alone=60)
    s = made(data, labels, unlabelled=unlabelled)
    parts = [set(s.labelled), set(s.unlabelled), set(s.validation)]
    assert sum(map(len, parts)) == len(set.union(*parts)) == (160 if unlabelled == "all" else 100)
    assert s.hidden == round(100 - 100 * labels)
    targets = {r.key for r in data.train if r.target is not None}
    assert parts[0] <= targets
    size_of_u = s.hidden + (60 if unlabelled == "all" else 0)
    assert len(s.validation) == (size_of_u // 10 if size_of_u else 10)
    order = {r.key: i for i, r in enumerate(data.train)}
    assert list(s.unlabelled) == sorted(s.unlabelled, key=order.__getitem__)


def test_validation_is_bounded_and_never_empty() -> None:
    assert len(made(Names(6000), 0.25).validation) == 256
    assert len(made(Names(8), 0.5).validation) == 1
    assert len(made(Names(2)).labelled) == len(made(Names(2)).validation) == 1
    with pytest.raises(UserError, match="one labelled pair is left"):
        made(Names(1))
    assert made(Names(1, alone=5), unlabelled="all").labelled == ("p0.x/0",)


def test_half_inside_all_also_when_validation_comes_out_of_the_labelled() -> None:
    data = Names(100)
    assert set(made(data, 0.5).labelled) < set(made(data, 1.0).labelled)


def test_a_meta_file_names_the_labelled(tmp_path: Path) -> None:
    meta = tmp_path / "ten.meta"
    meta.write_text("\ufeffp3.x/3.png\r\n\n# a word\np5.x/5\n")
    s = made(Names(40), str(meta))
    assert s.labelled == ("p3.x/3", "p5.x/5")
    assert s.hidden == 38


@pytest.mark.parametrize(("line", "why"), [("nobody.png", "unknown"), (".", "unknown"), ("t", "in the test set"),
                                           ("u1.png", "a source without a target")])
def test_unknown_names_get_one_sentence(line: str, why: str, tmp_path: Path) -> None:
    meta = tmp_path / "x.meta"
    meta.write_text(f"p3.x/3\n{line}\n")
    with pytest.raises(UserError, match=f"1 of 2 names .* is {why}"):
        made(Names(40, alone=3), str(meta))


def test_no_file_and_an_empty_file_get_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="expected a fraction such as"):
        made(Names(4), "nowhere.meta")
    (tmp_path / "x.meta").write_text("\n")
    with pytest.raises(UserError, match="names no picture"):
        made(Names(4), str(tmp_path / "x.meta"))


def test_what_is_written_can_be_given_back(tmp_path: Path) -> None:
    names = Names(50)
    s = made(names, 0.5)
    write_split(tmp_path, s, names)
    assert tuple(read_names(tmp_path / "labels.txt")) == s.labelled
    assert tuple(read_names(tmp_path / "unlabelled.txt")) == s.unlabelled
    assert tuple(read_names(tmp_path / "validation.txt")) == s.validation
    assert tuple(read_names(tmp_path / "test.txt")) == tuple(record.key for record in names.test)
    assert made(Names(50), str(tmp_path / "labels.txt"), seed=9).labelled == s.labelled
    assert changed(tmp_path, s, names) == "" and changed(tmp_path, made(names, 0.2), names) == "labels.txt"


def test_a_method_that_reads_no_target_gets_every_source() -> None:
    """Whatever `labels` and `unlabelled` say, and V is held out all the same."""
    data = Names(30, alone=70)
    s = split(data, DataConfig(path="names", labels=0.1, unlabelled="hidden"), 0, validation=8, targets=False)
    assert s.labelled == () and s.hidden == 30 and len(s.validation) == 8
    assert sorted((*s.unlabelled, *s.validation)) == sorted(r.key for r in data.train)
    with pytest.raises(UserError, match="one source is left"):
        split(Names(1), DataConfig(path="names"), 0, targets=False)
