"""The generators of the lineage, as lists of modules, run with nothing but torch.nn.functional.

Written from the papers and from the order of modules in the published code. Tensors are named as `nn.Sequential` names
them: by the place of their module in the list.
"""

from itertools import pairwise

import torch
import torch.nn.functional as F


def resnet(norm="instance", blocks=9, dropout=None, separable=False, widths=(4, 8, 16), mids=None, ups=(8, 4),
           channels=(3, 3), bias=None):
    """dropout: its rate, where the repository puts the module in (0 in GAN Compression), else None.

    pix2pixHD's GlobalGenerator is the same with more widths, and its convolutions have a `bias` whatever the norm is.
    """
    bias = norm == "instance" if bias is None else bias

    def conv3(a, b):
        return ("separable", a, b) if separable else ("conv", a, b, 3, 1, 0, bias)

    layers, trunk = [("pad", 3), ("conv", channels[0], widths[0], 7, 1, 0, bias), (norm, widths[0]), ("relu",)], widths[-1]
    for a, b in pairwise(widths):
        layers += [("conv", a, b, 3, 2, 1, bias), (norm, b), ("relu",)]
    for mid in mids or [trunk] * blocks:
        drop = [] if dropout is None else [("dropout",)]
        layers.append(("block", [("pad", 1), conv3(trunk, mid), (norm, mid), ("relu",), *drop,
                                 ("pad", 1), conv3(mid, trunk), (norm, trunk)]))
    for a, b in pairwise((trunk, *ups)):
        layers += [("up", a, b, 3, 1, bias), (norm, b), ("relu",)]
    return "model", [*layers, ("pad", 3), ("conv", [trunk, *ups][-1], channels[1], 7, 1, 0, True), ("tanh",)]


def global_generator(norm="instance", downs=4, base=2, channels=(36, 3), **others):
    """pix2pixHD's, of any number of down-samplings."""
    widths = [base << i for i in range(downs + 1)]
    return resnet(norm, widths=widths, ups=widths[-2::-1], channels=channels, bias=True, **others)


def unet(norm="batch", levels=7, dropout=None, base=2, channels=(3, 3), widths=None):
    bias = norm == "instance"
    w = widths or [base * min(2**k, 8) for k in range(levels)]
    inside = [("lrelu",), ("conv", w[-2], w[-1], 4, 2, 1, bias), ("relu",), ("up", w[-1], w[-2], 4, 0, bias), (norm, w[-2])]
    for k in range(levels - 2, 0, -1):
        drop = [("dropout",)] if dropout and w[k] == w[-1] else []
        inside = [("lrelu",), ("conv", w[k - 1], w[k], 4, 2, 1, bias), (norm, w[k]), ("skip", inside),
                  ("relu",), ("up", 2 * w[k], w[k - 1], 4, 0, bias), (norm, w[k - 1]), *drop]
    return "model.model", [("conv", channels[0], w[0], 4, 2, 1, bias), ("skip", inside), ("relu",),
                           ("up", 2 * w[0], channels[1], 4, 0, True), ("tanh",)]


def weights(net, seed=0, old=False, loud=1.0):
    """A state dict of random weights; batch norms have gathered statistics of their own.

    old: as torch 0.3 saved it, where instance norms had statistics, too, though they never used them.
    loud: what batch norms multiply by, or the input is lost in many of them.
    """
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape, low=-1.0, high=1.0):
        return torch.empty(shape).uniform_(low, high, generator=generator)

    def fill(prefix, layers):
        for i, (kind, *a) in enumerate(layers):
            name = f"{prefix}.{i}"
            if kind == "conv":
                seen = min(a[0], 2) if name == "model.1" and a[0] > 4 else a[0]  # one-hot: a class, and perhaps an edge
                out[f"{name}.weight"] = draw(a[1], a[0], a[2], a[2]) * 1.5 / (seen * a[2] ** 2) ** 0.5
            elif kind == "up":
                out[f"{name}.weight"] = draw(a[0], a[1], a[2], a[2]) * 3 / (a[0] * a[2] ** 2) ** 0.5
            elif kind == "separable":
                out[f"{name}.conv.0.weight"], out[f"{name}.conv.0.bias"] = draw(a[0], 1, 3, 3), draw(a[0])
                out[f"{name}.conv.2.weight"], out[f"{name}.conv.2.bias"] = draw(a[1], a[0], 1, 1), draw(a[1])
                if old:
                    out[f"{name}.conv.1.running_mean"], out[f"{name}.conv.1.running_var"] = torch.ones(2, a[0])
            elif kind == "batch":
                out[f"{name}.weight"], out[f"{name}.bias"] = loud * draw(a[0], low=0.5, high=1.5), draw(a[0]) / 4
                out[f"{name}.running_mean"], out[f"{name}.running_var"] = draw(a[0]), draw(a[0], low=0.3, high=2.0)
                out[f"{name}.num_batches_tracked"] = torch.tensor(7)
            elif kind == "instance" and old:
                out[f"{name}.running_mean"], out[f"{name}.running_var"] = torch.full(a, 3.0), torch.full(a, 0.01)
            elif kind in ("block", "skip"):
                fill(f"{name}.{'conv_block' if kind == 'block' else 'model'}", a[0])
            if kind in ("conv", "up") and a[-1]:
                out[f"{name}.bias"] = draw(a[1]) / 4

    out = {}
    fill(*net)
    return out


def forward(w, net, x):
    """The list on x, in eval mode."""

    def run(prefix, layers, x):
        for i, (kind, *a) in enumerate(layers):
            name = f"{prefix}.{i}"
            weight, bias = w.get(f"{name}.weight"), w.get(f"{name}.bias")
            if kind == "pad":
                x = F.pad(x, (a[0],) * 4, mode="reflect")
            elif kind == "conv":
                x = F.conv2d(x, weight, bias, a[3], a[4])
            elif kind == "up":
                x = F.conv_transpose2d(x, weight, bias, 2, 1, a[3])
            elif kind == "separable":
                x = F.conv2d(x, w[f"{name}.conv.0.weight"], w[f"{name}.conv.0.bias"], groups=a[0])
                x = F.conv2d(F.instance_norm(x), w[f"{name}.conv.2.weight"], w.get(f"{name}.conv.2.bias"))
            elif kind == "batch":
                x = F.batch_norm(x, w[f"{name}.running_mean"], w[f"{name}.running_var"], weight, bias)
            elif kind == "block":
                x = x + run(f"{name}.conv_block", a[0], x)
            elif kind == "skip":
                x = torch.cat([x, run(f"{name}.model", a[0], x)], 1)
            else:
                x = {"instance": F.instance_norm, "relu": F.relu, "tanh": torch.tanh, "dropout": lambda x: x,
                     "lrelu": lambda x: F.leaky_relu(x, 0.2)}[kind](x)
        return x

    return run(*net, x)
