"""L_sup: what is asked how often, who moves, which terms there are, what is said of it."""

import pytest
import torch

from ugc.core.clock import Clock
from ugc.core.errors import UserError
from ugc.losses.adversarial import GAN_LOSSES
from ugc.methods.method import Selection
from ugc.methods.objective import ObjectiveConfig, Supervised

CLOCK = Clock(4)
CPU = torch.device("cpu")
HEIR = {"objective": {"gan": "lsgan", "scales": "sum", "lambda_recon": 0, "lambda_features": 10, "lambda_perceptual": 10,
                      "backbone": "lite0"}, "patch": {"ndf": 8, "scales": 2, "padding": 2, "spectral": True}}


@pytest.fixture
def stages(method_of):
    """stages(**setting) -> the phases original, supernet and distill."""

    def make(**setting):
        original, method = method_of("original", **setting), method_of("ugc", **setting)
        supernet = method.phase("supernet", {})
        space = supernet.space
        inherited = {"supernet": supernet.nets()["supernet"], **supernet.left(),
                     "selection": Selection(space.smallest, space.largest, space.largest)}
        return original.phase("original", {}), supernet, method.phase("distill", inherited)

    return make


def test_the_backbone_sees_a_target_once_a_step(stages, batch_of, eyes, monkeypatch):
    """Once y, and once each picture that learns from it: also where two teachers learn from the same y."""
    seen, taps = [], type(eyes).taps
    monkeypatch.setattr(type(eyes), "taps", lambda self, images: seen.append(images.requires_grad) or taps(self, images))
    for phase, pictures in zip(stages(**HEIR), (1, 1, 2)):
        seen.clear()
        phase.step(batch_of(0), CLOCK)
        assert (seen.count(False), seen.count(True)) == (1, pictures)


def test_no_pixel_term_where_its_weight_is_zero(stages, batch_of, eyes, monkeypatch):
    monkeypatch.setattr("ugc.methods.objective.l1", lambda *a: pytest.fail("computed"))
    for phase in stages(**HEIR):
        losses = phase.step(batch_of(0), CLOCK)
        for player in {key.split("/")[0] for key in losses} & {"G", "deep", "wide"}:
            parts = {key.split("/")[1] for key in losses if key.startswith(f"{player}/") and "." not in key}
            assert parts == {"gan", "features", "perceptual"}


def test_pix2pix_needs_no_backbone_and_no_maps(stages, batch_of, monkeypatch):
    monkeypatch.setattr("ugc.methods.objective.load_backbone", lambda *a: pytest.fail("loaded"))
    monkeypatch.setattr("ugc.methods.objective.feature_matching", lambda *a: pytest.fail("computed"))
    for phase in stages():
        assert {"recon", "gan"} <= {key.split("/")[1] for key in phase.step(batch_of(0), CLOCK)}


@pytest.fixture
def heir(method_of, eyes):
    """A fresh phase `original` with the heirs' objective: G, D and the objective."""
    return method_of("original", **HEIR).phase("original", {})


def test_features_and_perception_are_nothing_where_the_picture_is_the_target(heir, batch_of):
    pairs = heir.objective.pairs(batch_of(0).source, batch_of(0).target, CLOCK)
    same, other = (heir.objective.g_parts(heir.D, pairs, fake) for fake in (pairs.y, -pairs.y))
    assert float(same["perceptual"].detach().abs().max()) == 0 and float(same["features"].detach().abs().max()) < 1e-4
    assert float(other["features"].detach().min()) > 0 and float(other["perceptual"].detach().min()) > 0


def test_the_generators_loss_moves_the_generator_alone(heir, batch_of):
    """Not a weight, not a vector of spectral norm of D; and D's maps of the target carry no gradient at all."""
    pairs = heir.objective.pairs(batch_of(0).source, batch_of(0).target.requires_grad_(), CLOCK)
    before = {k: v.clone() for k, v in heir.D.net.state_dict().items()}
    parts = heir.objective.g_parts(heir.D, pairs, heir.G(pairs.x))
    for part in ("features", "perceptual"):
        (to_target,) = torch.autograd.grad(parts[part].sum(), [pairs.y], allow_unused=True, retain_graph=True)
        assert to_target is None
    heir.G.learn([torch.stack([part.mean() for part in parts.values()]).sum()])
    after = heir.D.net.state_dict()
    assert all(torch.equal(after[k], before[k]) for k in before)


