"""Recalibration of batch norm."""

import pytest
import torch

from ugc.models.generator import FAMILIES, shrink
from ugc.nn.elastic import ElasticBatchNorm
from ugc.nn.shrink import recalibrate


def pictures(seed, n=2):
    return torch.empty(n, 3, 32, 32).uniform_(-1, 1, generator=torch.Generator().manual_seed(seed))


def unet():
    cls = FAMILIES["pix2pix-unet"]
    net = cls(cls.config_for((32, 32), base=8)).init(torch.Generator().manual_seed(0))
    return shrink(net, net.space.smallest.having({"d.down2": 1}))


def test_statistics_are_those_of_all_images():
    net, batches = unet(), [pictures(seed) for seed in range(4)]
    pictures_of = {}

    def watch(layer, args):
        pictures_of.setdefault(layer, []).append(args[0].double())

    norms = [m for m in net.modules() if isinstance(m, ElasticBatchNorm)]
    handles = [m.register_forward_pre_hook(watch) for m in norms]
    assert recalibrate(net, iter(batches)) is net and not net.training
    for handle in handles:
        handle.remove()
    assert len(norms) > 5
    for layer in norms:
        assert len(pictures_of[layer]) == 4
        everything = torch.cat(pictures_of[layer])
        torch.testing.assert_close(layer.running_mean.double(), everything.mean((0, 2, 3)), rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(layer.running_var.double(), everything.var((0, 2, 3)), rtol=1e-4, atol=1e-6)


def test_it_forgets_what_was_there_and_repeats():
    """Whatever the buffers held before, the same batches give the same statistics, and no weight moves."""
    net, batches = unet(), [pictures(seed) for seed in range(3)]
    weights = {k: p.detach().clone() for k, p in net.named_parameters()}
    first = {k: v.clone() for k, v in recalibrate(net, batches).state_dict().items()}
    for before in (7.0, float("nan"), float("inf")):
        for buffer in net.buffers():
            buffer.fill_(before)
        again = recalibrate(net, batches).state_dict()
        assert all(torch.equal(v, first[k]) for k, v in again.items())
    assert all(torch.equal(p, weights[k]) for k, p in net.named_parameters())
    assert untouched(net)


def test_with_one_batch_eval_is_train():
    """Statistics of the very batch: eval gives train's picture, but for the unbiased variance."""
    net, x = unet(), pictures(0, n=8)
    with torch.no_grad():
        trained = net.train()(x)
        torch.testing.assert_close(recalibrate(net, [x])(x), trained, rtol=0, atol=0.02)


def untouched(net):
    """Nothing is left hanging on the layers."""
    return not any(m._forward_pre_hooks or "forward" in vars(m) for m in net.modules())


def test_layers_are_themselves_again_when_a_batch_fails():
    net = unet()
    with pytest.raises(RuntimeError):
        recalibrate(net, [torch.zeros(1, 1, 1, 1)])
    assert untouched(net)


def test_a_net_without_batch_norm_is_untouched():
    cls = FAMILIES["pix2pix-resnet"]
    net = cls(cls.config_for((32, 32), base=8)).init(torch.Generator().manual_seed(0))
    before = {k: v.clone() for k, v in net.state_dict().items()}

    def none():
        pytest.fail("the batches were read")
        yield

    assert recalibrate(net, none()) is net and not net.training
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())


def test_every_image_counts_alike_in_whatever_batches_they_come():
    """Sixteen of 0 and one of 1, as a last batch of its own."""
    net = ElasticBatchNorm(1)
    x = torch.cat([torch.zeros(16, 1, 2, 2), torch.ones(1, 1, 2, 2)])
    recalibrate(net, x.split(16))
    for sizes in ([16, 1], [8, 9], [17], [3, 3, 3, 3, 5]):
        recalibrate(net, x.split(sizes))
        assert float(net.running_mean) == pytest.approx(1 / 17)
        assert float(net.running_var) == pytest.approx(1 / 17 * 16 / 17 * 68 / 67)  # of a sample of 68 pixels
    recalibrate(net, x.split(16))
    assert float(net.running_mean) == pytest.approx(1 / 17)
