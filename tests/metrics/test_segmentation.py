"""IoU out of confusion matrices: closed forms, a reference of plain loops, the contract of a segmenter."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from ugc.core.errors import UserError
from ugc.core.palettes import IGNORED
from ugc.metrics.drn_cityscapes import TRAIN_IDS
from ugc.metrics.protocols import METRICS, ordered
from ugc.metrics.segmentation import SEGMENTERS, Offer, Segmenter, confusion, intervals, numbers, offer


def maps(n, classes, seed, ignored=0.1, shape=(9, 7)):
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, classes, (n, *shape))
    truth[rng.random(truth.shape) < ignored] = IGNORED
    found = np.where(rng.random(truth.shape) < 0.6, truth % classes, rng.integers(0, classes, truth.shape))
    return torch.from_numpy(truth.astype(np.uint8)), torch.from_numpy(found)


def by_loops(truth, found, classes):
    """The definition, pixel by pixel."""
    table = [[0] * classes for _ in range(classes)]
    for t, p in zip(truth.flatten().tolist(), found.flatten().tolist()):
        if t != IGNORED:
            table[t][p] += 1
    ious, shares, right, total = [], [], 0, sum(map(sum, table))
    for k in range(classes):
        own, there = table[k][k], sum(table[k])
        union = there + sum(row[k] for row in table) - own
        right += own
        if union:
            ious.append(own / union)
            shares.append(there / total * own / union)
    return {"miou": 100 * sum(ious) / len(ious), "pixel_accuracy": 100 * right / total, "fwiou": 100 * sum(shares)}


@pytest.mark.parametrize("classes", [2, 5, 19])
def test_against_plain_loops(classes):
    truth, found = maps(3, classes, classes)
    table = confusion(truth, found, classes)
    assert table.shape == (3, classes, classes) and int(table.sum()) == int((truth != IGNORED).sum())
    assert numbers(table) == pytest.approx(by_loops(truth, found, classes), rel=1e-12)
    assert torch.equal(torch.cat([confusion(truth[i:i + 1], found[i:i + 1], classes) for i in range(3)]), table)


def test_closed_forms():
    truth = torch.tensor([[[0, 0, 1, 1, IGNORED]]])

    def of(*found):
        return numbers(confusion(truth, torch.tensor([[list(found)]]), 4))

    assert of(0, 0, 1, 1, 3) == {"miou": 100, "pixel_accuracy": 100, "fwiou": 100}  # class 3 lies where nothing counts
    assert of(1, 1, 0, 0, 0) == {"miou": 0, "pixel_accuracy": 0, "fwiou": 0}
    # all is class 0: IoU 2 / 4 and 0
    assert of(0, 0, 0, 0, 0) == {"miou": 25, "pixel_accuracy": 50, "fwiou": 25}
    # one pixel is taken for class 2, which is nowhere: 2/2, 1/2 and 0 of three classes; it has no share of the truth
    assert of(0, 0, 1, 2, 0) == pytest.approx({"miou": 50, "pixel_accuracy": 75, "fwiou": 75})
    assert numbers(confusion(torch.full((1, 2, 2), IGNORED), torch.zeros(1, 2, 2), 3)) == {}


def test_matrices_are_pooled_not_averaged():
    """A rare class counts by all its pixels at once: 1 of 1 in one image and 0 of 3 in another is 1 of 4."""
    truth, found = torch.tensor([[[0, 0, 0, 1]], [[0, 1, 1, 1]]]), torch.tensor([[[0, 0, 0, 1]], [[0, 0, 0, 0]]])
    assert numbers(confusion(truth, found, 2))["miou"] == pytest.approx(100 * (4 / 7 + 1 / 4) / 2)


def test_intervals_hold_the_number_and_tighten_with_more_images():
    truth, found = maps(200, 5, 1)
    few, many = (intervals(confusion(truth[:n], found[:n], 5)) for n in (20, 200))
    value = numbers(confusion(truth, found, 5))
    for kind in ("miou", "pixel_accuracy", "fwiou"):
        assert many[kind][0] < value[kind] < many[kind][1]
        assert 2 < (few[kind][1] - few[kind][0]) / (many[kind][1] - many[kind][0]) < 5  # about the root of ten
    assert intervals(confusion(truth[:15], found[:15], 5)) == {}


def test_an_interval_is_the_spread_of_fresh_draws():
    draws = torch.tensor([numbers(confusion(*maps(40, 3, seed), 3))["miou"] for seed in range(200)])
    low, high = intervals(confusion(*maps(40, 3, 999), 3))["miou"]
    fresh = torch.quantile(draws, 0.975) - torch.quantile(draws, 0.025)
    assert float((high - low) / fresh) == pytest.approx(1, abs=0.35)


class Colours(nn.Module):
    """A toy: the score of a class is the nearness of the picture's half-size pixels to its colour."""

    def __init__(self, colours):
        super().__init__()
        self.register_buffer("colours", torch.tensor(colours, dtype=torch.float32).view(1, -1, 3, 1, 1))

    def forward(self, pictures):
        small = nn.functional.avg_pool2d(pictures, 2)
        return -(small[:, None] - self.colours).square().sum(2)


