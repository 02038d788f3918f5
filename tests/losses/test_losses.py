"""Losses against closed forms and plain programs; meaning before tolerance."""

import math

import pytest
import torch
import torch.nn.functional as F

from ugc.core.errors import UserError
from ugc.losses.adversarial import GAN_LOSSES, over_scales
from ugc.losses.distillation import DistillationConfig, OutputDistillation, summed
from ugc.losses.matching import feature_matching
from ugc.losses.perceptual import perceptual
from ugc.losses.reconstruction import l1
from ugc.losses.structure import gram, total_variation
from ugc.nn.ssim import ssim, ssim_lineage

CPU = torch.device("cpu")
SIG = torch.sigmoid


def pictures(seed, n=3, c=3, size=24):
    return torch.empty(n, c, size, size).uniform_(-1, 1, generator=torch.Generator().manual_seed(seed))


# Adversarial

PLAIN = {
    "hinge": (lambda r, f: (1 - r).clamp(min=0).mean() + (1 + f).clamp(min=0).mean(), lambda f: -f.mean()),
    "vanilla": (lambda r, f: -SIG(r).log().mean() - (1 - SIG(f)).log().mean(), lambda f: -SIG(f).log().mean()),
    "lsgan": (lambda r, f: ((r - 1) ** 2).mean() + (f**2).mean(), lambda f: ((f - 1) ** 2).mean())}
AT_ZERO = {"hinge": (2.0, 0.0), "vanilla": (2 * math.log(2), math.log(2)), "lsgan": (1.0, 1.0)}
every_gan = pytest.mark.parametrize("name", list(GAN_LOSSES))


@every_gan
def test_gan_losses_are_their_equations(doubles, name):
    real, fake = (3 * pictures(s, c=1).double() for s in (0, 1))
    assert float(GAN_LOSSES[name].d(real, fake)) == pytest.approx(float(PLAIN[name][0](real, fake)), rel=1e-12)
    assert float(GAN_LOSSES[name].g(fake)) == pytest.approx(float(PLAIN[name][1](fake)), rel=1e-12)
    zero = torch.zeros(2, 1, 3, 3)
    assert (float(GAN_LOSSES[name].d(zero, zero)), float(GAN_LOSSES[name].g(zero))) == pytest.approx(AT_ZERO[name])


@every_gan
def test_swapped_real_and_fake(name):
    """A judge who is right pays less than one who has it backwards; G wants what D calls real."""
    loss, high, low = GAN_LOSSES[name], torch.full((2, 1, 4, 4), 0.9), torch.full((2, 1, 4, 4), -0.9)
    assert loss.d(high, low) < loss.d(low, high)
    assert loss.g(high) < loss.g(low)
    real, fake = torch.zeros(1, requires_grad=True), torch.zeros(1, requires_grad=True)
    down = torch.autograd.grad(loss.d(real, fake), (real, fake))
    assert down[0] < 0 <= down[1]  # descent raises the score of the real; the fake's falls (lsgan: is at its aim)


@every_gan
def test_gan_losses_in_half_precision_and_far_out(name):
    far = torch.full((1, 1, 2, 2), 300.0)
    assert GAN_LOSSES[name].d(-far, far).isfinite() and GAN_LOSSES[name].g(-far).isfinite()
    half = GAN_LOSSES[name].d(far.half(), -far.half())
    assert half.dtype == torch.float32


def test_scales_are_added_up_or_averaged():
    each = [torch.tensor(value) for value in (1.0, 2.0, 6.0)]
    assert (float(over_scales(each, "sum")), float(over_scales(iter(each), "mean"))) == (9.0, 3.0)
    assert over_scales(each[:1], "sum") == over_scales(each[:1], "mean") == 1.0


# What D and a backbone see


