"""Both stages of UGC against a plain float64 program: Eq. (1) to (9) with torch.nn.functional and Adam by hand.

The nets below are written from the papers' layer lists, with weights cut by hand; the optimiser, SSIM and the losses are
written out. Three steps: Adam's first step is little more than the gradient's sign, the next ones are not.
"""

import math

import pytest
import torch
import torch.nn.functional as F

from doubles import in_doubles
from moments import moments
from ugc.core.clock import Clock
from ugc.methods.method import Selection
from ugc.nn import quick

LR, B1, B2, EPS = 2e-4, 0.5, 0.999, 1e-8
STEPS = 3
CLOCK = Clock(5)


class Adam:
    """Kingma 2015, Algorithm 1; a weight without gradient in a step keeps still."""

    def __init__(self, net):
        weights = dict(net.named_parameters())
        self.still = {k: v.detach().clone() for k, v in net.named_buffers() if k.endswith((".u", ".v"))}
        self.w = {k: v.detach().clone().requires_grad_() for k, v in weights.items()}
        self.m = {k: torch.zeros_like(v) for k, v in self.w.items()}
        self.v = {k: torch.zeros_like(v) for k, v in self.w.items()}
        self.t = dict.fromkeys(self.w, 0)

    def step(self, loss):
        grads = torch.autograd.grad(loss, list(self.w.values()), allow_unused=True)
        new = {}
        for (k, w), g in zip(self.w.items(), grads):
            new[k] = w
            if g is not None:
                self.t[k] += 1
                self.m[k] = B1 * self.m[k] + (1 - B1) * g
                self.v[k] = B2 * self.v[k] + (1 - B2) * g * g
                m_hat = self.m[k] / (1 - B1 ** self.t[k])
                v_hat = self.v[k] / (1 - B2 ** self.t[k])
                new[k] = (w - LR * m_hat / (v_hat.sqrt() + EPS)).detach().requires_grad_()
        self.w = new
        self.still = moved(self.still, new)


def generator(w, a, x, blocks=3):
    """The ResNet supernet with 3 separable blocks, at base widths `a`; the leading weights are cut by hand."""

    def cut(name, out, into, transposed=False):
        weight, bias = w[f"{name}.weight"], w[f"{name}.bias"][:out]
        return (weight[:into, :out] if transposed else weight[:out, :into]), bias

    def conv(name, x, out, stride=1, pad=1, reflect=False):
        weight, bias = cut(name, out, x.shape[1])
        if reflect:
            return F.conv2d(F.pad(x, (pad,) * 4, mode="reflect"), weight, bias, stride)
        return F.conv2d(x, weight, bias, stride, pad)

    def separable(name, x, out):
        c = x.shape[1]
        weight, bias = w[f"{name}.depthwise.weight"][:c], w[f"{name}.depthwise.bias"][:c]
        x = F.conv2d(F.pad(x, (1, 1, 1, 1), mode="reflect"), weight, bias, groups=c)
        return conv(f"{name}.pointwise", F.instance_norm(x), out, pad=0)

    def inserted(slot, x):
        for i in range(a[f"d.{slot}"]):
            y = F.relu(F.instance_norm(conv(f"slots.{slot}.{i}.conv1", x, x.shape[1], reflect=True)))
            x = x + F.instance_norm(conv(f"slots.{slot}.{i}.conv2", y, x.shape[1], reflect=True))
        return x

    def up(name, x, out):
        weight, bias = cut(name, out, x.shape[1], transposed=True)
        return inserted(name, F.relu(F.instance_norm(F.conv_transpose2d(x, weight, bias, 2, 1, 1))))

    x = F.relu(F.instance_norm(conv("stem", x, a["stem"], pad=3, reflect=True)))
    x = inserted("down1", F.relu(F.instance_norm(conv("down1", x, 2 * a["down1"], stride=2))))
    x = inserted("down2", F.relu(F.instance_norm(conv("down2", x, 4 * a["down2"], stride=2))))
    for i in range(blocks):
        y = F.relu(F.instance_norm(separable(f"body.{i}.conv1", x, 4 * a[f"mid{i + 1}"])))
        x = x + F.instance_norm(separable(f"body.{i}.conv2", y, x.shape[1]))
    x = up("up2", up("up1", x, 2 * a["up1"]), a["up2"])
    return torch.tanh(conv("head", x, w["head.bias"].shape[0], pad=3, reflect=True))