def test_features_are_of_the_discriminator_that_has_just_learnt(heir, batch_of, monkeypatch):
    """D's maps of y are taken after its update, not handed on from its own loss."""
    found, g_parts = [], heir.objective.g_parts

    def watched(D, pairs, fake):
        parts = g_parts(D, pairs, fake)
        found.append((float(parts["features"].detach().mean()), float(g_parts(D, pairs, fake)["features"].detach().mean())))
        return parts

    monkeypatch.setattr(heir.objective, "g_parts", watched)
    batch = batch_of(0)
    with torch.no_grad():
        pairs = heir.objective.pairs(batch.source, batch.target, CLOCK)
        before = float(g_parts(heir.D, pairs, heir.G(batch.source))["features"].mean())
    losses = heir.step(batch, CLOCK)
    ((logged, again),) = found
    assert float(losses["G/features"]) == logged == again != before


def test_sum_and_mean_over_scales_and_ds_factor(method_of, batch_of, eyes):
    """pix2pixHD's D pays for both scales, halved; GauGAN's the mean of both, whole: at two scales the same number."""
    batch, values = batch_of(0), {}
    for scales, factor in (("sum", 0.5), ("mean", 1.0), ("mean", 0.5)):
        config = {**HEIR["objective"], "scales": scales, "d_factor": factor}
        phase = method_of("original", objective=config, patch=HEIR["patch"]).phase("original", {})
        losses = phase.step(batch, CLOCK)
        values[scales, factor] = float(losses["D/gan"])
    assert values["sum", 0.5] == pytest.approx(values["mean", 1.0]) == pytest.approx(2 * values["mean", 0.5])


def test_least_squares_aim_at_one_and_zero():
    loss, ones = GAN_LOSSES["lsgan"], torch.ones(2, 1, 3, 3)
    assert float(loss.d(ones, 0 * ones)) == 0 == float(loss.g(ones))
    assert float(loss.d(0 * ones, ones)) == 2 and float(loss.g(0 * ones)) == 1
    assert float(loss.d(2 * ones, -ones)) == 2  # overshooting is punished, too


def test_it_says_what_it_is(eyes):
    config = ObjectiveConfig(**HEIR["objective"]).resolved()
    about = Supervised(config, CPU).about
    assert about["text"] == ("L_sup: lsgan, sum over scales, D x 0.5: gan 1, features 10, perceptual 10; perceptual term on "
                             "eyes, taps x 0.5, 2")
    plain = Supervised(ObjectiveConfig().resolved(), CPU).about
    assert plain["text"] == "L_sup: hinge, mean over scales, D x 0.5: gan 1, recon 100" and plain["weights_sha256"] is None


def test_what_cannot_be_is_refused():
    with pytest.raises(UserError, match="nothing is learnt"):
        ObjectiveConfig(lambda_gan=0).resolved({"lambda_recon": 0.0})
    with pytest.raises(UserError, match="needs a backbone"):
        ObjectiveConfig(backbone="none").resolved({"lambda_perceptual": 10.0})
    assert ObjectiveConfig(backbone="vgg19").resolved().backbone == "none"  # no term, no backbone


def test_an_augmented_discriminator_sees_real_and_fake_alike(method_of, batch_of):
    """One t for y and G(x) of a step, another in the next; its source with it; off, pictures are seen as they are."""
    batch = batch_of(0)
    phase = method_of("original", objective={"augment": True}).phase("original", {})
    seen, judge = [], phase.D.net.judge
    phase.D.net.judge = lambda *pictures: seen.append(pictures) or judge(*pictures)
    told = []
    for step in (0, 0, 1):
        pairs = phase.objective.pairs(batch.source, batch.target, CLOCK.at(step))
        phase.objective.d_parts(phase.D, pairs, batch.target.clone())
        phase.objective.g_parts(phase.D, pairs, batch.target.clone())
        (source, real, fake), (again, answer) = seen[-2:]
        assert torch.equal(real, fake) and torch.equal(answer, fake) and torch.equal(source, again)
        assert not torch.equal(source, batch.source) and not torch.equal(real, batch.target)
        told.append(real)
    assert torch.equal(told[0], told[1]) and not torch.equal(told[0], told[2])
    plain = method_of("original").phase("original", {}).objective
    assert plain.pairs(batch.source, batch.target, CLOCK).twist is None and plain.twist(batch.source, CLOCK, "U") is None


def test_augmentation_changes_what_discriminators_see_and_nothing_else(method_of, batch_of):
    """The pixel loss is of pictures as they are; unlabelled ones are scored in a light of their own."""
    batch, found = batch_of(0), {}
    for augment in (False, True):
        phase = method_of("original", objective={"augment": augment}).phase("original", {})
        found[augment] = phase.step(batch, CLOCK)
    assert float(found[True]["G/recon"]) == float(found[False]["G/recon"])
    assert float(found[True]["D/gan"]) != float(found[False]["D/gan"])
    objective = phase.objective
    assert objective.twist(batch.source, CLOCK, "U").shift != objective.twist(batch.source, CLOCK, "A").shift
    assert objective.twist(batch.source[:0], CLOCK, "U") is None
