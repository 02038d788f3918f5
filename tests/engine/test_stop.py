"""Stops that save, and one process a run folder."""

import os
import signal
import subprocess
import sys
import threading

import pytest

from ugc.core.errors import UserError
from ugc.engine import loop
from ugc.engine.stop import alone, stoppable
from ugc.methods.ugc import Supernet


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_asks_the_second_ends(number):
    before = signal.getsignal(number)
    with stoppable() as stop:
        assert not stop.asked
        os.kill(os.getpid(), number)
        assert stop.asked
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
    assert signal.getsignal(number) is before


def test_in_another_thread_it_only_never_asks():
    seen = []

    def work():
        with stoppable() as stop:
            seen.append(stop.asked)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [False]


HOLD = "import sys; from pathlib import Path; from ugc.engine.stop import alone\nwith alone(Path(sys.argv[1])):\n"


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the lock on tmp_path / "run"."""
    code = HOLD + "    print('held', flush=True); sys.stdin.read()\n"
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "run")], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_two_runs_in_one_folder(holder, ugc, tiny, tiny_data, tmp_path):
    told = ugc("run", tiny_data, "--out", tmp_path / "run", *tiny)
    assert told.code == 2 and f"{tmp_path / 'run'}: another run is working in it; wait for its end" in told.last
    assert not list((tmp_path / "run").iterdir())  # neither has left anything yet
    holder.kill()
    holder.wait()
    with alone(tmp_path / "run"):  # a kill leaves no lock behind
        pass


def test_a_lock_is_let_go_after_an_error(tmp_path):
    with pytest.raises(ZeroDivisionError), alone(tmp_path):
        raise ZeroDivisionError
    with alone(tmp_path), pytest.raises(UserError, match="another run"), alone(tmp_path):
        pass


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("at", [1, 2])  # within a stage, and in its last step
def test_a_signal_saves_and_loses_no_step(number, at, ugc, tiny, tiny_data, tiny_run, tmp_path, monkeypatch):
    plain, taken = Supernet.step, []

    def step(self, batch, clock):
        taken.append(clock.step)
        if clock.step == at and len(taken) == at + 1:
            os.kill(os.getpid(), number)
        return plain(self, batch, clock)

    monkeypatch.setattr(Supernet, "step", step)
    assert loop.SAVE_SECONDS > 60  # no checkpoint comes by itself
    words = ("run", tiny_data, "--out", tmp_path / "run", *tiny)
    told = ugc(*words)
    assert told.code == 130 and told.last == (f"supernet: saved after {at + 1} of 3 steps; run the same command again to go "
                                              f"on")
    assert taken == list(range(at + 1))
    assert ugc(*words).code == 0 and taken == [0, 1, 2]  # the step that was under way is not taken twice
    weights = "student/model.safetensors"
    assert (tmp_path / "run" / weights).read_bytes() == (tiny_run / weights).read_bytes()


def test_a_stop_in_the_search_says_how_to_go_on(ugc, tiny, tiny_data, tmp_path, monkeypatch):
    from ugc.methods.selection import SupernetScore

    def stop(self, arch):
        raise KeyboardInterrupt

    monkeypatch.setattr(SupernetScore, "__call__", stop)
    told = ugc("run", tiny_data, "--out", tmp_path / "run", *tiny, "--original", "none")
    assert told.code == 130 and told.last == "stopped; what is done is kept: run the same command again to go on"
