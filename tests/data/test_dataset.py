"""Configuration and opening by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from ugc.core.errors import UserError
from ugc.data.dataset import DATASETS, DataConfig, open_dataset


@pytest.mark.parametrize(("text", "size"), [("256", (256, 256)), ("256x512", (256, 512)), (64, (64, 64)),
                                            ((8, 9), (8, 9)), ([8, 9], (8, 9))])
def test_a_size_has_many_spellings(text: object, size: tuple[int, int]) -> None:
    assert DataConfig.parse({"path": "x", "size": text}, "data").size == size


@pytest.mark.parametrize(("field", "value", "word"), [
    ("size", "big", "256x512"), ("size", 0, "not a picture"), ("load", "32", "smaller than the crop"),
    ("labels", 0, "fraction in"), ("labels", 1.5, "fraction in"), ("labels", "-1", "fraction in"),
    ("direction", "CtoD", "AtoB"),
    ("lables", 0.5, "labels"), ("source_channels", 0, "source_channels")])
def test_a_wrong_field_gets_one_sentence(field: str, value: object, word: str) -> None:
    with pytest.raises(UserError, match=word) as error:
        DataConfig.parse({"path": "x", "size": 64, field: value}, "data")
    assert "\n" not in str(error.value)


def test_a_fraction_may_be_text() -> None:
    assert DataConfig(path="x", labels="0.25").labels == 0.25
    assert DataConfig(path="x", labels="some.meta").labels == "some.meta"


def test_the_built_in_sets_are_registered() -> None:
    assert list(DATASETS) == ["openmoji", "sans2serif", "streets"]


def test_neither_name_nor_folder_names_the_neighbour() -> None:
    with pytest.raises(UserError, match="did you mean 'sans2serif'"):
        open_dataset(DataConfig(path="sans2serf"), 0)


def test_a_file_is_not_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="is a file; expected a folder"):
        open_dataset(DataConfig(path=str(tmp_path / "file")), 0)
