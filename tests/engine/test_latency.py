"""Runs with a budget of time, on a clock whose layers cost what is written here."""

import json
import shutil
from dataclasses import replace

import pytest

from ugc.core.clock import Clock
from ugc.core.encoding import PICTURES
from ugc.core.errors import UserError
from ugc.core.files import home
from ugc.engine import latency
from ugc.engine.job import Job
from ugc.engine.latency import LIMIT, MEMBERS, ROUNDS, Timing, check, timing
from ugc.engine.recipe import Recipe
from ugc.export.runtimes import RUNTIMES, Opened, Runtime
from ugc.export.saved import save_net
from ugc.nn.cost import trace
from ugc.nn.latency import design, timed_layers

NARROW = ("--set", "generator.blocks=3", "--set", "generator.widths=[1,4,8]", "--set", "generator.depths=[0,1]")


class Dial(Opened):
    """A start of 20 us a layer, 1 us for every thousand multiply-adds, and 0.1 ms a picture."""

    def __init__(self, net, size):
        self.each = [20e-6 + 1e-9 * layer.cost.macs for layer in timed_layers(trace(net, None, size))]

    def run(self):
        raise AssertionError("nothing is run")

    def layers(self, whole):
        return self.each

    def seconds(self):
        return 1e-4 + sum(self.each)


class Sundial(Runtime):
    opened = 0

    def version(self):
        return "sundial 1.0"

    def open(self, net, encoding, size):
        type(self).opened += 1
        return Dial(net, size)


@pytest.fixture
def sundial(monkeypatch):
    RUNTIMES["torch"]  # the registry is filled
    monkeypatch.setitem(RUNTIMES._things, "sundial", Sundial)
    monkeypatch.setattr(Sundial, "opened", 0)
    monkeypatch.setattr(latency, "in_own_process", latency.measured)  # another process knows no sundial
    return Sundial


def test_saved_nets_are_timed_in_a_process_of_their_own(setting_of, tmp_path):
    """What is printed there on the way is no answer; a role without a net ends in what went wrong."""
    setting = setting_of("pix2pix-resnet")
    space = setting.cost_model(setting.config).space
    heavy = setting.family(setting.config.model_copy(update={"widths": (128,), "depths": (0,), "arch": ""}))
    # Far apart: others run on this machine.
    for role, net in (("student", latency.member(setting, space.smallest)), ("original", heavy)):
        save_net(net, tmp_path / role, "pix2pix-resnet", role, setting.size, {})
    asked = {"nets": {role: str(tmp_path / role) for role in ("original", "student")}, "runtime": "torch", "threads": 1,
             "size": setting.size}
    found = latency.in_own_process(asked)
    assert found.keys() == {"original", "student"} and 0 < found["student"] < found["original"]
    with pytest.raises(UserError, match=r"ended with status 1: .*nowhere"):
        latency.in_own_process({**asked, "nets": {"student": str(tmp_path / "nowhere")}})