def toy(**fields):
    net = Colours([(-1, -1, -1), (1, 1, 1), (1, -1, -1)])
    return Segmenter("toy", net, 3, {7: 0, 8: 1, 26: 2}, {"weights_sha256": "none"}, **fields)


def test_any_module_that_scores_classes_is_a_segmenter():
    one = toy()
    labels = torch.tensor([[7, 7, 8, 8], [7, 7, 8, 8], [26, 26, 0, 0], [26, 26, 255, 3]], dtype=torch.uint8)[None]
    labels = labels.repeat_interleave(4, 1).repeat_interleave(4, 2)
    truth = one.truth(labels)
    assert set(truth.unique().tolist()) == {0, 1, 2, IGNORED} and (truth == IGNORED).sum() == 4 * 16
    colours = torch.tensor([(-1, -1, -1), (1, 1, 1), (1, -1, -1), (0, 0, 0)]).float()
    picture = colours[torch.where(truth == IGNORED, 3, truth).long()].permute(0, 3, 1, 2)
    found = one.found(picture, (16, 16))
    assert found.shape == (1, 16, 16) and numbers(confusion(truth, found, 3))["pixel_accuracy"] == 100


def test_a_segmenter_is_plugged_in_by_its_offer():
    one = Offer("toy", "mine", "a toy", lambda download: toy())
    try:
        offer(one)
        assert SEGMENTERS["toy"].load(False).name == "toy"
        names = [metric.name for metric in ordered()]
        at = [names.index(f"{kind}_toy") for kind in ("miou", "pixel_accuracy", "fwiou")]
        assert at == sorted(at) and max(at) < names.index("psnr") and METRICS["miou_toy"].better == "higher"
    finally:
        for registry, keys in ((SEGMENTERS, ("toy",)), (METRICS, ("miou_toy", "pixel_accuracy_toy", "fwiou_toy"))):
            for key in keys:
                registry._things.pop(key, None)
    with pytest.raises(UserError, match="unknown segmenter"):
        SEGMENTERS["toy"]


@pytest.mark.parametrize(("have", "want"), [((64, 64), (256, 128)), ((24, 48), (100, 90)), ((64, 96), (32, 40))])
def test_scores_are_resized_as_pillow_does_channel_by_channel(have, want):
    scores = torch.randn(1, 5, *have, generator=torch.Generator().manual_seed(0))

    class Fixed(nn.Module):
        def forward(self, pictures):
            return scores

    planes = [np.asarray(Image.fromarray(plane.numpy()).resize(want[::-1], Image.Resampling.BILINEAR))
              for plane in scores[0]]
    resized = nn.functional.interpolate(scores, want, mode="bilinear", align_corners=False, antialias=True)
    np.testing.assert_allclose(resized[0].numpy(), np.stack(planes), atol=3e-5)  # float32 grids
    found = Segmenter("fixed", Fixed(), 5, {}).found(torch.zeros(1, 3, *have), want)
    assert (found[0].numpy() == np.stack(planes).argmax(0)).mean() > 0.999


def test_cityscapes_train_ids():
    """The public table, by a few of its rows: id -> train id; what is not among the 19 is ignored."""
    assert len(TRAIN_IDS) == 19 and sorted(TRAIN_IDS.values()) == list(range(19))
    assert {7: 0, 8: 1, 11: 2, 17: 5, 21: 8, 23: 10, 24: 11, 26: 13, 28: 15, 31: 16, 33: 18}.items() <= TRAIN_IDS.items()
    assert not {0, 1, 4, 9, 10, 14, 15, 16, 18, 29, 30, 34, 255} & set(TRAIN_IDS)