def seen(seed, scales=2, layers=4, n=3):
    """Maps by scale and layer, as of a D whose layers halve."""
    return [[pictures(10 * seed + 4 * s + i, n, 2 + i, 16 >> (s + i // 2)) for i in range(layers)] for s in range(scales)]


def test_feature_matching_at_the_published_depth_is_both_equations():
    """pix2pixHD: 4 / (n_layers_D + 1) / num_D a map, n_layers_D = 3. SPADE: 1 / num_D a map. Four maps each, two scales."""
    fake, real = seen(0), seen(1)
    apart = [[float((a - b).abs().mean()) for a, b in zip(ours, theirs)] for ours, theirs in zip(fake, real)]
    found = float(feature_matching(fake, real).mean())
    assert found == pytest.approx(sum(4.0 / (3 + 1) * (1.0 / 2) * value for scale in apart for value in scale), rel=1e-6)
    assert found == pytest.approx(sum(value / 2 for scale in apart for value in scale), rel=1e-6)


def test_feature_matching_does_not_grow_with_depth_or_scales():
    zero, one = ([[torch.full((2, 3, 4, 4), value)] * 3 for _ in range(3)] for value in (0.0, 1.0))
    assert feature_matching(zero, one).tolist() == [4.0, 4.0]
    assert feature_matching([zero[0][:1]], [one[0][:1]]).tolist() == [4.0, 4.0]
    assert feature_matching(one, one).tolist() == [0.0, 0.0]
    with pytest.raises(ValueError):
        feature_matching(zero, one[:2])


def test_a_layer_counts_as_much_as_another_whatever_its_size():
    zero = [[torch.zeros(1, 2, 8, 8), torch.zeros(1, 5, 2, 2)]]
    parts = [feature_matching([[torch.ones(1, 2, 8, 8), zero[0][1]]], zero),
             feature_matching([[zero[0][0], torch.ones(1, 5, 2, 2)]], zero)]
    assert parts[0] == parts[1] == 2.0


def test_the_perceptual_term_is_weighted_l1_of_taps():
    fake, target = ([pictures(seed + i, c=c, size=size) for i, (c, size) in enumerate(((2, 8), (6, 4)))] for seed in (0, 5))
    expected = [sum(w * float((a[n] - b[n]).abs().mean()) for a, b, w in zip(fake, target, (0.25, 3.0))) for n in range(3)]
    assert perceptual(fake, target, (0.25, 3.0)).tolist() == pytest.approx(expected, rel=1e-6)
    assert perceptual(target, target, (0.25, 3.0)).tolist() == [0, 0, 0]
    with pytest.raises(ValueError):
        perceptual(fake, target, (1.0,))


def test_no_gradient_to_what_is_real():
    ours, theirs = (pictures(s).requires_grad_() for s in (0, 1))
    for loss in (feature_matching([[ours]], [[theirs]]), perceptual([ours], [theirs], (1.0,))):
        to_ours, to_theirs = torch.autograd.grad(loss.sum(), (ours, theirs), allow_unused=True)
        assert to_theirs is None and bool((to_ours != 0).any())
        assert loss.shape == (3,) and perceptual([ours.half()], [theirs], (1.0,)).dtype == torch.float32


# Reconstruction and structure


def test_l1():
    a, b = pictures(0), pictures(1)
    expected = [float((x - y).double().abs().sum() / x.numel()) for x, y in zip(a, b)]
    assert l1(a, b).tolist() == pytest.approx(expected, rel=1e-5)
    assert l1(a, a).tolist() == [0, 0, 0]
    assert l1(torch.ones(1, 1, 2, 2), -torch.ones(1, 1, 2, 2)).item() == 2


def test_gram_is_the_product_over_c_h_w():
    x = pictures(0, n=2, c=4, size=6)
    for i in range(2):
        for a in range(4):
            for b in range(4):
                assert float(gram(x)[i, a, b]) == pytest.approx(float((x[i, a] * x[i, b]).sum() / (4 * 6 * 6)), abs=1e-6)
    assert torch.equal(gram(torch.ones(1, 4, 3, 3)), torch.full((1, 4, 4), 1 / 4))
    torch.testing.assert_close(gram(3 * x), 9 * gram(x))
    twice = torch.cat([x, x], 3)  # a picture twice as wide has the same statistics
    torch.testing.assert_close(gram(twice), gram(x))
    torch.testing.assert_close(gram(x.flip(3)), gram(x))  # and does not say where things are


def test_total_variation_is_a_sum():
    x = torch.zeros(2, 1, 4, 4)
    x[0, 0, 1, 1] = 1.0  # four edges of height 1
    assert total_variation(x).tolist() == [4.0, 0.0]
    edge = torch.zeros(1, 1, 4, 6)
    edge[..., 3:] = 2.0
    assert total_variation(edge).item() == 8.0
    assert total_variation(edge.repeat(1, 3, 1, 1)).item() == 24.0  # over channels, too
    assert total_variation(edge.repeat(1, 1, 2, 1)).item() == 16.0  # twice the picture, twice the sum


# L_OD


def output_loss(**fields):
    return OutputDistillation(DistillationConfig(**{"backbone": "none", **fields}), CPU)


@pytest.fixture(scope="module")
def with_lite0():
    return OutputDistillation(DistillationConfig(backbone="lite0", l1=2.0, ssim=3.0, feature=0.7, style=5.0, tv=1e-4), CPU)


def test_without_a_backbone():
    loss = output_loss()
    T, S = pictures(0), pictures(1)
    parts = loss(loss.look(T), loss.look(S))
    assert loss.weights == {"ssim": 10.0, "feature": 0.0, "style": 0.0, "tv": 1e-5, "l1": 0.0}
    assert set(parts) == {"ssim", "tv"} and loss.backbone is None
    torch.testing.assert_close(parts["ssim"], 10 * (1 - ssim(T, S)))
    torch.testing.assert_close(parts["tv"], 1e-5 * total_variation(S))
    torch.testing.assert_close(summed(parts), parts["ssim"] + parts["tv"])


def test_every_part_against_a_plain_program(with_lite0):
    T, S = pictures(0, c=1, size=64), pictures(1, c=1, size=64)
    parts = with_lite0(with_lite0.look(T), with_lite0.look(S))
    net = with_lite0.backbone
    with torch.no_grad():
        taps_T, taps_S = net(T), net(S)
    style = torch.zeros(3, dtype=torch.float64)
    for i in net.style_taps:
        a, b = taps_T[i].double().flatten(2), taps_S[i].double().flatten(2)
        _, c, p = a.shape
        style += ((a @ a.transpose(1, 2) - b @ b.transpose(1, 2)) / (c * p)).abs().sum((1, 2)) / c**2
    feature = (taps_T[net.feature_tap] - taps_S[net.feature_tap]).double().abs().flatten(1).mean(1)
    expected = {"ssim": 3.0 * (1 - ssim(T.double(), S.double())), "feature": 0.7 * feature, "style": 5.0 * style,
                "tv": 1e-4 * total_variation(S).double(), "l1": 2.0 * (T - S).double().abs().flatten(1).mean(1)}
    assert set(parts) == set(expected)
    for name, value in expected.items():
        torch.testing.assert_close(parts[name].double(), value, rtol=2e-4, atol=1e-6, msg=name)


def test_ssim_forms():
    T, S = pictures(0), pictures(1)
    loss = output_loss(ssim_form="lineage", ssim=1.0, tv=0.0)
    torch.testing.assert_close(loss(loss.look(T), loss.look(S))["ssim"], 1 - ssim_lineage(T, S))


def test_a_perfect_student_pays_for_its_own_variation_only(with_lite0):
    T = pictures(0, c=1, size=64)
    look = with_lite0.look(T)
    parts = with_lite0(look, look)
    for name, value in parts.items():
        expected = 1e-4 * total_variation(T) if name == "tv" else torch.zeros(3)
        torch.testing.assert_close(value, expected, atol=1e-5, rtol=1e-5, msg=name)


def test_a_collapsed_student_pays_more_than_a_near_one(with_lite0):
    T = F.interpolate(pictures(0, c=1, size=16), scale_factor=4)
    near, collapsed = T + 0.05 * pictures(1, c=1, size=64), torch.zeros_like(T)
    look = with_lite0.look(T)
    near, collapsed = (with_lite0(look, with_lite0.look(S)) for S in (near, collapsed))
    assert all((near[name] < collapsed[name]).all() for name in ("ssim", "feature", "style", "l1"))


def test_gradient_goes_to_the_student_only(with_lite0):
    T, S = (pictures(s, c=1, size=64).requires_grad_() for s in (0, 1))
    for name, part in with_lite0(with_lite0.look(T), with_lite0.look(S)).items():
        to_T, to_S = torch.autograd.grad(part.sum(), (T, S), allow_unused=True, retain_graph=True)
        assert to_T is None and to_S is not None and to_S.abs().max() > 0, name


def test_a_look_used_again_is_a_fresh_look(with_lite0):
    T, S, other = (pictures(s, c=1, size=64) for s in range(3))
    look = with_lite0.look(T)
    with_lite0(look, with_lite0.look(other)), with_lite0(look.detached(), with_lite0.look(other))
    again, fresh = with_lite0(look, with_lite0.look(S)), with_lite0(with_lite0.look(T), with_lite0.look(S))
    assert all(torch.equal(again[name], fresh[name]) for name in fresh)


def test_rows_of_a_look_are_looks_at_rows(with_lite0):
    """Also: one number an image, whatever else is in the batch."""
    T, S = (pictures(s, c=1, size=64) for s in (0, 1))
    whole = with_lite0(with_lite0.look(T), with_lite0.look(S))
    rows = with_lite0(with_lite0.look(T).rows(1, 3), with_lite0.look(S).rows(1, 3))
    alone = with_lite0(with_lite0.look(T[1:]), with_lite0.look(S[1:]))
    for name, value in whole.items():
        assert value.shape == (3,)
        assert torch.equal(rows[name], value[1:]), name
        torch.testing.assert_close(alone[name], value[1:], rtol=1e-4, atol=1e-6, msg=name)


def test_weights_scale_their_part():
    T, S = pictures(0), pictures(1)
    one, two = output_loss(ssim=1.0, tv=1.0, l1=1.0), output_loss(ssim=2.0, tv=0.0, l1=0.5)
    a, b = (loss(loss.look(T), loss.look(S)) for loss in (one, two))
    assert set(b) == {"ssim", "l1"}
    torch.testing.assert_close(b["ssim"], 2 * a["ssim"])
    torch.testing.assert_close(b["l1"], 0.5 * a["l1"])


def test_a_weight_of_none_is_the_backbones_own(with_lite0):
    own = OutputDistillation(DistillationConfig(backbone="lite0", ssim=4.0), CPU)
    assert own.weights == {**own.backbone.lambdas, "ssim": 4.0, "l1": 0.0}
    assert own.text.startswith("L_OD on lite0: ssim 4")


def test_no_backbone_is_loaded_where_none_is_used(monkeypatch):
    monkeypatch.setattr("ugc.losses.distillation.load_backbone", lambda *a: pytest.fail("loaded"))
    loss = OutputDistillation(DistillationConfig(backbone="vgg16", feature=0, style=0), CPU)
    assert loss.backbone is None and loss.weights["ssim"] == 10.0


def test_half_precision_pictures_are_compared_in_full():
    loss = output_loss(l1=1.0)
    T, S = pictures(0).bfloat16(), pictures(1).bfloat16()
    for part, exact in zip(loss(loss.look(T), loss.look(S)).values(),
                           loss(loss.look(T.float()), loss.look(S.float())).values()):
        assert part.dtype == torch.float32 and torch.equal(part, exact)


@pytest.mark.parametrize("fields, why", [
    ({"backbone": "none", "ssim": 0, "tv": 0}, "all its weights are 0"),
    ({"backbone": "none", "style": 100}, "need a backbone"), ({"backbone": "none", "feature": 1}, "need a backbone"),
    ({"backbone": "lite0", "order": "text"}, "lite0 has no such weights"),
    ({"backbone": "none", "order": "text"}, "none has no such weights")])
def test_a_distillation_that_cannot_be_is_refused_before_anything_is_trained(fields, why):
    with pytest.raises(UserError, match=why):
        DistillationConfig(**fields).resolved()
    with pytest.raises(ValueError, match="greater than or equal to 0"):
        DistillationConfig(l1=-1)
    assert DistillationConfig(backbone="none", ssim=0, tv=0, l1=1).resolved().l1 == 1
