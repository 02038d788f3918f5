"""The rank correlations: the tau itself, its signs, and a study that goes on where it was stopped."""

import json
import math

import numpy as np
import pytest
import ranks
import torch
from scipy.stats import kendalltau

from ugc.core.clock import Clock
from ugc.core.errors import UserError
from ugc.methods.from_teacher import Distill
from ugc.methods.uniform import even
from ugc.metrics.tools import Tools
from ugc.models.generator import shrink


def test_the_tau_of_known_orders():
    rng, order = np.random.default_rng(0), list(range(8))
    assert ranks.tau_of(order, order, rng) == pytest.approx((1, 1, 1))
    assert ranks.tau_of(order, order[::-1], rng) == pytest.approx((-1, -1, -1))
    tau, low, high = ranks.tau_of(order, [1, 0, 2, 3, 4, 5, 6, 7], rng)  # one of 28 pairs is the other way round
    assert tau == pytest.approx(1 - 2 / 28) and low < tau <= high == pytest.approx(1)
    assert all(math.isnan(value) for value in ranks.tau_of([1.0] * 8, order, rng))
    tau, low, high = ranks.tau_of(rng.normal(size=12), rng.normal(size=12), rng)
    assert low < 0 < high and high - low > 0.4  # twelve nets say little


def test_resamples_are_counted_as_scipy_does(monkeypatch):
    """tau-b of a resample, in which nets occur several times."""
    rng = np.random.default_rng(1)
    x, y, counts = rng.normal(size=6), rng.integers(0, 3, 6).astype(float), np.array([2, 0, 1, 1, 0, 2])

    class Drawn:
        def multinomial(self, n, p, size):
            return np.tile(counts, (size, 1))

    _, low, high = ranks.tau_of(x, y, Drawn())
    wanted = kendalltau(np.repeat(x, counts), np.repeat(y, counts)).statistic
    assert low == pytest.approx(wanted) and high == pytest.approx(wanted)


def rows_of(kind, goodness, scores, macs):
    """PSNR and L1 that agree with `goodness`."""
    return [{"set": kind, "macs": m, "params": m, "scores": {"l_od": s}, "truth": {"psnr": 10.0 + g, "l1": -g}}
            for g, s, m in zip(goodness, scores, macs)]


def test_agreement_is_positive_whatever_the_direction():
    equal = rows_of("equal", [1, 2, 3, 4, 5], [5, 4, 3, 2, 1], [9, 9, 9, 9, 9])  # low scores: good nets
    other = rows_of("spread", [1, 2, 3, 4, 5], [1, 2, 3, 4, 5], [10, 20, 30, 40, 50])
    table = {(row["set"], row["score"]): row for row in ranks.taus(equal + other)}
    assert set(table) == {(kind, name) for kind in ("equal", "spread", "both") for name in ("l_od", "macs", "params")}
    assert table["equal", "l_od"]["psnr"].startswith("+1.00 [") and table["equal", "l_od"]["l1"].startswith("+1.00 [")
    assert table["spread", "l_od"]["psnr"].startswith("-1.00 [")
    assert table["spread", "macs"]["psnr"].startswith("+1.00 [")  # larger nets are better
    assert table["equal", "macs"]["psnr"].startswith("+nan") and table["both", "l_od"]["nets"] == 10
    assert {row["set"] for row in ranks.taus(equal)} == {"equal"}


@pytest.fixture(scope="module")
def half_run(tmp_path_factory, ugc, tiny_data, tiny):
    """A run folder up to its supernet."""
    folder = tmp_path_factory.mktemp("runs") / "half"
    told = ugc("run", tiny_data, "--out", folder, "--until", "supernet", *tiny)
    assert told.code == 0, told.err
    return folder


def study_of(run, out, steps=2):
    return ranks.Study(run, out, steps, 1, Tools())


def test_a_study_goes_on_where_it_was_stopped(half_run, tmp_path, monkeypatch):
    out = tmp_path / "ranks.jsonl"
    study = study_of(half_run, out)
    study.go(["equal"], 2)
    first = out.read_text()
    one, two = map(json.loads, first.splitlines())
    assert one["arch"] == even(study.job.cost, study.job.budget).text != two["arch"]
    assert set(one["scores"]) == {"l_od", "l1", "ssim", "lite0", "trial"}
    assert {"psnr", "ssim", "l1"} <= set(one["truth"]) and one["truth"] != two["truth"]
    limit = study.job.budget.limit
    assert all(row["macs_paper"] <= limit for row in (one, two))

    asked, truth = [], ranks.Study.truth
    monkeypatch.setattr(ranks.Study, "truth", lambda self, arch: asked.append(arch.text) or truth(self, arch))
    study_of(half_run, out).go(["equal"], 2)
    assert not asked and out.read_text() == first
    out.write_text(first[: -20])  # a kill in the middle of the second line
    study_of(half_run, out).go(["equal", "spread"], 2)
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert asked[0] == two["arch"] and len(asked) == 3 and rows[0] == one
    assert {key: rows[1][key] for key in ("truth", "scores")} == {key: two[key] for key in ("truth", "scores")}
    assert [row["set"] for row in rows] == ["equal", "equal", "spread", "spread"] and len(ranks.taus(rows)) == 7
    with pytest.raises(UserError, match="another --out"):
        study_of(half_run, out, steps=3)


def test_what_is_remembered_changes_nothing(half_run, tmp_path):
    """A second net learns from the kept pictures as it would from G_l itself."""
    study = study_of(half_run, tmp_path / "ranks.jsonl")
    first, second = study.archs("spread", 2)
    study.truth(first)
    assert len(study.trials.taught) == 2
    phase = Distill(study.job.setting, study.trials.teacher, shrink(study.supernet, second))
    for step in range(2):
        phase.student.set_lr(1 - step / 2)
        phase.step(study.job.stream.batch(Clock(0, step)), Clock(0, step))
    plain = phase.nets()["student"].eval()
    from_kept = study.truth(second)
    with torch.no_grad():
        wanted = ranks.score(study.answers(plain), Tools(), study.targets).row
    assert from_kept == wanted


def test_a_folder_without_a_supernet_is_said(tmp_path):
    with pytest.raises(UserError, match="--until supernet"):
        study_of(tmp_path, tmp_path / "ranks.jsonl")
