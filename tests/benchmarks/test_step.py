"""The straightforward version of a step computes what the step does, and the benchmark counts what it says."""

import pytest
import torch
import torch.nn.functional as F
from parts import watched
from step import STEPS, Case, clock_of, convolutions, noise, phase_of, recipe_of, rows_of
from straightforward import Straightforward

from doubles import in_doubles
from moments import moments
from ugc.core.clock import Clock
from ugc.engine.recipe import Recipe
from ugc.methods.ugc import Distill

FAMILIES = ("pix2pix-resnet", "pix2pix-unet")


def tiny(family, step, **fields):
    blocks = {"generator": {"blocks": 3}} if family == "pix2pix-resnet" else {}
    fields = {"family": family, "base": 8, "batch": 2, "patch": {"ndf": 8}, "data": {"path": "noise", "size": 32}, **blocks,
              "distillation": {"backbone": "lite0", "l1": 3.0}, **fields}
    return Case(Recipe.parse(fields, "test"), (3, 3), step, "cpu")


def in_both(phase):
    """The phase in float64, and its straightforward version."""
    in_doubles(phase).L_OD.backbone.double()
    plain = Straightforward(phase)
    plain.L_OD.backbone.double()
    return phase, plain


def doubled(batch):
    return type(batch)(batch.source.double(), batch.target.double(), batch.unlabelled.double())


def assert_same(phase, plain):
    """Weights, where Adam is not made of rounding (a bias before an instance norm, whose gradient is 0)."""
    for name, player in phase.players.items():
        net, state = plain.nets[name], moments(player)
        largest = max(float(s["exp_avg_sq"].sqrt().max()) for s in state.values()) if state else 0.0
        for key, p in player.net.named_parameters():
            assert (p in state) == (net.w[key] in net.adam.state), (name, key)
            told = state[p]["exp_avg_sq"].sqrt() > 1e-9 * largest if p in state else torch.ones_like(p, dtype=torch.bool)
            torch.testing.assert_close(net.w[key].detach()[told], p.detach()[told], rtol=1e-7, atol=1e-9, msg=key)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("step", ["stage 1", "stage 2 teaching"])
def test_straightforward_steps_are_ours(doubles, family, step):
    """Three steps of each stage, of stage 2 one that does not teach: every part of every loss, and the weights."""
    case = tiny(family, step)
    phase, plain = in_both(phase_of(case, "fp32"))
    batch = doubled(noise(case, torch.device("cpu")))
    for i in range(3):
        ours, theirs = phase.step(batch, Clock(3, i)), plain.step(batch, Clock(3, i))
        assert ours.keys() == theirs.keys()
        for part, value in ours.items():
            assert float(theirs[part]) == pytest.approx(float(value), rel=1e-7, abs=1e-12), part
        assert_same(phase, plain)
    if isinstance(phase, Distill):
        assert {k: float(v) for k, v in plain.D_EMA.items()} == pytest.approx({k: float(v) for k, v in phase.D_EMA.items()})


def test_multiply_adds_of_grouped_convolutions_are_counted_backward_too():
    x, w = torch.randn(2, 6, 9, 9, requires_grad=True), torch.randn(6, 2, 3, 3, requires_grad=True)

    def full():
        F.conv2d(x, w, groups=3, padding=1).sum().backward()

    def weights_only():
        F.conv2d(x.detach(), w, groups=3, stride=2).sum().backward()

    def transposed():
        with torch.no_grad():
            F.conv_transpose2d(x, torch.randn(6, 4, 3, 3), stride=2)

    each = 2 * 6 * 2 * 9  # batch, out, in of a group, kernel
    assert convolutions(full) == 3 * each * 81
    assert convolutions(weights_only) == 2 * each * 16
    assert convolutions(transposed) == 2 * 6 * 4 * 9 * 81