def patches(w, h, prefix="", pad=1):
    """PatchGAN with two strided layers: conv LReLU, conv IN LReLU, conv IN LReLU, conv; all 4x4. -> maps, scores.

    A layer that has u and v divides its weight by u^T W v.
    """
    maps = []
    for i, stride in enumerate((2, 2, 1)):
        weight = w[f"{prefix}convs.{i}.weight"]
        if (u := w.get(f"{prefix}convs.{i}.u")) is not None:
            weight = weight / (u @ weight.flatten(1) @ w[f"{prefix}convs.{i}.v"])
        h = F.conv2d(h, weight, w.get(f"{prefix}convs.{i}.bias"), stride, pad)
        h = F.leaky_relu(F.instance_norm(h) if i else h, 0.2)
        maps.append(h)
    return maps, F.conv2d(h, w[f"{prefix}last.weight"], w[f"{prefix}last.bias"], 1, pad)


def discriminator(D, x, y):
    """[(maps, scores)] by scale; the second sees 3x3 means of stride 2."""
    w, h = {**D.w, **D.still}, torch.cat([x, y], 1)
    if not any(key.startswith("coarser") for key in w):
        return [patches(w, h)]
    inside = F.avg_pool2d(torch.ones_like(h), 3, 2, 1)  # the share of a window that is in the picture
    return [patches(w, h, pad=2), patches(w, F.avg_pool2d(h, 3, 2, 1) / inside, "coarser.0.", pad=2)]


def moved(still, w):
    """u and v after one power iteration with the weights as they are now."""
    new = {}
    for name in [key.removesuffix(".u") for key in still if key.endswith(".u")]:
        W = w[f"{name}.weight"].detach().flatten(1)
        v = W.T @ still[f"{name}.u"]
        new[f"{name}.v"] = v / v.norm()
        u = W @ new[f"{name}.v"]
        new[f"{name}.u"] = u / u.norm()
    return new


def scored(judged):
    """One number an image: over patches, then over scales."""
    return sum(scores.mean((1, 2, 3)) for _, scores in judged) / len(judged)


def ssim(x, y):
    """Wang 2004: an 11 x 11 Gaussian window of sigma 1.5, inside the image; data range 2. [N]."""
    t = torch.arange(11, dtype=torch.float64) - 5
    g = torch.exp(-(t**2) / (2 * 1.5**2))
    window = (g[:, None] * g / g.sum() ** 2)[None, None]

    def mean(z):
        return F.conv2d(z, window)

    c1, c2 = (0.01 * 2) ** 2, (0.03 * 2) ** 2
    mx, my = mean(x), mean(y)
    vx, vy, cov = mean(x * x) - mx**2, mean(y * y) - my**2, mean(x * y) - mx * my
    s = (2 * mx * my + c1) * (2 * cov + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))
    return s.mean((1, 2, 3))


def L_OD(T, S):
    """10 (1 - SSIM) + 1e-5 TV + 3 L1, [N]; the teacher is fixed."""
    T = T.detach()
    tv = (S[:, :, 1:] - S[:, :, :-1]).abs().sum((1, 2, 3)) + (S[..., 1:] - S[..., :-1]).abs().sum((1, 2, 3))
    return 10 * (1 - ssim(T, S)) + 1e-5 * tv + 3 * (T - S).abs().mean((1, 2, 3))


GAN = {  # D's loss, G's loss
    "hinge": (lambda r, f: F.relu(1 - r).mean() + F.relu(1 + f).mean(), lambda f: -f.mean()),
    "vanilla": (lambda r, f: -torch.log(torch.sigmoid(r)).mean() - torch.log(1 - torch.sigmoid(f)).mean(),
                lambda f: -torch.log(torch.sigmoid(f)).mean()),
    "lsgan": (lambda r, f: ((r - 1) ** 2).mean() + (f**2).mean(), lambda f: ((f - 1) ** 2).mean())}


