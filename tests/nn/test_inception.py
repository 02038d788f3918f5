"""FID's Inception: the reference's layers, shapes and pre-processing, written here once more as plain functions.

By hand, with the same random weights in both, it gives what pytorch-fid 0.3.0 and torch-fidelity 0.4.0 give, to the last bit
(docs/lab-book.md); neither is installed here, since both need torchvision.
"""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ugc.nn.inception import PUBLIC, Inception, prepare


@pytest.fixture(scope="module")
def net():
    """Random weights that keep the signal alive through 94 layers."""
    torch.manual_seed(0)
    with torch.device("meta"):
        made = Inception()
    made = made.to_empty(device="cpu")
    for module in made.modules():
        if isinstance(module, nn.Conv2d):
            module.weight.data.normal_(0, (2 / module.weight[0].numel()) ** 0.5)
        elif isinstance(module, nn.BatchNorm2d):
            module.weight.data.uniform_(0.8, 1.2)
            module.bias.data.normal_(0, 0.1)
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.8, 1.2)
    return made.double().requires_grad_(False).eval()


class Reference:
    """The published layer list. `c(x, name, stride, padding)`: convolution without bias, batch norm of 1e-3, ReLU."""

    def __init__(self, weights):
        self.w = weights
        self.shapes = {}

    def c(self, x, name, stride=1, padding=0):
        x = F.conv2d(x, self.w[f"{name}.conv.weight"], None, stride, padding)
        mean, var, gain, bias = (self.w[f"{name}.bn.{k}"] for k in ("running_mean", "running_var", "weight", "bias"))
        return F.relu(F.batch_norm(x, mean, var, gain, bias, False, 0.0, 1e-3))

    def average(self, x):
        ones = torch.ones_like(x[:1, :1])
        return F.avg_pool2d(x, 3, 1, 1) / F.avg_pool2d(ones, 3, 1, 1)  # of the pixels that are there

    def a(self, x, m):
        five = self.c(self.c(x, m + "branch5x5_1"), m + "branch5x5_2", padding=2)
        three = self.c(self.c(x, m + "branch3x3dbl_1"), m + "branch3x3dbl_2", padding=1)
        return torch.cat([self.c(x, m + "branch1x1"), five, self.c(three, m + "branch3x3dbl_3", padding=1),
                          self.c(self.average(x), m + "branch_pool")], 1)

    def b(self, x, m):
        three = self.c(self.c(x, m + "branch3x3dbl_1"), m + "branch3x3dbl_2", padding=1)
        return torch.cat([self.c(x, m + "branch3x3", 2), self.c(three, m + "branch3x3dbl_3", 2), F.max_pool2d(x, 3, 2)], 1)

    def chain(self, x, m, branch, paddings):
        for number, padding in enumerate(paddings, 1):
            x = self.c(x, f"{m}{branch}_{number}", padding=padding)
        return x

    def seven(self, x, m):
        one, other = (0, 3), (3, 0)
        return torch.cat([self.c(x, m + "branch1x1"), self.chain(x, m, "branch7x7", (0, one, other)),
                          self.chain(x, m, "branch7x7dbl", (0, other, one, other, one)),
                          self.c(self.average(x), m + "branch_pool")], 1)

    def d(self, x, m):
        three = self.c(self.c(x, m + "branch3x3_1"), m + "branch3x3_2", 2)
        seven = self.c(self.chain(x, m, "branch7x7x3", (0, (0, 3), (3, 0))), m + "branch7x7x3_4", 2)
        return torch.cat([three, seven, F.max_pool2d(x, 3, 2)], 1)

    def e(self, x, m, pooled):
        three = self.c(x, m + "branch3x3_1")
        double = self.c(self.c(x, m + "branch3x3dbl_1"), m + "branch3x3dbl_2", padding=1)
        forks = [self.c(y, m + name, padding=padding) for y, names in
                 ((three, ("branch3x3_2a", "branch3x3_2b")), (double, ("branch3x3dbl_3a", "branch3x3dbl_3b")))
                 for name, padding in zip(names, ((0, 1), (1, 0)))]
        return torch.cat([self.c(x, m + "branch1x1"), *forks, self.c(pooled, m + "branch_pool")], 1)

    def pool3(self, x):
        x = self.c(self.c(x, "Conv2d_1a_3x3", 2), "Conv2d_2a_3x3")
        x = F.max_pool2d(self.c(x, "Conv2d_2b_3x3", padding=1), 3, 2)
        x = F.max_pool2d(self.c(self.c(x, "Conv2d_3b_1x1"), "Conv2d_4a_3x3"), 3, 2)
        for name in ("5b", "5c", "5d", "6a", "6b", "6c", "6d", "6e", "7a", "7b", "7c"):
            m = f"Mixed_{name}."
            step = {"5": self.a, "6": self.b if name == "6a" else self.seven, "7": self.d}[name[0]]
            if name in ("7b", "7c"):
                x = self.e(x, m, self.average(x) if name == "7b" else F.max_pool2d(x, 3, 1, 1))
            else:
                x = step(x, m)
            self.shapes[name] = tuple(x.shape[1:])
        return x.mean((2, 3))


