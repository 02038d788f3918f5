"""Two processes (torchrun, gloo) are one: the same losses at the same batch, one writer, and a clear end when one dies."""

import json
import os
import shutil
import subprocess
import sys

import pytest
import torch
import torch.distributed as dist

from ugc.core.clock import Clock
from ugc.data.stream import Stream, TrainData
from ugc.search.budget import Budget

TWO = ("-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-addr", "127.0.0.1", "--rdzv-backend", "c10d",
       "--rdzv-endpoint", "127.0.0.1:0")


@pytest.fixture
def two(ugc_home, tiny, tiny_data):
    """two(folder, *words, program=("-m", "ugc")) -> the finished command, run by two processes."""

    def run(folder, *words, program=("-m", "ugc")):
        line = (sys.executable, *TWO, *program, "run", tiny_data, "--out", folder, *tiny, *words)
        return subprocess.run([str(word) for word in line], capture_output=True, text=True, check=False, timeout=300,
                              env={**os.environ, "OMP_NUM_THREADS": "1", "UGC_HOME": str(ugc_home)})

    return run


def rows_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def check_same_losses(one, other, stage):
    """To float error of a few steps of Adam; a part near zero is measured against its player's largest."""
    first, second = (rows_of(folder / f"stages/{stage}/log.jsonl") for folder in (one, other))
    assert [list(row) for row in first] == [list(row) for row in second] and len(first) == 3
    for row, seen in zip(first, second):
        for name, value in row.items():
            player = name.split("/")[0]
            scale = max(abs(v) for n, v in row.items() if n.split("/")[0] == player)
            assert seen[name] == pytest.approx(value, abs=2e-5 * scale), (stage, row["step"], name)


def test_stage_one_and_the_search(two, tiny_run, tmp_path):
    run = tmp_path / "run"
    done = two(run, "--until", "search")
    assert done.returncode == 0, done.stderr
    for stage in ("original", "supernet"):
        check_same_losses(tiny_run, run, stage)
    alone, together = (rows_of(folder / "stages/search/candidates.jsonl") for folder in (tiny_run, run))
    assert [row["arch"] for row in together] == [row["arch"] for row in alone]  # each net once, in the same order
    assert [row["score"] for row in together] == pytest.approx([row["score"] for row in alone], rel=1e-2)
    assert done.stderr.count("supernet: 3/3") == 1  # one speaks
    assert sorted(p.name for p in run.iterdir()) == ["env.json", "labels.txt", "largest", "original", "recipe.json",
                                                     "report.html", "run.json", "smallest", "stages", "supernet",
                                                     "test.txt", "unlabelled.txt", "validation.txt"]


def test_search_and_stage_two_go_on_from_one_process(two, tiny_run, tmp_path):
    """The number of processes is no part of a run: what one began, two end. From the same weights scores are the same."""
    run = shutil.copytree(tiny_run, tmp_path / "run")
    for left in ("stages/search", "stages/distill", "stages/test", "student", "deep_teacher", "wide_teacher"):
        shutil.rmtree(run / left)
    done = two(run)
    assert done.returncode == 0, done.stderr
    check_same_losses(tiny_run, run, "distill")
    alone, together = (rows_of(folder / "stages/search/candidates.jsonl") for folder in (tiny_run, run))
    assert [{**row, "score": 0} for row in together] == [{**row, "score": 0} for row in alone]
    assert [row["score"] for row in together] == pytest.approx([row["score"] for row in alone], rel=1e-6)
    assert {row.name for row in run.iterdir()} == {row.name for row in tiny_run.iterdir()}
    assert json.loads((run / "metrics.json").read_text())["rows"].keys() == json.loads(
        (tiny_run / "metrics.json").read_text())["rows"].keys()


