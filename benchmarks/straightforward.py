"""Both steps of UGC on pix2pix's families as a plain reading of Algorithm 1 writes them: what `step.py` compares with.

Nothing is shared that could be computed again. L_OD looks at both pictures anew for each teacher, and for A and U; D(x, y)
is computed for each fake; teachers keep a graph on every step, also where they do not learn; every parameter asks for a
gradient, so what a generator learns from D is taken with respect to D's weights, too; the sandwich is one sum and one
backward pass. In full precision, with torch's own Adam, NCHW. The nets are written out here on tensors, so that what makes
`ugc` faster makes nothing of this faster; only the backbone is ours. Losses and weights equal those of `methods/ugc.py`
(tests/benchmarks/test_step.py).

Left out: running statistics of batch norm, which no training step reads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ugc.core.clock import Clock
from ugc.data.stream import Batch
from ugc.methods.method import Losses, Phase
from ugc.methods.ugc import Distill, Supernet
from ugc.nn.backbones import load_backbone
from ugc.search.region import spread
from ugc.training.player import Player

Weights = dict[str, Tensor]

# ---- the nets: weights by name, of a supernet or of a static net; `a` says how much of them counts ----


def norm(w: Weights, name: str, x: Tensor) -> Tensor:
    """Batch norm where there are weights of that name, else instance norm."""
    if f"{name}.weight" not in w:
        return F.instance_norm(x)
    c = x.shape[1]
    return F.batch_norm(x, None, None, w[f"{name}.weight"][:c], w[f"{name}.bias"][:c], training=True)


def conv(w: Weights, name: str, x: Tensor, out: int, stride: int = 1, pad: int = 0, reflect: bool = False) -> Tensor:
    """The leading out x in of a convolution's weights."""
    bias = w[f"{name}.bias"][:out] if f"{name}.bias" in w else None
    if reflect:
        x, pad = F.pad(x, (pad,) * 4, mode="reflect"), 0
    return F.conv2d(x, w[f"{name}.weight"][:out, :x.shape[1]], bias, stride, pad)


def body_conv(w: Weights, name: str, x: Tensor, out: int) -> Tensor:
    """3x3 by reflection: full, or depthwise, instance norm, pointwise."""
    if f"{name}.weight" in w:
        return conv(w, name, x, out, pad=1, reflect=True)
    c = x.shape[1]
    x = F.pad(x, (1, 1, 1, 1), mode="reflect")
    x = F.conv2d(x, w[f"{name}.depthwise.weight"][:c], w[f"{name}.depthwise.bias"][:c], groups=c)
    return conv(w, f"{name}.pointwise", F.instance_norm(x), out)


def block(w: Weights, name: str, x: Tensor, mid: int) -> Tensor:
    y = F.relu(norm(w, f"{name}.norm1", body_conv(w, f"{name}.conv1", x, mid)))
    return x + norm(w, f"{name}.norm2", body_conv(w, f"{name}.conv2", y, x.shape[1]))


def slot(w: Weights, name: str, x: Tensor, depth: int) -> Tensor:
    for i in range(depth):
        x = block(w, f"slots.{name}.{i}", x, x.shape[1])
    return x


def resnet(w: Weights, config: Any, a: Mapping[str, int], x: Tensor) -> Tensor:
    """stem, two downs, the body, two ups, head."""
    x = F.relu(norm(w, "norms.stem", conv(w, "stem", x, a["stem"], pad=3, reflect=True)))
    for name, out in (("down1", 2 * a["down1"]), ("down2", 4 * a["down2"])):
        x = F.relu(norm(w, f"norms.{name}", conv(w, name, x, out, stride=2, pad=1)))
        x = slot(w, name, x, a[f"d.{name}"])
    for i in range(config.blocks):
        x = block(w, f"body.{i}", x, 4 * a[f"mid{i * config.groups // config.blocks + 1}"])
    for name, out in (("up1", 2 * a["up1"]), ("up2", a["up2"])):
        bias = w[f"{name}.bias"][:out] if f"{name}.bias" in w else None
        x = F.conv_transpose2d(x, w[f"{name}.weight"][:x.shape[1], :out], bias, 2, 1, 1)
        x = slot(w, name, F.relu(norm(w, f"norms.{name}", x)), a[f"d.{name}"])
    return torch.tanh(conv(w, "head", x, config.out_channels, pad=3, reflect=True))