PIX2PIXHD = {"objective": {"gan": "lsgan", "scales": "sum", "lambda_recon": 0, "lambda_features": 10,
                           "lambda_perceptual": 10, "backbone": "lite0"},
             "patch": {"ndf": 8, "scales": 2, "padding": 2}}
GAUGAN = {"objective": {**PIX2PIXHD["objective"], "gan": "hinge", "scales": "mean", "d_factor": 1},
          "patch": {**PIX2PIXHD["patch"], "spectral": True}}
CASES = {**{gan: {"objective": {"gan": gan}} for gan in GAN}, "pix2pixhd": PIX2PIXHD, "gaugan": GAUGAN}


def L_D(case, real, *fakes):
    """Of each fake in turn, added up."""
    if case == "pix2pixhd":  # summed over scales, halved
        return sum(0.5 * (((r - 1) ** 2).mean() + (f**2).mean()) for fake in fakes for (_, r), (_, f) in zip(real, fake))
    if case == "gaugan":  # the mean of two scales
        return sum((F.relu(1 - r).mean() + F.relu(1 + f).mean()) / 2 for fake in fakes for (_, r), (_, f) in zip(real, fake))
    return sum(0.5 * GAN[case][0](real[0][1], fake[0][1]) for fake in fakes)


def L_sup(case, D, x, y, fake):
    """Eq. (4): pix2pix's GAN + 100 L1; the others' GAN + 10 feature matching + 10 perceptual."""
    judged = discriminator(D, x, fake)
    if case in GAN:
        return GAN[case][1](judged[0][1]) + 100 * (y - fake).abs().mean()
    gan = sum(((f - 1) ** 2).mean() for _, f in judged) if case == "pix2pixhd" else -sum(f.mean() for _, f in judged) / 2
    features = 0.0
    for (real, _), (ours, _) in zip(discriminator(D, x, y), judged):
        features = features + sum((a - b.detach()).abs().mean() for a, b in zip(ours, real)) * 4 / len(ours) / 2
    first, second = torch.linspace(-1, 1, 108).sin().view(4, 3, 3, 3), torch.linspace(-2, 1, 216).cos().view(6, 4, 3, 3)
    perceptual, a, b = 0.0, fake.repeat(1, 3, 1, 1), y.repeat(1, 3, 1, 1)
    for weight, share in ((first, 0.5), (second, 2.0)):  # conftest's Eyes
        a, b = (F.leaky_relu(F.conv2d(z, weight.double(), stride=2, padding=1), 0.1) for z in (a, b))
        perceptual = perceptual + share * (a - b).abs().mean()
    return gan + 10 * features + 10 * perceptual


def assert_same(player, reference):
    """Weights, and Adam's first moment: that is the gradient itself, where a step hardly tells its size.

    Where a gradient is nothing but rounding (a bias before an instance norm) Adam's steps are noise, which has no effect.
    """
    state, compared = moments(player), 0
    largest = max(float(m.abs().max()) for m in reference.m.values())
    for name, p in player.net.named_parameters():
        if not reference.t[name]:
            assert p not in state
            assert torch.equal(p.detach(), reference.w[name].detach())
            continue
        torch.testing.assert_close(state[p]["exp_avg"], reference.m[name], rtol=1e-8, atol=1e-12 * largest, msg=name)
        assert int(state[p]["step"]) == reference.t[name]
        told = reference.v[name].sqrt() > 1e-10 * largest
        compared += int(told.sum())
        torch.testing.assert_close(p.detach()[told], reference.w[name].detach()[told], rtol=0, atol=1e-9, msg=name)
        assert told.any() or name.endswith("bias")
    for name, buffer in reference.still.items():
        torch.testing.assert_close(player.net.get_buffer(name), buffer, rtol=1e-9, atol=1e-12, msg=name)
    assert compared > 0.5 * sum(p.numel() for p in player.net.parameters())