KILLER = '''
import os, signal, sys
from ugc.cli.main import main
from ugc.engine import loop
from ugc.methods.ugc import Supernet
loop.SAVE_SECONDS = -1.0
plain = Supernet.step
def step(self, batch, clock):
    if clock.step == 2 and os.environ["RANK"] == os.environ["VICTIM"]:
        os.kill(os.getpid(), signal.SIGKILL)
    return plain(self, batch, clock)
Supernet.step = step
sys.exit(main(sys.argv[1:]))
'''


@pytest.mark.parametrize("victim", ["0", "1"])
def test_one_killed_ends_all_and_the_run_goes_on(victim, two, ugc, tiny, tiny_data, tiny_run, tmp_path, monkeypatch):
    monkeypatch.setenv("VICTIM", victim)
    (tmp_path / "killer.py").write_text(KILLER)
    run = shutil.copytree(tiny_run, tmp_path / "run", ignore=lambda folder, names: {
        "supernet", "search", "distill", "test", "student", "deep_teacher", "wide_teacher", "largest", "smallest",
        "metrics.json"} & set(names))
    done = two(run, program=(tmp_path / "killer.py",))
    assert done.returncode == 1
    other = 1 - int(victim)
    assert f"ugc: process {other} of 2 cannot reach the others: one of them has ended" in done.stderr
    assert "run the same command again to go on" in done.stderr
    assert not (run / "stages/supernet/done.json").exists() and list((run / "stages/supernet").glob("state-*"))
    told = ugc("run", tiny_data, "--out", run, *tiny)
    assert told.code == 0 and "supernet: goes on at step 2 of 3" in told.err
    check_same_losses(tiny_run, run, "supernet")


def test_a_batch_that_cannot_be_shared_is_said_once(two, tmp_path):
    done = two(tmp_path / "run", "--set", "batch=3")
    assert done.returncode == 1 and not (tmp_path / "run").exists()
    assert done.stderr.count("ugc: batch 3 cannot be shared by 2 processes: --set batch=2, or another multiple") == 1


@pytest.fixture
def as_one_of(monkeypatch):
    """as_one_of(rank, size): what the code sees of a group, without one."""

    def become(rank, size):
        monkeypatch.setattr(dist, "is_initialized", lambda: True)
        monkeypatch.setattr(dist, "get_rank", lambda: rank)
        monkeypatch.setattr(dist, "get_world_size", lambda: size)

    return become


@pytest.mark.parametrize("size", [2, 3, 6])
def test_shares_of_the_batch_are_the_batch(as_one_of, size):
    """Pictures, crops and flips follow from the place in the whole batch."""
    pictures = torch.rand(11, 12, 12, 1) * 2 - 1
    data = TrainData(pictures[:5], -pictures[:5], pictures[5:], pictures[:1], crop=(8, 8), flip=True)
    for step in range(4):
        whole = Stream(data, 6, torch.device("cpu")).batch(Clock(0, step))
        parts = []
        for rank in range(size):
            as_one_of(rank, size)
            parts.append(Stream(data, 6, torch.device("cpu")).batch(Clock(0, step)))
        as_one_of(0, 1)
        for name in ("source", "target", "unlabelled"):
            assert torch.equal(torch.cat([getattr(part, name) for part in parts]), getattr(whole, name))


def test_shares_of_the_coins_are_the_coins(as_one_of, method_of, batch_of):
    """Eq. (8)'s coin of an image does not depend on who tosses it."""
    method = method_of("ugc", options={"nas": False})
    cost = method.setting.cost_model(method.setting.config)
    selection = method.select_by_rule(Budget.parse("4x", cost(cost.space.largest)), cost)
    phase = method.phase("distill", {"selection": selection})
    scores = torch.linspace(-1, 1, 12)
    phase.D_EMA["deep"].fill_(-2.0)  # all above: all are tossed
    whole = phase.phi("deep", scores, Clock(0, 5))
    assert 0 < whole.sum() < 12
    parts = []
    for rank in range(3):
        as_one_of(rank, 3)
        parts.append(phase.phi("deep", scores[rank * 4 : rank * 4 + 4], Clock(0, 5)))
    assert torch.equal(torch.cat(parts), whole)