def unet(w: Weights, config: Any, a: Mapping[str, int], x: Tensor) -> Tensor:
    """`levels` downs, as many ups; an up's input is the skip, then what comes from below."""
    top, skips = config.levels, []
    full = {k: w[f"down.{k}.weight"].shape[0] for k in range(1, top + 1)}

    def width(k: int) -> int:
        times = min(1 << (k - 1), 8)
        return times * a[f"w{times}"]

    for k in range(1, top + 1):
        x = conv(w, f"down.{k}", F.leaky_relu(x, 0.2) if k > 1 else x, width(k), stride=2, pad=1)
        if 1 < k < top:
            x = norm(w, f"norms.down{k}", x)
        if k < top:
            x = slot(w, f"down{k}", x, a[f"d.down{k}"])
            skips.append(x)
    y = x[:, :0]  # nothing joins the innermost
    for k in range(top, 0, -1):
        weight, out = w[f"up.{k}.weight"], width(k - 1) if k > 1 else config.out_channels
        rows = [weight[:x.shape[1], :out], weight[full[k]:full[k] + y.shape[1], :out]]
        bias = w[f"up.{k}.bias"][:out] if f"up.{k}.bias" in w else None
        y = F.conv_transpose2d(F.relu(torch.cat([x, y], 1)), torch.cat(rows), bias, 2, 1)
        if k > 1:
            y, x = slot(w, f"up{k}", norm(w, f"norms.up{k}", y), a[f"d.up{k}"]), skips.pop()
    return torch.tanh(y)


NETS: dict[str, Callable[[Weights, Any, Mapping[str, int], Tensor], Tensor]] = {
    "Pix2pixResNet": resnet, "Pix2pixUNet": unet}


def patches(w: Weights, config: Any, x: Tensor, y: Tensor) -> Tensor:
    """PatchGAN on one scale: D(x, y), the scores [N, 1, h, w]."""
    h = torch.cat([x, y], 1)
    for i in range(config.strided + 1):
        h = F.conv2d(h, w[f"convs.{i}.weight"], w.get(f"convs.{i}.bias"), 2 if i < config.strided else 1, config.padding)
        h = F.leaky_relu(norm(w, f"norms.{i}", h) if i else h, 0.2)
    return F.conv2d(h, w["last.weight"], w["last.bias"], 1, config.padding)


class Net:
    """A player's weights as leaves of their own, and torch's Adam as it comes."""

    def __init__(self, player: Player[Any]) -> None:
        net, group = player.net, player.optimiser.param_groups[0]
        self.w: Weights = {name: p.detach().clone().requires_grad_() for name, p in net.named_parameters()}
        self.adam = torch.optim.Adam(list(self.w.values()), lr=group["lr"], betas=group["betas"])
        self.config, self.forward = net.config, NETS.get(type(net).__name__)
        self.a = net.space.largest if self.forward else {}

    def __call__(self, x: Tensor, a: Mapping[str, int] | None = None) -> Tensor:
        assert self.forward
        return self.forward(self.w, self.config, a or self.a, x)

    def judge(self, x: Tensor, y: Tensor) -> Tensor:
        return patches(self.w, self.config, x, y)

    def learn(self, loss: Tensor) -> None:
        self.adam.zero_grad()
        loss.backward()
        self.adam.step()


# ---- L_OD, with everything computed at every call ----


def ssim(x: Tensor, y: Tensor) -> Tensor:
    """Wang 2004 by five convolutions with an 11 x 11 window of sigma 1.5; data range 2. [N]"""
    t = torch.arange(11, dtype=x.dtype) - 5
    g = torch.exp(-t.square() / 4.5)
    window = (g[:, None] * g / g.sum().square()).expand(x.shape[1], 1, 11, 11).contiguous().to(x.device)

    def mean(z: Tensor) -> Tensor:
        return F.conv2d(z, window, groups=z.shape[1])

    c1, c2 = (0.01 * 2) ** 2, (0.03 * 2) ** 2
    mx, my = mean(x), mean(y)
    vx, vy, cov = mean(x * x) - mx**2, mean(y * y) - my**2, mean(x * y) - mx * my
    return ((2 * mx * my + c1) * (2 * cov + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))).mean((1, 2, 3))


def gram(f: Tensor) -> Tensor:
    flat = f.flatten(2)
    return flat @ flat.mT / (f.shape[1] * f.shape[2] * f.shape[3])


class Distance:
    """L_OD(T, S), part by part, each [N]."""

    def __init__(self, phase: Supernet | Distill) -> None:
        L_OD = phase.L_OD
        self.w, self.backbone = L_OD.weights, None
        assert L_OD.config.ssim_form == "standard"
        if L_OD.backbone:
            self.backbone = load_backbone(L_OD.config.backbone, L_OD.device)

    def __call__(self, T: Tensor, S: Tensor) -> dict[str, Tensor]:
        w, T, parts = self.w, T.detach(), {}
        if w["ssim"]:
            parts["ssim"] = w["ssim"] * (1 - ssim(T, S))
        if self.backbone:
            theirs, ours = self.backbone(T), self.backbone(S)
            at = self.backbone.feature_tap
            parts["feature"] = w["feature"] * (theirs[at] - ours[at]).abs().mean((1, 2, 3))
            apart = [(gram(theirs[i]) - gram(ours[i])).abs().mean((1, 2)) for i in self.backbone.style_taps]
            parts["style"] = w["style"] * sum(apart[1:], apart[0])
        if w["tv"]:
            tv = (S[:, :, 1:] - S[:, :, :-1]).abs().sum((1, 2, 3)) + (S[..., 1:] - S[..., :-1]).abs().sum((1, 2, 3))
            parts["tv"] = w["tv"] * tv
        if w["l1"]:
            parts["l1"] = w["l1"] * (T - S).abs().mean((1, 2, 3))
        return parts