@pytest.mark.parametrize("case, laid", [*((case, quick.LAID) for case in CASES), ("hinge", 1)])
def test_stage_1_is_equations_1_to_5(doubles, eyes, method_of, batch_of, monkeypatch, case, laid):
    """laid: from how many weights on the gradients of slices are added in place (no weight is so large here by itself)."""
    monkeypatch.setattr(quick, "LAID", laid)
    phase = in_doubles(method_of("ugc", **CASES[case]).phase("supernet", {}))
    G, D = (Adam(p.net) for p in (phase.G, phase.D))
    space = phase.space
    for step in range(STEPS):
        batch, clock = batch_of(step, dtype=torch.float64), CLOCK.at(step)
        x, y, u = batch.source, batch.target, batch.unlabelled
        r = phase.draw(clock)
        logged = phase.step(batch, clock)

        fake, taught = generator(G.w, space.largest, x), generator(G.w, space.largest, u).detach()
        of_D = L_D(case, discriminator(D, x, y), discriminator(D, x, fake.detach()))
        D.step(of_D)
        supervised = L_sup(case, D, x, y, fake)  # Eq. (2) to (4)
        distilled = sum(L_OD(taught, generator(G.w, k, u)).mean() for k in (r, space.smallest))  # Eq. (5)
        of_G = supervised + distilled  # Eq. (1)
        G.step(of_G)

        for player, value in (("D", of_D), ("G", of_G)):
            total = sum(float(v) for k, v in logged.items() if k.startswith(player + "/"))
            assert total == pytest.approx(float(value.detach()), rel=1e-9)
        assert_same(phase.D, D)
        assert_same(phase.G, G)


@pytest.mark.parametrize("options, case", [
    ({}, "hinge"), ({"filter": "quality", "discriminators": "shared"}, "hinge"), ({"order": "paper", "decay": 0.5}, "hinge"),
    ({"every": 2, "filter": "off"}, "hinge"), ({}, "gaugan"), ({"discriminators": "shared"}, "pix2pixhd"),
    ({"order": "paper"}, "gaugan"), ({"supervised": 3.0, "every": 2}, "hinge"), ({"supervised": 0.5}, "gaugan")], ids=str)
