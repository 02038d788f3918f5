"""The reckoning of memory: what a forward pass keeps, counted on the meta device as it is on a real one."""

import pytest
import torch
from torch import nn

from sizes import least_size
from ugc.core.errors import UserError
from ugc.engine.job import Job
from ugc.engine.plan import _seen, kept_bytes, plan, reckoned
from ugc.engine.recipe import Recipe
from ugc.models.discriminators import Discriminator, PatchConfig
from ugc.models.generator import FAMILIES


def test_every_map_counts_once_and_no_parameter():
    """conv, ReLU, conv: its input, and one map that is the ReLU's output and the second convolution's input."""
    net = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 2, 1))
    assert kept_bytes(net, torch.zeros(2, 3, 8, 10)) == 4 * 2 * 80 * (3 + 4)


@pytest.mark.parametrize("original", [False, True])
@pytest.mark.parametrize("family", list(FAMILIES))
def test_the_meta_device_keeps_what_the_cpu_does(family, original):
    cls, size = FAMILIES[family], least_size(family)
    config = cls.config_for(size, base=8)
    found = []
    for device in ("cpu", "meta"):
        with torch.device(device):
            net = cls(cls.original(config) if original else config)
            judge = Discriminator(6, PatchConfig().resolved(8, size, cls.judge))
            pictures = torch.zeros(2, 3, *size)
            found.append((kept_bytes(net, pictures), kept_bytes(judge, pictures, pictures)))
    assert found[0] == pytest.approx(found[1], rel=0.005)  # on the CPU a head keeps its few weights in another order, too
    assert min(found[0]) > pictures.numel() * 4
    with torch.device("meta"):
        twice = kept_bytes(net, torch.zeros(4, 3, *size)) / found[1][0]
    assert 1.8 < twice < 2.001  # W / sigma is kept once, whatever the batch


def test_a_backbone_keeps_maps_of_the_pictures():
    small, large = (torch.zeros(1, 3, side, side, device="meta") for side in (32, 64))
    assert _seen("vgg19", large) == pytest.approx(4 * _seen("vgg19", small), rel=0.01)
    assert 0 == _seen("none", small) < _seen("lite0", small) < _seen("vgg19", small)


def test_a_teacher_that_does_not_learn_needs_no_memory(tiny_data, tmp_path):
    """Stage 2's reckoning is of the teachers that it trains."""
    recipe = Recipe.parse({"data": {"path": str(tiny_data), "size": 32}, "base": 16, "device": "cpu", "budget": "8x"},
                          "test")
    found = {}
    for teachers in ("both", "deep", "wide"):
        run = Job(recipe.with_settings([f"options.teachers={teachers}"]).resolved(), tmp_path / teachers)
        found[teachers] = reckoned(run, "distill")
    assert max(found["deep"], found["wide"]) < found["both"] < found["deep"] + found["wide"]


def test_every_discriminator_that_learns_needs_its_memory(tiny_data, tmp_path):
    """The student's own D costs its weights with Adam's state, one for both teachers saves as much; alone it has one."""
    fields = {"data": {"path": str(tiny_data), "size": 32}, "base": 16, "device": "cpu", "budget": "8x"}

    def needed(stage, method="ugc", **options):
        recipe = Recipe.parse({**fields, "method": method, "options": options}, "test").resolved()
        run = Job(recipe, tmp_path / "run")
        judge = Discriminator(run.setting.judged_channels, run.setting.patch)
        phase = run.method.phase(stage, {"selection": run.expected, "supernet": run.setting.generator(
            run.setting.config, "supernet"), "D": run.setting.discriminator("supernet/D").state_dict()})
        names = {name for name in phase.players if name.startswith("D")}
        assert names == set(run.method.judges(stage))
        return reckoned(run, stage), 16 * sum(p.numel() for p in judge.parameters())

    (plain, judge), (shared, _), (own, _) = (needed("distill"), needed("distill", discriminators="shared"),
                                             needed("distill", supervised=1))
    assert plain - shared == judge and own - plain >= judge
    alone, _ = needed("alone", "alone")
    assert judge < alone < needed("supernet")[0]


def test_every_stage_that_trains_has_its_steps_and_its_memory(tiny_data, tmp_path):
    fields = {"data": {"path": str(tiny_data), "size": 32}, "base": 16, "device": "cpu", "budget": "8x",
              "steps": {"original": 7, "supernet": 5, "distill": 3}}
    for method, steps in (("alone", {"original": 7, "alone": 8}), ("ugc", {"original": 7, "supernet": 5, "distill": 3})):
        lines = plan(Job(Recipe.parse({**fields, "method": method}, "test").resolved(), tmp_path / "run"))
        (stages,) = (line for line in lines if line.startswith("stages"))
        assert all(f"{name} ({count} steps)" in stages for name, count in steps.items()) and stages.count("(") == len(steps)
        assert [line.split()[1] for line in lines if line.startswith("memory")] == [f"{name}:" for name in steps]


def test_a_method_without_a_student_has_no_use_for_a_budget(tiny_data, tmp_path):
    fields = {"data": {"path": str(tiny_data), "size": 32}, "base": 8, "device": "cpu", "budget": "10000x"}
    assert plan(Job(Recipe.parse({**fields, "method": "original"}, "test").resolved(), tmp_path / "run"))
    for method in ("ugc", "alone"):
        with pytest.raises(UserError, match="out of reach"):
            Job(Recipe.parse({**fields, "method": method}, "test").resolved(), tmp_path / "run")