@pytest.fixture
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("UGC_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "latency"


def refusing(asked):
    raise UserError("no sundial here")


def true_ms(setting, arch):
    return 1000 * Dial(latency.member(setting, arch), setting.size).seconds()


@pytest.mark.parametrize("family", ["pix2pix-resnet", "pix2pix-unet"])
def test_whole_nets_are_predicted(family, setting_of, sundial, cache, tmp_path):
    setting = setting_of(family)
    timed = timing(setting, PICTURES, "sundial", tmp_path)
    model = timed.model(setting.cost_model(setting.config))
    found = check(setting, PICTURES, Sundial(), model, 12)
    assert len(found) == 12 and sundial.opened == MEMBERS + 12
    assert all(measured == pytest.approx(true_ms(setting, arch)) for arch, _, measured in found)
    assert max(abs(predicted / measured - 1) for _, predicted, measured in found) < 0.15


def test_members_are_timed_once_and_a_cut_off_timing_goes_on(setting_of, sundial, cache, tmp_path, monkeypatch):
    setting, plain, seen = setting_of("pix2pix-resnet"), latency.member_times, []

    def cut(setting, arch, *rest):
        if len(seen) == 5:
            raise KeyboardInterrupt
        seen.append(arch.text)
        return plain(setting, arch, *rest)

    monkeypatch.setattr(latency, "member_times", cut)
    with pytest.raises(KeyboardInterrupt):
        timing(setting, PICTURES, "sundial", tmp_path)
    monkeypatch.setattr(latency, "member_times", plain)
    whole = timing(setting, PICTURES, "sundial", tmp_path)
    assert [m.arch for m in whole.members[:5]] == seen and len(whole.members) == MEMBERS == sundial.opened
    assert timing(setting, PICTURES, "sundial", tmp_path) == whole and sundial.opened == MEMBERS
    (path,) = cache.iterdir()
    assert Timing.read(path) == whole and whole.about["runtime"] == "sundial" and whole.about["threads"] == 1


def beside(monkeypatch, slower):
    """Other work: whole nets take slower(how many were timed before, how often this one was) times as long."""
    plain, seen = latency.member_times, []

    def member_times(setting, arch, *rest):
        found = plain(setting, arch, *rest)
        factor = slower(len(seen), seen.count(arch.text))
        seen.append(arch.text)
        return replace(found, whole=factor * found.whole)

    monkeypatch.setattr(latency, "member_times", member_times)
    return seen


def test_what_other_work_made_slow_is_timed_again(setting_of, sundial, cache, tmp_path, monkeypatch, capsys):
    """Five of them took two to six times as long: afterwards all times are as on an idle machine."""
    setting = setting_of("pix2pix-resnet")
    idle = timing(setting, PICTURES, "sundial", tmp_path)
    shutil.rmtree(cache)
    seen = beside(monkeypatch, lambda before, own: {0: 3, 1: 6, 4: 2, 7: 4, 8: 2}.get(before, 1))
    found = timing(setting, PICTURES, "sundial", tmp_path)
    assert found.members == idle.members and 1 <= found.rounds <= ROUNDS
    assert MEMBERS + 5 <= len(seen) <= MEMBERS * (1 + ROUNDS)
    assert "from the model, timed again: " in capsys.readouterr().err
    before = len(seen)
    assert timing(setting, PICTURES, "sundial", tmp_path) == found and len(seen) == before  # kept


def test_a_machine_that_stays_busy_is_refused_and_nothing_of_it_is_used(setting_of, sundial, cache, tmp_path, monkeypatch):
    setting = setting_of("pix2pix-resnet")
    with monkeypatch.context() as patch:
        seen = beside(patch, lambda before, own: 3.0 ** (before * 7 % 11 + 1))
        with pytest.raises(UserError, match=r"latency/\w+\.json: the times of whole nets are \d+ % .* at most 15 % was "
                                            "expected.*; run the same command again with nothing else running"):
            timing(setting, PICTURES, "sundial", tmp_path)
        assert MEMBERS < len(seen) <= MEMBERS * (1 + ROUNDS)
    idle = timing(setting, PICTURES, "sundial", tmp_path)  # the same command again
    assert idle.model(setting.cost_model(setting.config)).off[0] < 0.01
    truth = [1e-4 + sum(t.seconds for t in member.layers) for member in idle.members]
    assert sum(member.whole == pytest.approx(true) for member, true in zip(idle.members, truth, strict=True)) >= MEMBERS - 1


def test_one_member_that_stays_far_is_kept_after_some_rounds(setting_of, sundial, cache, tmp_path, monkeypatch):
    """A net that a runtime runs badly is no reason to refuse, nor to time it with every command."""
    setting = setting_of("pix2pix-resnet")
    second = design(setting.cost_model(setting.config).space, MEMBERS, Clock(0).rng("latency"))[1].text
    plain, seen = latency.member_times, []

    def bad(setting, arch, *rest):
        seen.append(arch.text)
        found = plain(setting, arch, *rest)
        return replace(found, whole=found.whole * (20 if arch.text == second else 1))

    monkeypatch.setattr(latency, "member_times", bad)
    found = timing(setting, PICTURES, "sundial", tmp_path)
    assert seen.count(second) == 1 + ROUNDS == 1 + found.rounds
    before = len(seen)
    assert timing(setting, PICTURES, "sundial", tmp_path) == found and len(seen) == before


def test_a_table_of_before_that_is_far_off_is_timed_again(setting_of, sundial, cache, tmp_path):
    """As it was written when members were timed once."""
    setting = setting_of("pix2pix-resnet")
    idle = timing(setting, PICTURES, "sundial", tmp_path)
    (path,) = cache.iterdir()
    held = json.loads(path.read_text())
    del held["rounds"]
    for i, member in enumerate(held["members"]):
        member["whole"] *= 3.0 ** (i % 4)
        member["layers"][0]["seconds"] *= 1 + i % 2
    path.write_text(json.dumps(held))
    assert Timing.read(path).model(setting.cost_model(setting.config)).off[0] > LIMIT
    again = timing(setting, PICTURES, "sundial", tmp_path)
    assert [m.whole for m in again.members] == [m.whole for m in idle.members]


def test_of_two_times_the_lesser_counts_for_each_layer(setting_of, sundial, cache, tmp_path):
    timed = timing(setting_of("pix2pix-resnet"), PICTURES, "sundial", tmp_path)
    one = timed.members[3]
    other = replace(one, whole=2 * one.whole, layers=tuple(
        replace(t, seconds=t.seconds * (0.5 if i % 2 else 2)) for i, t in enumerate(one.layers)))
    found = timed.having(other)
    assert [m.arch for m in found.members] == [m.arch for m in timed.members]
    assert found.members[3].whole == one.whole
    assert [t.seconds for t in found.members[3].layers] == [
        t.seconds * (0.5 if i % 2 else 1) for i, t in enumerate(one.layers)]


def test_another_size_or_number_of_threads_is_another_table(setting_of, sundial, cache, tmp_path, monkeypatch):
    timing(setting_of("pix2pix-resnet"), PICTURES, "sundial", tmp_path)
    timing(setting_of("pix2pix-resnet", base=16), PICTURES, "sundial", tmp_path)
    monkeypatch.setattr(latency.torch, "get_num_threads", lambda: 7)
    timing(setting_of("pix2pix-resnet"), PICTURES, "sundial", tmp_path)
    assert len(list(cache.iterdir())) == 3


def test_a_damaged_table_is_named(setting_of, sundial, cache, tmp_path):
    (tmp_path / "latency.json").write_text('{"about": {}, "members": [{"arch": "x"}]}')
    with pytest.raises(UserError, match=r"latency\.json holds no layer times; remove it"):
        timing(setting_of("pix2pix-resnet"), PICTURES, "sundial", tmp_path)


def test_a_run_within_a_latency(sundial, ugc, tiny_data, tiny, tmp_path, monkeypatch):
    """From the first look at it to the report, and again; the run keeps the table that it began with."""
    run = tmp_path / "run"
    shutil.rmtree(home() / "latency", ignore_errors=True)
    words = ("run", tiny_data, "--out", run, *tiny, *NARROW, "--original", "none", "--budget")
    told = ugc(*words, "latency=9s@sundial", "--dry-run")
    assert told.code == 2 and "leaves nothing to compress: the smallest sub-network has" in told.last and not run.exists()
    least, most = (float(word.strip(",;")) for word in (told.last.split(" has ")[1].split()[0],
                                                      told.last.split("the largest ")[1].split()[0]))
    assert 0.3 < least < most / 2
    assert "sundial 1.0, fp32, one picture of 32x32" in told.err and sundial.opened <= MEMBERS
    budget = f"latency={0.7 * least + 0.3 * most:.4g}ms@sundial"
    limit = float(budget[8:-10])
    told = ugc(*words, budget, "--dry-run")
    assert told.code == 0 and f"at most {limit:g} ms in sundial" in told.out and f"{least:.4g} ms" in told.out
    told = ugc(*words, budget, "--until", "search")
    assert told.code == 0, told.err
    chosen = json.loads((run / "stages/search/choice.json").read_text())["student"]
    assert 0.5 * limit < chosen["latency_ms"] <= limit
    about = json.loads((run / "run.json").read_text())["budget"]
    assert (about["key"], about["limit"], about["timed"]["runtime"], about["timed"]["size"]) == (
        "latency_ms", limit, "sundial", [32, 32])
    assert json.loads((run / "recipe.json").read_text())["budget"] == budget

    shutil.rmtree(home() / "latency")
    with monkeypatch.context() as patch:  # on a machine without that runtime, and on another chip
        patch.setattr(latency, "in_own_process", refusing)
        patch.setattr("ugc.engine.pipeline.cpu_name", lambda: "Z80")
        told = ugc(*words, budget)
        assert told.code == 0, told.err
    found = json.loads((run / "metrics.json").read_text())
    assert "latency" not in found and "psnr" in found["rows"]["student"]
    assert [line for line in found["warnings"] if "not timed: no sundial here" in line or "this machine is Z80" in line
            ] == found["warnings"][-2:]
    for left in (run / "stages/test/done.json", run / "metrics.json"):
        left.unlink()
    before = sundial.opened
    told = ugc(*words, budget)  # goes on
    assert told.code == 0, told.err
    assert sundial.opened == before + 1  # the student, at the end
    found = json.loads((run / "metrics.json").read_text())["latency"]
    assert found["limit_ms"] == limit and found["predicted_ms"] == round(chosen["latency_ms"], 3)
    assert found["measured_ms"]["student"] == pytest.approx(found["predicted_ms"], rel=0.15)
    for page in ("report.html", "student/README.md"):
        assert f"at most {limit:g} ms in sundial 1.0, fp32" in (run / page).read_text()
    assert "the student was predicted" in (run / "report.html").read_text()

    told = ugc("run", "--from", run, "--out", tmp_path / "other", "--budget", f"latency={0.8 * limit:.4g}ms@sundial",
               "--until", "search")
    assert told.code == 0, told.err
    other = json.loads((tmp_path / "other/stages/search/choice.json").read_text())["student"]
    assert other["latency_ms"] <= 0.8 * limit * 1.001


def test_every_process_predicts_by_the_times_of_the_runs_folder(sundial, cache, tiny_data, tmp_path):
    """On two machines each has taken times of its own; the lead's are kept with the run."""
    fields = {"data": {"path": str(tiny_data), "size": 32}, "base": 8, "device": "cpu",
              "generator": {"blocks": 3, "widths": [1, 4, 8], "depths": [0, 1]}}
    setting = Recipe.parse(fields, "test").resolved().setting((3, 3))
    space = setting.cost_model(setting.config).space
    middle = sum(true_ms(setting, arch) for arch in (space.smallest, space.largest)) / 2
    job = Job(Recipe.parse({**fields, "budget": f"latency={middle:.4g}ms@sundial"}, "test").resolved(), tmp_path / "run")
    arch = job.cost.space.smallest
    plain, slower = job.cost(arch).latency_ms, [replace(m, whole=3 * m.whole) for m in job.timing.members]
    (tmp_path / "run").mkdir()
    replace(job.timing, members=tuple(slower)).write(tmp_path / "run/latency.json")
    job.same_times()
    assert job.cost(arch).latency_ms == pytest.approx(3 * plain, rel=0.01)


def test_a_latency_without_a_search(sundial, ugc, tiny_data, tiny, tmp_path):
    """The uniform net within it."""
    words = ("run", tiny_data, "--out", tmp_path / "run", *tiny, *NARROW, "--original", "none", "--set", "options.nas=false")
    told = ugc(*words, "--budget", "latency=9s@sundial", "--dry-run")
    most = float(told.last.split("the largest ")[1].split(";")[0])
    told = ugc(*words, "--budget", f"latency={0.5 * most:.4g}ms@sundial", "--until", "distill")
    assert told.code == 0, told.err
    chosen = json.loads((tmp_path / "run/stages/search/choice.json").read_text())["student"]
    assert chosen["latency_ms"] <= 0.5 * most * 1.001


def test_an_unknown_runtime_is_refused_before_anything_is_timed(sundial, ugc, tiny_data, tiny, tmp_path):
    told = ugc("run", tiny_data, "--out", tmp_path / "run", *tiny, "--budget", "latency=10ms@sundail")
    assert told.code == 2 and "unknown runtime 'sundail': did you mean 'sundial'?" in told.last
    assert sundial.opened == 0 and not (tmp_path / "run").exists()
