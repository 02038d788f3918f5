"""What a filter covers, and the way back: torch's unfold and fold, in another order."""

import pytest
import torch
import torch.nn.functional as F

from ugc.nn.patches import cover, put


@pytest.mark.parametrize("k, stride, size", [(3, 1, (4, 5)), (4, 2, (6, 8)), (3, 2, (6, 7)), (2, 3, (5, 9)), (1, 1, (2, 3))])
def test_cover_is_unfold_and_put_is_fold(k, stride, size):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 3, *size, generator=generator, dtype=torch.float64)
    unfolded = F.unfold(x, k, stride=stride)  # [N, C k k, L]
    covered = cover(x.permute(0, 2, 3, 1), k, stride)
    places = covered.shape[1] * covered.shape[2]
    ordered = unfolded.view(2, 3, k * k, places).permute(0, 3, 2, 1).reshape(2, places, -1)
    assert torch.equal(covered.view(2, places, -1), ordered)
    back = put(covered, size, k, stride)
    torch.testing.assert_close(back.permute(0, 3, 1, 2), F.fold(unfolded, size, k, stride=stride), rtol=0, atol=1e-12)


def test_gradients():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 5, 6, 2, generator=generator, dtype=torch.float64, requires_grad=True)
    z = torch.randn(2, 2, 2, 18, generator=generator, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: cover(x, 3, 2), [x])
    assert torch.autograd.gradcheck(lambda z: put(z, (5, 6), 3, 2), [z])


def test_halves_are_added_up_in_float32():
    """1 + 8 x 2^-8, one after the other, is 1 in bf16."""
    z = torch.full((1, 3, 3, 9), 2.0**-8, dtype=torch.bfloat16)
    z[..., 0] = 1.0
    y = put(z, (5, 5), 3, 1)
    assert y.dtype == torch.bfloat16 and float(y[0, 2, 2, 0]) == 1 + 8 * 2.0**-8
    assert float(sum(z[0, 0, 0].unbind())) == 1.0
