"""Palette accuracy by region: closed forms, speckle, seams, and connected sets against scipy."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from ugc.metrics.protocols import METRICS
from ugc.metrics.regions import OPENMOJI, connected, palette_accuracy
from ugc.metrics.scoring import score

WHITE, BLACK, YELLOW, RED, BLUE = ("ffffff", "000000", "fcea2b", "ea5a47", "92d3f5")


def colour(text):
    return torch.tensor(list(bytes.fromhex(text))).view(3, 1, 1) / 127.5 - 1


def drawing(left=YELLOW, right=RED, wide=10):
    """A white page of 20x20 with two fields, 10 x (wide - 1) and 10 x (18 - wide) pixels, and a line between."""
    page = colour(WHITE).expand(3, 20, 20).clone()
    page[:, 5:15, 1:19] = colour(right)
    page[:, 5:15, 1:1 + wide] = colour(left)
    page[:, 5:15, wide:wide + 1] = colour(BLACK)
    return page[None]


def of(prediction, target):
    return palette_accuracy(prediction, target).item()


def test_a_perfect_picture_a_white_page_and_wrong_colours():
    truth = drawing()
    assert of(truth, truth) == 1
    assert of(torch.ones_like(truth), truth) == 0 and of(-torch.ones_like(truth), truth) == 0
    assert of(drawing(RED, YELLOW), truth) == 0
    left = 9 / (9 + 8)  # columns of each field; the line is in neither
    assert of(drawing(YELLOW, BLUE), truth) == pytest.approx(left)
    assert of(drawing(BLUE, RED), truth) == pytest.approx(1 - left)


def test_what_is_near_counts_and_what_the_ground_and_the_lines_are_does_not():
    truth = drawing()
    assert of((truth + 0.05).clamp(-1, 1), truth) == 1
    ground = (truth == colour(WHITE)).all(1, keepdim=True) | (truth == colour(BLACK)).all(1, keepdim=True)
    assert of(torch.where(ground, colour(RED), truth), truth) == 1


def test_speckle_below_half_is_forgiven_and_half_is_not():
    truth = drawing()
    speckled = truth.clone()
    speckled[:, :, 5:15:2, 1:19] = colour(BLUE)  # every other row of ten
    assert of(speckled, truth) == 0, "no more of its own colour than of another"
    speckled[:, :, 5, 1:19] = truth[:, :, 5, 1:19]
    assert of(speckled, truth) == 1
    mixed = truth.clone()
    for row, text in zip(range(5, 11), (BLUE, "d0cfce", "a57939", "d22f27", "b1cc33", "61b2e4")):
        mixed[0, :, row:row + 1, 1:19] = colour(text)
    assert of(mixed, truth) == 1, "four rows of ten are more than any other colour has"


def test_the_target_says_where_regions_are():
    """Swapped, a page with one field is judged by that field alone."""
    both, one = drawing(), drawing(YELLOW, WHITE)
    assert of(one, both) == pytest.approx(9 / 17) and of(both, one) == 1


def test_regions_are_apart_though_of_one_colour():
    """Two fields of one colour: the small one is lost by itself."""
    truth = drawing(YELLOW, YELLOW, wide=15)
    half = truth.clone()
    half[..., 16:] = 1
    assert of(half, truth) == pytest.approx(14 / 17)


def test_seams_and_colours_between_make_no_region():
    page = torch.ones(1, 3, 8, 8)
    page[..., 2, 2:5] = colour(YELLOW)[..., 0]  # three pixels
    page[..., 5:7, 2:6] = (colour(YELLOW)[..., None] + 5 / 127.5)[0]  # 5 of 255 off
    assert palette_accuracy(page, page).isnan().all()
    page[..., 2, 2:6] = colour(YELLOW)[..., 0]
    assert of(page, page) == 1


def test_images_without_a_region_are_left_out_of_the_mean():
    blank, truth = torch.ones(1, 3, 20, 20), drawing()
    two = torch.cat([truth, blank])
    assert palette_accuracy(two, two).tolist() == pytest.approx([1, float("nan")], nan_ok=True)
    for batches in ([(two, two)], [(blank, blank), (truth, truth)]):  # each keeps its place
        found = score(batches, data="openmoji")
        assert found.row["palette_accuracy"] == 1
        assert len(found.each["palette_accuracy"]) == 2 and found.each["palette_accuracy"].isnan().sum() == 1
    assert "palette_accuracy" not in score([(blank, blank)], data="openmoji").row
    assert np.isnan(score([(torch.full_like(truth, torch.nan), truth)]).row["psnr"]), "a broken answer is not left out"


def test_no_other_data_get_the_row():
    truth = drawing()
    assert "palette_accuracy" not in score([(truth, truth)]).row
    assert "palette_accuracy" not in score([(truth, truth)], data="sans2serif").row
    grey = truth[:, :1]
    assert "palette_accuracy" not in score([(grey, grey)], data="openmoji").row
    with pytest.raises(ValueError, match="3 channels"):
        palette_accuracy(grey, grey)
    assert METRICS["palette_accuracy"].better == "higher" and len(set(OPENMOJI)) == 24


@pytest.mark.parametrize("values", [2, 4])
def test_connected_sets_are_scipys(values):
    kinds = torch.randint(values, (3, 23, 17), generator=torch.Generator().manual_seed(0))
    kinds[0, ::2] = 1  # long ways
    kinds[0, 1::4, :-1] = kinds[0, 3::4, 1:] = 0
    numbers = connected(kinds).numpy()
    for image, mine in zip(kinds.numpy(), numbers):
        sets = np.zeros_like(image)
        for value in range(values):
            labels, _ = ndimage.label(image == value)
            sets = np.where(labels > 0, labels + sets.max(), sets)
        pairs = {(a, b) for a, b in zip(mine.flatten(), sets.flatten())}
        assert len(pairs) == len(np.unique(mine)) == len(np.unique(sets))
    assert len(np.unique(numbers)) == sum(len(np.unique(one)) for one in numbers), "no set reaches into another image"
