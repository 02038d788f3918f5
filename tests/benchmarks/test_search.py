"""The benchmark of the search: both ways count the same, score the same nets, and are clocked by part."""

import numpy as np
import pytest
import torch

import search
from ugc.core.clock import Clock
from ugc.metrics.frechet import Gaussian, frechet_distance
from ugc.search.budget import Budget

TINY = {"pix2pix-resnet": {"blocks": 2, "widths": (2, 4, 8), "depths": (0, 1)},
        "pix2pix-unet": {"levels": 3, "widths": (2, 4, 8), "depths": (0, 1)}}


def brightness(images):
    """A judge of four features."""
    return torch.nn.functional.adaptive_avg_pool2d(images, 2).flatten(1)[:, :4]


@pytest.mark.parametrize("family", TINY)
def test_the_lineage_and_the_cost_model_count_the_same(family, setting_of):
    setting = setting_of(family, **TINY[family])
    net, cost = setting.generator(setting.config, "supernet").eval(), setting.cost_model(setting.config)
    x, rng = torch.zeros(net.source_shape(setting.size)), Clock(0).rng("archs")
    for arch in (net.space.smallest, net.space.largest, *(net.space.sample(rng) for _ in range(3))):
        assert search.traced_macs(net, x, arch) == cost(arch).macs


@pytest.mark.parametrize("family", TINY)
def test_all_ways_score_the_same_nets(family, setting_of, monkeypatch):
    setting, asked = setting_of(family, **TINY[family]), {}
    for way in (search.Lineage, search.Ours):
        def macs(self, arch, way=way, plain=way.macs):
            asked.setdefault(self, []).append(arch)
            return plain(self, arch)

        monkeypatch.setattr(way, "macs", macs)
    rows, parts = search.compare("tiny", setting, "4x", (6, 4, 1), {"brightness": brightness})
    theirs, ours = asked.values()
    assert theirs[::2] == theirs[1::2] == ours  # the lineage counts twice
    assert ours[0] == ours[1] and len(set(ours)) > 1  # once to warm up
    assert [row["way"] for row in rows] == ["lineage, brightness", "ours, fp32"]
    assert rows[1]["times ours"] == 1 and all(row["pictures"] == 6 and row["a second"] > 0 for row in rows)
    for row in rows:
        of_way = [part for part in parts if part["way"] == row["way"]]
        assert all(part["ms"] > 0 or part["part"] == "calibrate" for part in of_way)
        assert sum(part["ms"] for part in of_way) / 1000 <= row["s"]
    fixed = [sum(p["ms"] for p in parts if p["way"] == row["way"] and p["part"] in way.FIXED) / 1000
             for row, way in zip(rows, (search.Lineage, search.Ours))]
    more, less = (f + (row["s"] - f) * 256 / 6 for f, row in zip(fixed, rows))
    assert rows[0]["at 256 each"] == pytest.approx(more / less)


def test_the_lineages_distance_is_frechet(setting_of):
    setting = setting_of("pix2pix-resnet", **TINY["pix2pix-resnet"])
    net, v = setting.generator(setting.config, "supernet"), torch.rand(4, 1, 32, 32)
    way, rng = search.Lineage(net, v, v, brightness), np.random.default_rng(0)
    mine, real = rng.normal(size=(50, 4)), rng.normal(1, 2, size=(60, 4))
    way.real = search.moments_of(real)
    statistics = [Gaussian.of(torch.from_numpy(x)) for x in (mine, real)]
    assert way.distance(mine) == pytest.approx(frechet_distance(*statistics), rel=1e-6)
    way.real = search.moments_of(mine)
    assert way.distance(mine) == pytest.approx(0, abs=1e-6)


def test_candidates_are_those_of_a_search(setting_of):
    """A third within the budget, near it; the others about 20 times that, as far as the supernet goes."""
    setting = setting_of("pix2pix-resnet", base=32, blocks=2)
    cost = setting.cost_model(setting.config)
    budget = Budget.parse("40x", cost(cost.space.largest))
    found = search.candidates(cost, budget, 3, Clock(0))
    students = [arch for arch in found if budget.holds(cost(arch))]
    teachers = [arch for arch in found if arch not in students]
    assert len(students) == 3 <= len(teachers) <= 6 and found[0] == students[0]
    assert min(cost(arch).macs_paper for arch in teachers) > 5 * budget.limit


def test_the_cost_model_is_timed(setting_of):
    row = search.cost_speed("tiny", setting_of("pix2pix-resnet", **TINY["pix2pix-resnet"]), many=20)
    assert row["table"] > row["two traced passes"] > 0
