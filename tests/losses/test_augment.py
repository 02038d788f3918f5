"""What a discriminator sees of a picture: shifted, with a hole, in another light; with a gradient."""

import pytest
import torch

from ugc.losses.augment import Twist, draw

NEUTRAL = torch.tensor([0.5, 0.5, 0.5]).view(1, 3, 1, 1, 1)  # no brightness added, saturation and contrast 1


def twist(shift=(0, 0), hole=(-99, -99), light=NEUTRAL):
    return Twist([list(shift)], [list(hole)], light)


def test_a_shift_is_filled_with_zeros():
    x = torch.arange(1.0, 65.0).view(1, 1, 8, 8)
    assert torch.equal(twist().source(x), x)
    down = twist((1, 0)).source(x)
    assert torch.equal(down[..., 1:, :], x[..., :-1, :]) and not down[..., 0, :].any()
    left = twist((0, -1)).source(x)
    assert torch.equal(left[..., :-1], x[..., 1:]) and not left[..., -1].any()


@pytest.mark.parametrize("centre, rows, columns", [
    ((4, 4), slice(2, 6), slice(2, 6)), ((0, 8), slice(0, 2), slice(6, 8)), ((8, 1), slice(6, 8), slice(0, 3))])
def test_a_hole_is_a_half_of_the_sides_and_ends_at_the_border(centre, rows, columns):
    made = twist(hole=centre).source(torch.ones(1, 2, 8, 8))
    expected = torch.ones(8, 8)
    expected[rows, columns] = 0
    assert torch.equal(made, expected.expand(1, 2, 8, 8))


def test_light_is_brightness_then_saturation_then_contrast():
    y = torch.randn(1, 3, 4, 4)
    torch.testing.assert_close(twist().image(y), y)
    brighter = NEUTRAL.clone()
    brighter[:, 0] = 0.9
    torch.testing.assert_close(twist(light=brighter).image(y), y + 0.4)
    grey = NEUTRAL.clone()
    grey[:, 1] = 0.0
    torch.testing.assert_close(twist(light=grey).image(y), y.mean(1, keepdim=True).expand_as(y))
    flat = NEUTRAL.clone()
    flat[:, 2] = 0.25
    torch.testing.assert_close(twist(light=flat).image(y), y.mean() + 0.75 * (y - y.mean()))
    one = y[:, :1]  # a picture without colours has no saturation
    torch.testing.assert_close(twist(light=grey).image(one), one)


def test_the_image_is_moved_as_its_source():
    t = draw(torch.Generator().manual_seed(0), 5, (16, 24))
    t = Twist(t.shift, t.hole, NEUTRAL.expand(5, 3, 1, 1, 1))
    x = torch.randn(5, 3, 16, 24)
    torch.testing.assert_close(t.image(x), t.source(x))
    some = t.rows(slice(1, 3))
    torch.testing.assert_close(some.image(x[1:3]), t.source(x)[1:3])


def test_draws_keep_to_their_range_and_reach_its_ends():
    t = draw(torch.Generator().manual_seed(0), 4000, (16, 32))
    down, right = zip(*t.shift)
    assert set(down) == set(range(-2, 3)) and set(right) == set(range(-4, 5))
    rows, columns = zip(*t.hole)
    assert set(rows) == set(range(17)) and set(columns) == set(range(33))
    assert t.light.shape == (4000, 3, 1, 1, 1) and 0 <= t.light.min() < 0.01 and 0.99 < t.light.max() < 1
    assert abs(sum(down) / 4000) < 0.15 and (t.light.mean((0, 2, 3, 4)) - 0.5).abs().max() < 0.03
    again = draw(torch.Generator().manual_seed(0), 4000, (16, 32))
    assert again.shift == t.shift and torch.equal(again.light, t.light)


def test_its_gradient_is_that_of_the_formula():
    t = draw(torch.Generator().manual_seed(1), 2, (8, 8))
    y = torch.rand(2, 3, 8, 8, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(t.image, (y,))
