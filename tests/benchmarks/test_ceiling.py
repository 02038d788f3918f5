"""The ceiling of a step: every product of it is noted, as it lies, and timed by itself."""

import pytest
import torch
import torch.nn.functional as F
from ceiling import PRODUCTS, Products, _with_numbers, _without_numbers, alone, aten, row_of
from step import Case

from ugc.engine.recipe import Recipe

CPU = torch.device("cpu")


def test_a_product_is_noted_as_often_as_it_is_called_and_nothing_else():
    x, w = torch.randn(2, 3, 8, 8), torch.randn(4, 3, 3, 3, requires_grad=True)
    with Products(CPU) as products:
        for _ in range(2):
            F.conv2d(x, w).relu().sum().backward()
        F.linear(x.flatten(1), torch.randn(5, 192))
    counts = {call.operator: n for call, n in products.calls.items()}
    assert counts == {aten.convolution.default: 2, aten.convolution_backward.default: 2, aten.mm.default: 1}
    assert products.seconds > 0
    (backward,) = (call for call in products.calls if call.operator is aten.convolution_backward.default)
    assert backward.args[-1] == (False, True, False)  # the weight's gradient alone
    assert all(call.operator in PRODUCTS and 0 < alone(call, CPU) < 1 for call in products.calls)


@pytest.mark.parametrize("x", [torch.randn(2, 3, 4, 5).contiguous(memory_format=torch.channels_last),
                               torch.randn(6, 7)[:, 2:].bfloat16(), torch.randn(3, 4).t()], ids=["nhwc", "slice", "turned"])
def test_a_tensor_is_made_again_as_it_lay(x):
    again = _with_numbers(_without_numbers(x), torch.preserve_format, CPU)
    assert (again.shape, again.stride(), again.dtype) == (x.shape, x.stride(), x.dtype) and again.isfinite().all()


def test_a_tensor_that_was_expanded_becomes_a_whole_one():
    again = _with_numbers(_without_numbers(torch.ones(1).expand(3, 4)), torch.preserve_format, CPU)
    assert again.shape == (3, 4) and again.is_contiguous()


@pytest.mark.parametrize("step", ["stage 1", "stage 2 alone"])
def test_a_row(step):
    fields = {"family": "pix2pix-unet", "base": 8, "batch": 2, "patch": {"ndf": 8}, "data": {"path": "noise", "size": 32}}
    row = row_of(Case(Recipe.parse(fields, "test"), (3, 3), step, "cpu"), "fp32", 1)
    assert row["products s"] > 0 and row["in products"] > 0
    assert row["of it alone"] == pytest.approx(row["products s"] / (row["in products"] * row["median s"]))
    assert row["below plain"] / row["of plain"] == pytest.approx(row["products s"] / row["median s"])