def test_stage_2_is_equations_6_to_9(doubles, eyes, method_of, batch_of, monkeypatch, options, case):
    method = method_of("ugc", options, **CASES[case])
    supernet = method.setting.generator(method.setting.config, "supernet")
    space = supernet.space
    archs = {"student": space.smallest, "deep": space.largest.having({"stem": 4, "mid2": 2, "up1": 3}),
             "wide": space.largest.having({c.name: 0 for c in space.choices if c.is_depth})}
    D_start = method.setting.discriminator("supernet/D").state_dict()
    phase = in_doubles(method.phase("distill", {"supernet": supernet, "D": D_start, "selection": Selection(**archs)}))
    nets = {name: Adam(p.net) for name, p in phase.players.items()}
    coins, phi = {}, phase.phi

    def watched(k, scores, clock):
        coins[k] = phi(k, scores, clock)
        return coins[k]

    monkeypatch.setattr(phase, "phi", watched)
    judge = {k: nets["D" if options.get("discriminators") == "shared" else f"D_{k}"] for k in ("deep", "wide")}
    ema, decay, tossed_ever = {}, options.get("decay", 0.99), []

    def run(name, x):
        return generator(nets[name].w, archs[name], x)

    def opinions(x, u):
        with torch.no_grad():
            images = {k: (run(k, x), run(k, u)) for k in judge}
            scores = {k: scored(discriminator(D, u, images[k][1])) for k, D in judge.items()}
        return images, scores

    for step in range(STEPS):
        batch, clock = batch_of(step, n=2, m=3, dtype=torch.float64), CLOCK.at(step)
        x, y, u = batch.source, batch.target, batch.unlabelled
        logged = phase.step(batch, clock)

        images, scores = opinions(x, u)
        of = {}
        if step % options.get("every", 1) == 0:
            fakes = {k: run(k, x) for k in judge}
            for name in [n for n in nets if n.startswith("D") and n != "D_student"]:
                D, own = nets[name], [k for k in judge if judge[k] is nets[name]]
                judged = {k: discriminator(D, x, fakes[k].detach()) for k in own}
                of[name] = L_D(case, discriminator(D, x, y), *judged.values())
                for k in own:
                    mean = float(scored(judged[k]).detach().mean())
                    ema[k] = decay * ema[k] + (1 - decay) * mean if k in ema else mean
                D.step(of[name])
            for k, D in judge.items():
                of[k] = L_sup(case, D, x, y, fakes[k])  # Eq. (6)
            for k in judge:
                nets[k].step(of[k])
        if options.get("order") == "paper":
            images, scores = opinions(x, u)

        S_x, S_u = run("student", x), run("student", u)
        loss = 0.0
        for k in judge:
            assert float(phase.D_EMA[k]) == pytest.approx(ema[k], rel=1e-9)
            tossed = {"paper": scores[k] > ema[k], "quality": scores[k] <= ema[k],
                      "off": torch.zeros(3, dtype=torch.bool)}[options.get("filter", "paper")]
            assert torch.equal(coins[k][~tossed], torch.ones_like(coins[k][~tossed]))  # Eq. (8)
            assert set(coins[k].tolist()) <= {0.0, 1.0}
            tossed_ever += tossed.tolist()
            loss = loss + L_OD(images[k][0], S_x).mean()  # Eq. (7)
            loss = loss + (coins[k] * L_OD(images[k][1], S_u)).mean()  # Eq. (9)
        if w := options.get("supervised"):  # ours: Eq. (4) for the student, against its own D
            D = nets["D_student"]
            of["D_student"] = L_D(case, discriminator(D, x, y), discriminator(D, x, S_x.detach()))
            D.step(of["D_student"])
            loss = loss + w * L_sup(case, D, x, y, S_x)
        of["student"] = loss
        nets["student"].step(loss)

        assert {key.split("/")[0] for key in logged} == set(of)
        for name, value in of.items():
            total = sum(float(v) for k, v in logged.items() if k.startswith(name + "/"))
            assert total == pytest.approx(float(value.detach()), rel=1e-9), name
        for name, player in phase.players.items():
            assert_same(player, nets[name])
    assert options.get("filter") == "off" or {True, False} == set(tossed_ever)  # both sides of Eq. (8) were met


@pytest.mark.parametrize("case", ["hinge", "pix2pixhd", "gaugan"])
def test_the_original_is_equation_4(doubles, eyes, method_of, batch_of, case):
    """An original, for three steps of a full ResNet, by each family's objective."""
    phase = in_doubles(method_of("original", **CASES[case]).phase("original", {}))
    G, D = (Adam(p.net) for p in (phase.G, phase.D))

    def run(w, x):
        def conv(name, x, stride=1, pad=1, reflect=False):
            if reflect:
                x = F.pad(x, (pad,) * 4, mode="reflect")
            return F.conv2d(x, w[f"{name}.weight"], w[f"{name}.bias"], stride, 0 if reflect else pad)

        x = F.relu(F.instance_norm(conv("stem", x, pad=3, reflect=True)))
        x = F.relu(F.instance_norm(conv("down1", x, 2)))
        x = F.relu(F.instance_norm(conv("down2", x, 2)))
        for i in range(3):
            y = F.relu(F.instance_norm(conv(f"body.{i}.conv1", x, reflect=True)))
            x = x + F.instance_norm(conv(f"body.{i}.conv2", y, reflect=True))
        for name in ("up1", "up2"):
            x = F.relu(F.instance_norm(F.conv_transpose2d(x, w[f"{name}.weight"], w[f"{name}.bias"], 2, 1, 1)))
        return torch.tanh(conv("head", x, pad=3, reflect=True))

    for step in range(STEPS):
        batch = batch_of(step, dtype=torch.float64)
        x, y = batch.source, batch.target
        phase.step(batch, CLOCK.at(step))
        fake = run(G.w, x)
        D.step(L_D(case, discriminator(D, x, y), discriminator(D, x, fake.detach())))
        G.step(L_sup(case, D, x, y, fake))
        assert_same(phase.D, D)
        assert_same(phase.G, G)
    assert not math.isnan(float(fake.detach().sum()))
