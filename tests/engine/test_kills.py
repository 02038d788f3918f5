"""`kill -9` at any moment, the same command again, the same student bit for bit.

One process goes through a whole run, so that everything is imported; then it forks one child an attempt.
"""

import json
import os
import subprocess
import sys

import pytest

MOST = 60  # kills; the attempt after that lives

# A child dies at a moment drawn by the number of its attempt: at a step, a candidate, or while a file is flushed, before
# or after it gets its name.
NURSE = '''
import os, random, signal, sys

import torch

torch.set_num_threads(1)
from ugc.cli.main import main
from ugc.engine import loop
from ugc.methods.original import Gan
from ugc.methods.selection import SupernetScore
from ugc.methods.ugc import Distill, Supernet

loop.SAVE_SECONDS = -1.0  # a checkpoint every step
words = sys.argv[2:]


def attempt(folder, number):
    """In the child: the run, until it dies."""
    rng = random.Random(number)
    with open(sys.argv[1], "a+") as diary:
        diary.seek(0)
        known = diary.read().splitlines()

    def moment(kind, what, chance):
        name = f"{kind} {what}"
        if number and (rng.random() < chance or name not in known):  # each kind at least once
            with open(sys.argv[1], "a") as diary:
                diary.write(name + "\\n")
            os.kill(os.getpid(), signal.SIGKILL)

    def file_moment(kind, path):
        ours = os.path.basename(str(path)).lstrip(".").startswith("state")
        moment(kind, "checkpoint" if ours else "file", 0.1 if ours else 0.01)

    fsync, replace = os.fsync, os.replace

    def flushed(handle):
        path = os.readlink(f"/proc/self/fd/{handle}")
        if os.path.isfile(path):
            file_moment("flush", path)
        fsync(handle)

    def replaced(source, path):
        file_moment("before", path)
        replace(source, path)
        file_moment("after", path)

    os.fsync, os.replace = flushed, replaced

    def watched(owner, name, kind, chance):
        plain = getattr(owner, name)

        def call(self, *args):
            moment(kind, owner.__name__, chance)
            return plain(self, *args)

        setattr(owner, name, call)

    for phase in (Gan, Supernet, Distill):
        watched(phase, "step", "step", 0.2)
    watched(SupernetScore, "__call__", "candidate", 0.05)
    return main(["run", *words, "--out", folder])


for line in sys.stdin:
    folder, number = line.rsplit(" ", 1)
    code = None
    if number.strip() == "here":
        code = main(["run", *words, "--out", folder])
    elif (child := os.fork()) == 0:
        os._exit(attempt(folder, int(number)))
    else:
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    print("end", code, flush=True)
'''


@pytest.fixture
def nurse(tiny, tiny_data, tmp_path, ugc_home):
    """attempt(folder, number) -> exit status, -9 when it was killed; `here` and 0 are not. The diary tells of the kills."""
    words = (tiny_data, *tiny, "--set", "generator.blocks=3")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "UGC_HOME": str(ugc_home)}
    with subprocess.Popen([sys.executable, "-c", NURSE, str(tmp_path / "diary"), *map(str, words)], env=environment,
                          text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:

        def attempt(folder, number):
            print(folder, number, file=process.stdin, flush=True)
            for line in process.stdout:
                if line.startswith("end "):
                    return int(line.split()[1])
            raise AssertionError(process.stderr.read())

        yield attempt
        process.kill()


def test_twenty_kills_and_the_same_student(nurse, tmp_path):
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    assert nurse(straight, "here") == 0
    kills = 0
    while code := nurse(killed, kills + 1 if kills < MOST else 0):
        assert code == -9
        kills += 1
    died = (tmp_path / "diary").read_text().splitlines()
    assert len(died) == kills >= 20
    assert set(died) == {"step Gan", "step Supernet", "step Distill", "candidate SupernetScore",
                         *(f"{kind} {what}" for kind in ("flush", "before", "after") for what in ("checkpoint", "file"))}
    for net in ("original", "supernet", "deep_teacher", "wide_teacher", "student"):
        path = f"{net}/model.safetensors"
        assert (straight / path).read_bytes() == (killed / path).read_bytes(), net
    for stage, file in (("original", "log"), ("supernet", "log"), ("search", "candidates"), ("distill", "log")):
        path = f"stages/{stage}/{file}.jsonl"
        assert (straight / path).read_text() == (killed / path).read_text(), stage
    rows = [json.loads((folder / "metrics.json").read_text())["rows"]["student"] for folder in (straight, killed)]
    assert rows[0] | {"latency_ms": 0} == rows[1] | {"latency_ms": 0}
    names = [{str(p.relative_to(folder)) for p in folder.rglob("*")} for folder in (straight, killed)]
    assert names[0] == names[1]