def test_layers_and_shapes_are_the_reference(net):
    x = torch.rand(2, 3, 299, 299, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 2 - 1
    reference = Reference(net.state_dict())
    want = reference.pool3(x)
    assert reference.shapes == {
        "5b": (256, 35, 35), "5c": (288, 35, 35), "5d": (288, 35, 35), "6a": (768, 17, 17), "6b": (768, 17, 17),
        "6c": (768, 17, 17), "6d": (768, 17, 17), "6e": (768, 17, 17), "7a": (1280, 8, 8), "7b": (2048, 8, 8),
        "7c": (2048, 8, 8)}
    assert want.shape == (2, 2048) and want.std(0).mean() > 1e-3  # the images differ
    torch.testing.assert_close(net.pool3(x), want, rtol=1e-10, atol=1e-10)


def test_the_public_files_names_and_size(net):
    state = net.state_dict()
    convs = [key for key in state if key.endswith("conv.weight")]
    assert len(convs) == 94 and sum(p.numel() for p in net.parameters()) == 23_850_960
    assert state["fc.weight"].shape == (1008, 2048) and "Mixed_7c.branch3x3dbl_3b.conv.weight" in state
    assert state["Mixed_6c.branch7x7dbl_2.conv.weight"].shape == (160, 160, 7, 1)
    assert {m.eps for m in net.modules() if isinstance(m, nn.BatchNorm2d)} == {1e-3}
    assert PUBLIC.sha256.startswith(PUBLIC.name.split("-")[-1].removesuffix(".pth"))


@pytest.mark.parametrize("size", [(64, 64), (299, 299), (320, 480)])
def test_preparation_is_bilinear_without_corners_then_twice_minus_one(size):
    """Against the definition: a pixel of the result at (i + 1/2) H / 299 - 1/2 of the picture, mixed of its neighbours."""
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)

    def mixing(n):
        at = ((np.arange(299) + 0.5) * n / 299 - 0.5).clip(0)
        low = np.floor(at).astype(int)
        matrix = np.zeros((299, n))
        np.add.at(matrix, (np.arange(299), low), 1 - (at - low))
        np.add.at(matrix, (np.arange(299), np.minimum(low + 1, n - 1)), at - low)
        return matrix

    want = mixing(size[0]) @ (pixels / 255).transpose(2, 0, 1) @ mixing(size[1]).T * 2 - 1
    got = prepare(torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 127.5 - 1)
    np.testing.assert_allclose(got[0].numpy(), want, rtol=0, atol=1e-4)


def test_preparation_rounds_to_eight_bits_and_repeats_grey():
    level = 2 * 77 / 255 - 1
    images = torch.full((1, 1, 8, 8), level + 0.003)
    torch.testing.assert_close(prepare(images), torch.full((1, 3, 299, 299), level))
    torch.testing.assert_close(prepare(torch.full((1, 1, 8, 8), 1.3)), torch.ones(1, 3, 299, 299))
