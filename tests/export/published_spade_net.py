"""The SPADE generators of the lineage, run with nothing but torch.nn.functional.

Written from the paper and from the list of their tensors. A net is its numbers, in channels, one-hot channels and all:
fc, then what each of the seven blocks has inside, hidden and behind it.
"""

import torch
import torch.nn.functional as F

NAMES = ("head_0", "G_middle_0", "G_middle_1", "up_0", "up_1", "up_2", "up_3")
TIMES = (16, 16, 16, 8, 4, 2, 1)


def spade(numbers=(2,) * 8, channels=36, out=3, hidden=None, mobile=False, spectral=False, norm="batch", wide=0,
          upsampling="more"):
    """numbers: fc, head, two middles, four ups (base widths). hidden: None = twice a block's number.

    wide: channels of running statistics beyond those of the maps, as GAN Compression's sub-networks have them.
    """
    return locals()


def blocks(net):
    """(name, before, inside, hidden, behind) of each block."""
    fc, *rest = net["numbers"]
    before = 16 * fc
    for name, times, number in zip(NAMES, TIMES, rest):
        inside = times * number
        behind = inside if name.startswith("up") else 16 * fc
        yield name, before, inside, net["hidden"] or 2 * number, behind
        before = behind


def weights(net, seed=0):
    """A state dict of random weights with statistics of their own; norm_0 and norm_s have seen the same maps."""
    generator = torch.Generator().manual_seed(seed)
    w = {}

    def draw(*shape, low=-1.0, high=1.0):
        return torch.empty(shape).uniform_(low, high, generator=generator)

    def conv(name, a, b, kernel=3, groups=1, bias=True, spectral=False):
        weight = draw(b, a // groups, kernel, kernel) * 1.7 / (a // groups * kernel**2) ** 0.5
        if spectral:  # u, v as training left them: near the singular vectors, not at them
            u, _, v = torch.linalg.svd(weight.flatten(1), full_matrices=False)
            for what, vector in (("u", u[:, 0]), ("v", v[0])):
                near = vector + 0.1 * draw(len(vector)) / len(vector) ** 0.5
                w[f"{name}.weight_{what}"] = F.normalize(near, dim=0)
            w[f"{name}.weight_orig"] = weight
        else:
            w[f"{name}.weight"] = weight
        if bias:
            w[f"{name}.bias"] = draw(b) / 4

    def modulated(name, c, hidden, statistics):
        if net["norm"] == "batch":
            for what, tensor in zip(("running_mean", "running_var"), statistics):
                w[f"{name}.param_free_norm.{what}"] = tensor.clone()
            w[f"{name}.param_free_norm.num_batches_tracked"] = torch.tensor(9)
        conv(f"{name}.mlp_shared.0", net["channels"], hidden)
        for part in ("gamma", "beta"):
            if net["mobile"]:
                conv(f"{name}.mlp_{part}.conv.0", hidden, hidden, groups=hidden)
                conv(f"{name}.mlp_{part}.conv.2", hidden, c, 1)
            else:
                conv(f"{name}.mlp_{part}", hidden, c)

    conv("fc", net["channels"], 16 * net["numbers"][0])
    for name, before, inside, hidden, behind in blocks(net):
        first, second = ((draw(c + net["wide"]), draw(c + net["wide"], low=0.3, high=2.0)) for c in (before, inside))
        for n, a, b, statistics in ("0", before, inside, first), ("1", inside, behind, second), ("s", before, behind, first):
            if n != "s" or name.startswith("up"):
                modulated(f"{name}.norm_{n}", a, hidden, statistics)
                conv(f"{name}.conv_{n}", a, b, 1 if n == "s" else 3, bias=n != "s", spectral=net["spectral"])
    conv("conv_img", net["numbers"][-1], net["out"])
    return w


def forward(w, net, x):
    """x: one-hot label maps [N, channels, H, W], H and W multiples of 64 (normal: 32)."""

    def conv(name, x, padding=1, groups=1):
        weight = w.get(f"{name}.weight")
        if weight is None:
            weight = w[f"{name}.weight_orig"]
            weight = weight / torch.dot(w[f"{name}.weight_u"], torch.mv(weight.flatten(1), w[f"{name}.weight_v"]))
        return F.conv2d(x, weight, w.get(f"{name}.bias"), padding=padding, groups=groups)

    def modulated(name, x):
        seg = F.interpolate(labels, size=x.shape[2:], mode="nearest")
        h = F.relu(conv(f"{name}.mlp_shared.0", seg))
        if net["mobile"]:
            maps = {part: conv(f"{name}.mlp_{part}.conv.0", h, groups=h.shape[1]) for part in ("gamma", "beta")}
            maps = {part: conv(f"{name}.mlp_{part}.conv.2", F.instance_norm(m), 0) for part, m in maps.items()}
        else:
            maps = {part: conv(f"{name}.mlp_{part}", h) for part in ("gamma", "beta")}
        if net["norm"] == "batch":  # padded with zeros to as many channels as there are statistics, then cropped
            mean, var = (w[f"{name}.param_free_norm.running_{what}"] for what in ("mean", "var"))
            padded = F.pad(x, (0, 0, 0, 0, 0, len(mean) - x.shape[1]))
            normed = F.batch_norm(padded, mean, var)[:, : x.shape[1]]
        else:
            normed = F.instance_norm(x)
        return normed * (1 + maps["gamma"]) + maps["beta"]

    labels, doublings = x, 6 if net["upsampling"] == "more" else 5
    x = conv("fc", F.interpolate(x, size=[side >> doublings for side in x.shape[2:]], mode="nearest"))
    for name, *_ in blocks(net):
        if name != "head_0" and not (name == "G_middle_1" and doublings == 5):
            x = F.interpolate(x, scale_factor=2, mode="nearest")
        y = conv(f"{name}.conv_0", F.leaky_relu(modulated(f"{name}.norm_0", x), 0.2))
        y = conv(f"{name}.conv_1", F.leaky_relu(modulated(f"{name}.norm_1", y), 0.2))
        if name.startswith("up"):
            x = conv(f"{name}.conv_s", modulated(f"{name}.norm_s", x), 0)
        x = x + y
    return torch.tanh(conv("conv_img", F.leaky_relu(x, 0.2)))
