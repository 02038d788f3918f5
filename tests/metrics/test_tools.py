"""Which numbers there are with which networks, and what is said of them."""

import pytest
import torch

from ugc.metrics.features import BODY, POOL3, Extractor
from ugc.metrics.frechet import Gaussian, frechet_distance
from ugc.metrics.kernel import kernel_distance
from ugc.metrics.scoring import FEW, Score, floor, halves, score, warnings
from ugc.metrics.tools import Tools, tools_at_hand


class Stand(Extractor):
    """In the place of a network: fixed mixtures of the pixels of 8x8 images."""

    def __init__(self, space, d):
        self.device, self.spaces = torch.device("cpu"), {space: d}
        self.mixture = torch.randn(64, d, generator=torch.Generator().manual_seed(d))
        self.seen = 0

    @property
    def provenance(self):
        return {"extractor": "a stand-in"}

    def vectors(self, images):
        self.seen += len(images)
        return {space: images.flatten(1) @ self.mixture for space in self.spaces}


def pictures(n, seed, shift=0.0):
    return (torch.rand(n, 1, 8, 8, generator=torch.Generator().manual_seed(seed)) * 2 - 1 + shift).clamp(-1, 1)


def test_the_literatures_names_are_for_its_network_only():
    x, y = pictures(40, 1), pictures(40, 2, 0.2)
    inception, lite0 = Stand(POOL3, 24), Stand(BODY, 20)
    alone = score([(x, y)], Tools((inception,))).row
    assert {"fid", "kid"} <= set(alone) and "fd_efflite0" not in alone
    a, b = (images.flatten(1) @ inception.mixture for images in (x, y))
    assert alone["fid"] == pytest.approx(frechet_distance(Gaussian.of(a), Gaussian.of(b)), rel=1e-4)
    assert alone["kid"] == pytest.approx(kernel_distance(a.double(), b.double()), rel=1e-4)
    both = score([(x, y)], Tools((lite0, inception))).row
    assert both["fid"] == alone["fid"] and "fd_efflite0" in both
    assert "fid" not in score([(x, y)], Tools((lite0,))).row


def test_a_score_has_intervals_and_the_floors_count_and_known_targets_are_not_seen_again():
    x, y = pictures(40, 1), pictures(40, 2, 0.2)
    tools = Tools((Stand(BODY, 20),))
    whole = score(zip(x.split(7), y.split(7)), tools)
    low, high = whole.intervals["fd_efflite0"]
    assert low < whole.row["fd_efflite0"] < high
    one, other = halves(40)
    assert whole.half["fd_efflite0"] == pytest.approx(
        score([(x[one], y[other])], tools).row["fd_efflite0"], rel=1e-5)
    assert len({*one.tolist(), *other.tolist()}) == 40 and len(halves(41)[0]) == len(halves(41)[1]) == 20
    targets = tools.collect(y.split(9))
    before = tools.extractors[0].seen
    again = score([(x, y)], tools, targets)
    assert tools.extractors[0].seen == before + 40 and again.row == pytest.approx(whole.row, rel=1e-5)
    assert score([(x[:15], y[:15])], tools).intervals == {}


def test_two_scores_of_the_same_answers_keep_their_names_apart():
    one, other = Score({"psnr": 1.0}), Score({"psnr": 2.0, "fid": 3.0}, {"fid": (2.0, 4.0)}, {"fid": 5.0})
    both = one.beside(other, "_to_original")
    assert both.row == {"psnr": 1.0, "psnr_to_original": 2.0, "fid_to_original": 3.0}
    assert both.intervals == {"fid_to_original": (2.0, 4.0)} and both.half == {"fid_to_original": 5.0}


def test_the_floor_is_real_against_real():
    """Between a perfect answer's halves: kd about 0, fd its bias; far below answers that are off."""
    tools = Tools((Stand(BODY, 20),))
    targets = tools.features(pictures(200, 1))
    near, far = floor(targets), score([(pictures(200, 2, 0.5), pictures(200, 1))], tools, targets)
    assert near.row == near.half and 0 < near.row["fd_efflite0"] < far.half["fd_efflite0"] / 2


def test_means_over_images_by_judges():
    judge = {"lpips": lambda x, y: (x - y).abs().amax((1, 2, 3))}
    x, y = torch.zeros(3, 1, 16, 16), torch.full((3, 1, 16, 16), 0.25)
    assert score([(x, y)], Tools(judges=judge)).row["lpips"] == 0.25
    assert "lpips" not in score([(x[..., :15], y[..., :15])], Tools(judges=judge)).row  # VGG-16 halves four times
    assert "lpips" not in score([(x, y)]).row


def test_few_images_are_said_aloud():
    assert warnings(FEW) == [] and FEW == 2048
    assert warnings(2047)[0].startswith("WARNING: 2,047 test images, fewer than 2,048")


def test_lite0_is_always_at_hand_and_says_what_it_is(tmp_path, monkeypatch):
    for name in ("UGC_INCEPTION", "UGC_VGG16"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("UGC_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    tools = tools_at_hand()
    assert [type(e).__name__ for e in tools.extractors] == ["Lite0Extractor"] and not tools.judges
    assert tools.provenance["extractor"] == "efficientnet-lite0" and len(tools.provenance["weights_sha256"]) == 64
