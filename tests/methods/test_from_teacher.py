"""A frozen original as the teacher of all: what is compared with what, how often it is asked, that it is learnt."""

import pytest
import torch

from ugc.core.clock import Clock
from ugc.methods.method import Selection
from ugc.models.generator import shrink
from ugc.search.region import spread

CLOCK = Clock(2)
SMALL = {"widths": (1, 4, 8), "depths": (0, 1), "distillation": {"l1": 20.0}}


def original_of(method, **changes):
    """A saved net's likeness: random weights, large enough that its pictures are not flat."""
    setting = method.setting
    net = setting.generator(setting.family.original(setting.config).model_copy(update=changes), "given")
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(4 if parameter.dim() > 1 else 1)
    return net.eval()


def watched(net):
    """The batches that a net is asked for."""
    asked = []
    net.register_forward_hook(lambda _, args, out: asked.append((args[0], out)))
    return asked


def sources(batch):
    return torch.cat([batch.source, batch.unlabelled])


@pytest.fixture
def method(method_of):
    return method_of("from-teacher", **SMALL)


def test_stage_1_compares_three_nets_with_one_picture_of_the_original(method, batch_of):
    original = original_of(method)
    phase, batch, L_OD = method.phase("supernet", {"original": original}), batch_of(0), method.setting.l_od()
    net, space = phase.G.net, phase.space
    r = spread(space, lambda a: float(phase.cost(a).macs_paper), CLOCK.rng("arch"))
    with torch.no_grad():
        t = L_OD.look(original(sources(batch)))
        expected = {f"G/{name}.{part}": float(value.mean())
                    for name, arch in (("l", space.largest), ("r", r), ("s", space.smallest))
                    for part, value in L_OD(t, L_OD.look(shrink(net, arch)(sources(batch)))).items()}
    asked = watched(original)
    losses = phase.step(batch, CLOCK)
    assert len(asked) == 1 and torch.equal(asked[0][0], sources(batch)) and not asked[0][1].requires_grad
    assert {key: float(value) for key, value in losses.items()} == pytest.approx(expected, rel=1e-5)
    assert {key.split(".")[0] for key in losses} == {"G/l", "G/r", "G/s"}


def test_stage_2_teaches_the_student_that_was_chosen_with_inherited_weights(method, batch_of):
    original = original_of(method)
    supernet = method.phase("supernet", {"original": original}).nets()["supernet"]
    arch = supernet.space.uniform(4, 1)
    phase = method.phase("distill", {"original": original, "supernet": supernet, "selection": Selection(arch)})
    batch, L_OD = batch_of(1), method.setting.l_od()
    with torch.no_grad():
        picture = shrink(supernet, arch)(sources(batch))
        expected = L_OD(L_OD.look(original(sources(batch))), L_OD.look(picture))
    losses = phase.step(batch, CLOCK)
    assert {k: float(v) for k, v in losses.items()} == pytest.approx(
        {f"student/{k}": float(v.mean()) for k, v in expected.items()}, rel=1e-5)
    assert set(phase.nets()) == {"student"} and phase.nets()["student"].config.arch == arch.text


def test_the_original_may_be_of_another_family_and_its_batch_norm_keeps_still(method, method_of, batch_of):
    """Its pictures are those of its running statistics, as whoever saved it saw them."""
    other = original_of(method_of("from-teacher", family="pix2pix-unet", levels=3))
    other.train()(batch_of(8).source)
    before = {name: tensor.clone() for name, tensor in other.state_dict().items()}
    phase = method.phase("supernet", {"original": other})  # still in training mode: the phase sees to that
    asked, batch = watched(other), batch_of(0)
    phase.step(batch, CLOCK)
    torch.testing.assert_close(asked[0][1], other.eval()(sources(batch)).detach(), rtol=0, atol=1e-5)
    assert all(torch.equal(tensor, before[name]) for name, tensor in other.state_dict().items())
    assert "none of the" in phase.about()["warm_start"]["text"]


def test_both_stages_come_nearer_to_the_original(method, batch_of):
    original, batch = original_of(method), batch_of(0, n=4)

    def course(phase, key):
        for player in phase.players.values():
            player.set_lr(10)
        seen = []
        for step in range(30):
            losses = phase.step(batch, CLOCK.at(step))
            seen.append(sum(float(value) for name, value in losses.items() if name.startswith(key)))
        return seen

    def first():
        return method.phase("supernet", {"original": original})

    for key in ("G/l", "G/s"):
        seen = course(first(), key)
        assert seen[-1] < 0.8 * seen[0], key
    supernet = first().nets()["supernet"]
    chosen = Selection(supernet.space.uniform(4, 1))
    seen = course(method.phase("distill", {"original": original, "supernet": supernet, "selection": chosen}), "student")
    assert seen[-1] < 0.8 * seen[0]


def test_it_begins_with_the_layers_that_fit(method):
    about = method.phase("supernet", {"original": original_of(method)}).about()
    assert about["warm_start"]["layers"] == ("stem", "down1", "down2", "up1", "up2", "head")
    assert "L_OD" in about["distillation"]["text"]