# ---- the steps ----


class Straightforward:
    """A phase of UGC again, from its weights as they are now, on leaves of its own. Hinge, GAN + L1, as pix2pix's families.

    Args:
        phase: in full precision; nothing of it is kept but settings.
    """

    def __init__(self, phase: Phase) -> None:
        assert isinstance(phase, (Supernet, Distill))
        w = phase.objective.w
        assert w.gan == "hinge" and not w.lambda_features and not w.lambda_perceptual
        self.config, self.w, self.L_OD = phase.config, w, Distance(phase)
        self.nets = {name: Net(player) for name, player in phase.players.items()}
        if isinstance(phase, Supernet):
            space, cost = phase.space, phase.cost
            assert self.config.sample == "spread" and self.config.nas_ssl
            self.draw = lambda clock: spread(space, lambda a: float(cost(a).macs_paper), clock.rng("arch"))
            self.space, self.step = space, self.stage_1
        else:
            assert (self.config.filter, self.config.order, self.config.finetune_ssl) == ("paper", "before", True)
            self.D_EMA = {k: ema.clone() for k, ema in phase.D_EMA.items()}
            self.step = self.stage_2

    def d_loss(self, D: Net, x: Tensor, y: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
        """D's loss and its scores of the fake."""
        real, judged = D.judge(x, y), D.judge(x, fake.detach())
        return self.w.d_factor * (F.relu(1 - real).mean() + F.relu(1 + judged).mean()), judged.detach()

    def g_parts(self, D: Net, x: Tensor, y: Tensor, fake: Tensor) -> dict[str, Tensor]:
        """UGC Eq. (4)."""
        return {"recon": self.w.lambda_recon * (fake - y).abs().mean(),
                "gan": -self.w.lambda_gan * D.judge(x, fake).mean()}

    def stage_1(self, batch: Batch, clock: Clock) -> Losses:
        """UGC Eq. (1)."""
        x, y, u, G, D, losses = batch.source, batch.target, batch.unlabelled, self.nets["G"], self.nets["D"], Losses()
        l, r, s = self.space.largest, self.draw(clock), self.space.smallest
        fake, taught = G(x, l), G(u, l)
        D.learn(losses.add("D", {"gan": self.d_loss(D, x, y, fake)[0]}))
        total = losses.add("G", self.g_parts(D, x, y, fake))
        for name, k in (("r", r), ("s", s)):  # Eq. (5)
            total = total + losses.add("G", {f"{name}.{p}": v for p, v in self.L_OD(taught, G(u, k)).items()})
        G.learn(total)
        return losses

    def stage_2(self, batch: Batch, clock: Clock) -> Losses:
        """UGC Eq. (6)."""
        x, y, u, losses = batch.source, batch.target, batch.unlabelled, Losses()
        T = {k: self.nets[k] for k in self.D_EMA}
        judges = {k: self.nets["D" if self.config.discriminators == "shared" else f"D_{k}"] for k in T}
        fakes, on_u = {k: net(x) for k, net in T.items()}, {k: net(u) for k, net in T.items()}
        with torch.no_grad():
            scores = {k: judges[k].judge(u, on_u[k]).mean((1, 2, 3)) for k in T}
        if clock.step % self.config.every == 0:
            self.teach(x, y, T, judges, fakes, losses)
        ours_x, ours_u = self.nets["student"](x), self.nets["student"](u)
        total = torch.zeros((), dtype=x.dtype, device=x.device)
        for k in T:
            parts = self.L_OD(fakes[k], ours_x)  # Eq. (7)
            total = total + losses.add("student", {f"A.{k}.{p}": v for p, v in parts.items()})
            coin = torch.randint(2, (len(u),), generator=clock.torch(f"filter/{k}")).to(scores[k])
            phi = torch.where(scores[k] > self.D_EMA[k], coin, torch.ones_like(coin))  # Eq. (8)
            parts = self.L_OD(on_u[k], ours_u)  # Eq. (9)
            total = total + losses.add("student", {f"U.{k}.{p}": phi * v for p, v in parts.items()})
        self.nets["student"].learn(total)
        return losses

    def teach(self, x: Tensor, y: Tensor, T: Mapping[str, Net], judges: Mapping[str, Net], fakes: Mapping[str, Tensor],
              losses: Losses) -> None:
        """L_sup^A of both teachers: each D, then its teachers."""
        for name, D in ((n, net) for n, net in self.nets.items() if n.startswith("D")):
            parts = {}
            for i, k in enumerate(k for k in T if judges[k] is D):
                parts[f"gan{i or ''}"], judged = self.d_loss(D, x, y, fakes[k])
                mean, decay = judged.mean(), self.config.decay
                ema = self.D_EMA[k]
                self.D_EMA[k] = torch.where(ema.isnan(), mean, decay * ema + (1 - decay) * mean)
            D.learn(losses.add(name, parts))
        for k, net in T.items():
            net.learn(losses.add(k, self.g_parts(judges[k], x, y, fakes[k])))