@pytest.mark.parametrize("family", FAMILIES)
def test_useful_work_is_what_the_cost_model_says(family):
    """A student's step without L_OD's backbone: both teachers, D of their pictures, the student forward and backward."""
    case = tiny(family, "stage 2 alone", distillation={"backbone": "none", "l1": 1.0})
    phase = phase_of(case, "fp32")
    batch, clock = noise(case, torch.device("cpu")), clock_of(phase, case.step)
    setting = case.recipe.setting(case.channels)

    def macs(player):
        return setting.cost_model(player.net.config)(player.net.space.largest).macs

    judged = convolutions(lambda: [phase.score(k, batch.unlabelled, batch.target) for k in phase.T])
    student, n = macs(phase.student), 2 * case.recipe.batch
    first_layer = convolutions(lambda: F.conv2d(batch.source, phase.student.net.get_parameter(
        "stem.weight" if family == "pix2pix-resnet" else "down.1.weight"), None, *FIRST[family])) / case.recipe.batch
    expected = judged + n * (sum(macs(T) for T in phase.T.values()) + 3 * student - first_layer)  # x needs no gradient
    assert convolutions(lambda: phase.step(batch, clock)) == expected


FIRST = {"pix2pix-resnet": (1, 3), "pix2pix-unet": (2, 1)}  # stride, padding


@pytest.mark.parametrize("step", STEPS)
def test_parts_of_a_step(step):
    """Every second has one part, and watching changes nothing."""
    case = tiny("pix2pix-resnet", step)
    batch, phases = noise(case, torch.device("cpu")), [phase_of(case, "fp32") for _ in range(2)]
    clock = clock_of(phases[0], step)
    unseen = phases[0].step(batch, clock)
    with watched(phases[1], torch.device("cpu")) as parts:
        seen = phases[1].step(batch, clock)
    assert {k: float(v) for k, v in seen.items()} == {k: float(v) for k, v in unseen.items()}
    nets = {"stage 1": ["G_l", "G_r", "G_s", "D"], "stage 2 teaching": ["student", "deep", "wide", "D_deep", "D_wide"],
            "stage 2 alone": ["student"]}[step]
    looks = {"L_OD look, taught", "L_OD look, learning", "L_OD compare", "L_OD backward", "D forward", "update", "rest"}
    fakes = {"D of a fake, backward"} if step != "stage 2 alone" else set()
    forward = {name for name in (*nets, "deep", "wide") if name[0] != "D" and (step != "stage 1" or name[0] == "G")}
    assert set(parts.seconds) == looks | fakes | {f"{n} backward" for n in nets} | {f"{n} forward" for n in forward}
    assert all(seconds > 0 for seconds in parts.seconds.values())
    assert not any("step" in vars(p) or "learn" in vars(p) for p in (phases[1], *phases[1].players.values()))


def test_the_papers_sizes():
    recipe, channels = recipe_of("pix2pix-resnet", 256, 4, None)
    setting = recipe.setting(channels)
    case = Case(recipe.model_copy(update={"base": 8}), channels, "stage 2 alone", "cpu")
    assert setting.patch.ndf == 128
    assert recipe.distillation.backbone == "lite0"
    assert setting.config.width_values == (8, 16, 24, 32, 40, 48, 56, 64)
    nets = phase_of(case, "fp32").nets()
    of = {role: {(c.name.startswith("d."), v) for c in net.space.choices for v in c.values} for role, net in nets.items()}
    assert of == {"student": {(False, 2), (True, 0)}, "deep_teacher": {(False, 2), (True, 2)},
                  "wide_teacher": {(False, 8), (True, 0)}}


def test_shares_are_of_the_peak_and_of_the_straightforward_version():
    found = {"macs": 3e9, "peaks": {"fp32": 4e9}, "times": {"straightforward": [2.0, 2.0, 9.0], "fp32": [1.0, 1.5, 7.0]}}
    memory = {"straightforward": 2e9, "fp32": 1e9}
    plain, ours = rows_of(tiny("pix2pix-unet", "stage 1"), ("fp32",), found, memory)
    assert (plain["of peak"], ours["of peak"]) == ("38 %", "50 %")
    assert (plain["of plain"], ours["of plain"], ours["least s"], ours["GB"]) == (1.0, 0.75, 1.0, 1.0)
