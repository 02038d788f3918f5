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


DOUBLE = '''
import sys
import torch
from ugc.cli.main import main
from ugc.core.encoding import Encoding
from ugc.core.images import to_unit
torch.set_default_dtype(torch.float64)
Encoding.encode = lambda self, stored: to_unit(stored).double()
'''
MAIN = "sys.exit(main(sys.argv[1:]))"


@pytest.fixture(scope="module")
def command(ugc_home, tiny, tiny_data, tmp_path_factory):
    """command(processes, folder, *words, patch="") -> the finished `ugc run`, all of it in float64.

    In float32 a part of a batch is rounded otherwise than the whole, and one activation in some thousand steps from one
    side of a LeakyReLU's kink to the other: then a gradient is another one, and Adam's steps with it.
    """
    programs = tmp_path_factory.mktemp("programs")

    def run(processes, folder, *words, patch=""):
        program = programs / f"program-{hash(patch):x}.py"
        program.write_text(DOUBLE + patch + MAIN)
        line = (sys.executable, *(TWO if processes == 2 else ()), program, "run", tiny_data, "--out", folder, *tiny, *words)
        return subprocess.run([str(word) for word in line], capture_output=True, text=True, check=False, timeout=300,
                              env={**os.environ, "OMP_NUM_THREADS": "1", "UGC_HOME": str(ugc_home)})

    return run


@pytest.fixture(scope="module")
def alone(command, tmp_path_factory):
    """A finished run folder of one process. Not to be changed."""
    folder = tmp_path_factory.mktemp("alone") / "run"
    done = command(1, folder)
    assert done.returncode == 0, done.stderr
    return folder


def rows_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def check_same_losses(one, other, stage):
    """All of their digits; a part near zero is measured against its player's largest."""
    first, second = (rows_of(folder / f"stages/{stage}/log.jsonl") for folder in (one, other))
    assert [list(row) for row in first] == [list(row) for row in second] and len(first) == 3
    for row, seen in zip(first, second):
        for name, value in row.items():
            player = name.split("/")[0]
            scale = max(abs(v) for n, v in row.items() if n.split("/")[0] == player)
            assert seen[name] == pytest.approx(value, rel=2e-6, abs=1e-8 * scale), (stage, row["step"], name)


def check_same_search(one, other):
    """Each net once, in the same order, at the same score."""
    first, second = (rows_of(folder / "stages/search/candidates.jsonl") for folder in (one, other))
    assert [{**row, "score": 0} for row in second] == [{**row, "score": 0} for row in first]
    assert [row["score"] for row in second] == pytest.approx([row["score"] for row in first], rel=1e-6)


def test_a_whole_run(command, alone, tmp_path):
    run = tmp_path / "run"
    done = command(2, run, "--until", "search")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("supernet: 3/3") == 1  # one speaks
    assert sorted(p.name for p in run.iterdir()) == ["env.json", "labels.txt", "largest", "original", "recipe.json",
                                                     "report.html", "run.json", "smallest", "stages", "supernet",
                                                     "test.txt", "unlabelled.txt", "validation.txt"]
    done = command(2, run)
    assert done.returncode == 0, done.stderr
    for stage in ("original", "supernet", "distill"):
        check_same_losses(alone, run, stage)
    check_same_search(alone, run)
    assert {row.name for row in run.iterdir()} == {row.name for row in alone.iterdir()}
    rows, expected = (json.loads((folder / "metrics.json").read_text())["rows"] for folder in (run, alone))
    assert rows.keys() == expected.keys()


def test_the_losses_tell_a_step_of_its_own(command, alone, tmp_path):
    """What the test above would see if each process went the way of its own share."""
    run = tmp_path / "run"
    done = command(2, run, "--until", "original", patch="from ugc.core import processes; processes.mean_ = list\n")
    assert done.returncode == 0, done.stderr
    with pytest.raises(AssertionError, match="'original', 0, 'G/gan'"):  # D has moved when G is judged
        check_same_losses(alone, run, "original")


def test_search_and_stage_two_go_on_from_one_process(command, alone, tmp_path):
    """The number of processes is no part of a run: what one began, two end."""
    run = shutil.copytree(alone, tmp_path / "run")
    for left in ("stages/search", "stages/distill", "stages/test", "student", "deep_teacher", "wide_teacher"):
        shutil.rmtree(run / left)
    done = command(2, run)
    assert done.returncode == 0, done.stderr
    check_same_losses(alone, run, "distill")
    check_same_search(alone, run)
    assert {row.name for row in run.iterdir()} == {row.name for row in alone.iterdir()}


KILLER = '''
import os, signal
from ugc.engine import loop
from ugc.methods.ugc import Supernet
loop.SAVE_SECONDS = -1.0
plain = Supernet.step
def step(self, batch, clock):
    if clock.step == 2 and os.environ["RANK"] == os.environ["VICTIM"]:
        os.kill(os.getpid(), signal.SIGKILL)
    return plain(self, batch, clock)
Supernet.step = step
'''


@pytest.mark.parametrize("victim", ["0", "1"])
def test_one_killed_ends_all_and_the_run_goes_on(victim, command, alone, tmp_path, monkeypatch):
    monkeypatch.setenv("VICTIM", victim)
    run = shutil.copytree(alone, tmp_path / "run", ignore=lambda folder, names: {
        "supernet", "search", "distill", "test", "student", "deep_teacher", "wide_teacher", "largest", "smallest",
        "metrics.json"} & set(names))
    done = command(2, run, patch=KILLER)
    assert done.returncode == 1
    other = 1 - int(victim)
    assert done.stderr.count(f"ugc: process {other} of 2 cannot reach the others: one of them has ended") == 1
    assert "run the same command again to go on" in done.stderr
    assert not (run / "stages/supernet/done.json").exists() and list((run / "stages/supernet").glob("state-*"))
    told = command(1, run)
    assert told.returncode == 0 and "supernet: goes on at step 2 of 3" in told.stderr
    check_same_losses(alone, run, "supernet")


def test_a_batch_that_cannot_be_shared_is_said_once(command, tmp_path):
    done = command(2, tmp_path / "run", "--set", "batch=3")
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
