"""Checkpoints: the newest sound one comes back, whatever happened to the files."""

import errno
import json
import os

import pytest
import torch

from ugc.core.errors import UserError
from ugc.engine.checkpoint import Checkpoints


@pytest.fixture
def kept(tmp_path):
    """Three saves, of which two are kept."""
    checkpoints = Checkpoints(tmp_path)
    for step in (1, 2, 3):
        checkpoints.save(step, {"step": step, "w": torch.full((50,), float(step))})
    return checkpoints


TWO = ["state-00000002.json", "state-00000002.pt", "state-00000003.json", "state-00000003.pt"]


def listing(folder):
    return sorted(path.name for path in folder.iterdir())


def test_the_newest_comes_back_and_two_are_kept(kept, tmp_path):
    latest = kept.latest()
    assert latest["step"] == 3 and torch.equal(latest["w"], torch.full((50,), 3.0))
    assert listing(tmp_path) == TWO


def test_nothing_saved_is_none(tmp_path):
    assert Checkpoints(tmp_path / "absent").latest() is None


@pytest.mark.parametrize("damage", [
    lambda path: path.write_bytes(path.read_bytes()[:-7]),
    lambda path: path.write_bytes(b""),
    lambda path: path.write_bytes(path.read_bytes()[:200] + b"\x01" + path.read_bytes()[201:]),
    lambda path: path.unlink()], ids=["short", "empty", "one byte", "gone"])
def test_a_damaged_one_is_noticed_and_the_one_before_is_used(kept, tmp_path, damage, capsys):
    damage(tmp_path / "state-00000003.pt")
    assert kept.latest()["step"] == 2
    assert "state-00000003.pt: " in capsys.readouterr().err
    damage(tmp_path / "state-00000002.pt")
    assert kept.latest() is None


@pytest.mark.parametrize("text", ["", "{", '{"sha256": 3}', "[]", "{}", "\udcff"])
def test_a_damaged_digest_costs_that_checkpoint_only(kept, tmp_path, text, capsys):
    (tmp_path / "state-00000003.json").write_bytes(text.encode(errors="surrogateescape"))
    assert kept.latest()["step"] == 2 and "the checkpoint before it is used" in capsys.readouterr().err
    (tmp_path / "state-00000002.json").write_bytes(text.encode(errors="surrogateescape"))
    assert kept.latest() is None and "the stage starts again" in capsys.readouterr().err


def test_going_on_from_an_older_one_removes_the_damaged(kept, tmp_path):
    (tmp_path / "state-00000003.pt").write_bytes(b"")
    kept.save(2, {"step": 2, "again": True})
    assert kept.latest()["again"] and listing(tmp_path) == ["state-00000002.json", "state-00000002.pt"]


def test_a_kill_between_file_and_digest_leaves_the_one_before(kept, tmp_path):
    """The new file is there, nobody vouches for it."""
    (tmp_path / "state-00000004.pt").write_bytes(b"whole or not")
    assert kept.latest()["step"] == 3
    kept.save(4, {"step": 4})
    assert kept.latest()["step"] == 4
    assert listing(tmp_path) == ["state-00000003.json", "state-00000003.pt", "state-00000004.json", "state-00000004.pt"]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_is_a_sentence_and_loses_nothing(kept, tmp_path, monkeypatch, call):
    before = listing(tmp_path)

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, call, full)
    with pytest.raises(UserError, match=r"state-00000004\.pt: the checkpoint cannot be written .*No space.* make room"):
        kept.save(4, {"step": 4})
    monkeypatch.undo()
    assert listing(tmp_path) == before and kept.latest()["step"] == 3


def test_the_same_step_again_replaces_it(kept, tmp_path):
    kept.save(3, {"step": 3, "again": True})
    assert kept.latest()["again"] and listing(tmp_path) == TWO


def test_clear(kept, tmp_path):
    (tmp_path / "log.jsonl").write_text(json.dumps({}))
    kept.clear()
    assert listing(tmp_path) == ["log.jsonl"] and kept.latest() is None
    kept.clear()


def test_a_damaged_one_is_not_kept_as_the_one_before(kept, tmp_path):
    """It was found damaged, and went on from the one before it: that one stays until there are two sound ones."""
    (tmp_path / "state-00000003.pt").write_bytes(b"")
    assert kept.latest()["step"] == 2
    kept.save(5, {"step": 5})
    (tmp_path / "state-00000005.pt").write_bytes(b"")
    assert kept.latest()["step"] == 2
