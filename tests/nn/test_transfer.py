"""A net that begins as another: which layers are taken over, and that they compute what they did there."""

import copy

import pytest
import torch
import torch.nn.functional as F

from ugc.nn.transfer import take_over

SIZE = (32, 32)


def nets(setting_of, family, given=None, **fields):
    """A fresh supernet, and the original of the same or another setting, with running statistics that are not 0 and 1."""
    setting = setting_of(family, **fields)
    other = given or setting
    original = other.generator(other.family.original(other.config), "original")
    with torch.no_grad():
        for parameter in original.parameters():
            parameter.mul_(3)
        original.train()(pictures(9))
    return setting.generator(setting.config, "supernet"), original.eval()


def pictures(seed):
    return torch.rand(3, 1, *SIZE, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def bits(net):
    return {name: tensor.clone() for name, tensor in net.state_dict().items()}


def moved(net, before):
    return {name for name, tensor in net.state_dict().items() if not torch.equal(tensor, before[name])}


def test_a_resnet_begins_with_the_originals_stem_downs_ups_and_head(setting_of):
    net, original = nets(setting_of, "pix2pix-resnet")
    before = bits(net)
    taken = take_over(net, original, SIZE)
    assert taken.layers == ("stem", "down1", "down2", "up1", "up2", "head")
    assert {name.split(".")[0] for name in moved(net, before)} == {*taken.layers}  # the separable body shares nothing
    assert f"6 of {taken.of} convolutions" in taken.text and "up2, head" in taken.text

    def encoded(g, x):
        for name in ("stem", "down1", "down2"):
            x = F.relu(g.norms[name](getattr(g, name)(x)))
        return x

    assert torch.equal(encoded(net, pictures(1)), encoded(original, pictures(1)))
    deep = torch.rand(1, net.up1.parts[0], 8, 8)
    assert torch.equal(net.head(net.up2(net.up1(deep))), original.head(original.up2(original.up1(deep))))


def test_a_unet_without_inserted_blocks_is_the_original(setting_of):
    """All of it is taken over: convolutions, batch norms and their running statistics."""
    net, original = nets(setting_of, "pix2pix-unet", levels=3, depths=(0, 1))
    taken = take_over(net, original, SIZE)
    assert taken.layers == ("down.1", "down.2", "down.3", "up.3", "up.2", "up.1")
    closed = net.space.largest.having({c.name: 0 for c in net.space.choices if c.is_depth})
    x = pictures(1)
    with torch.no_grad():
        assert torch.equal(net.eval()(x, closed), original(x))
        assert not torch.allclose(net(x), original(x), atol=1e-2)  # what is inserted begins at random


def test_a_norm_comes_with_its_convolution_only(setting_of):
    """Batch norms of the body fit by shape; the convolutions that they belong to do not."""
    net, original = nets(setting_of, "pix2pix-resnet", norm="batch")
    assert original.body[0].norm1.weight.shape == net.body[0].norm1.weight.shape
    before = bits(net)
    take_over(net, original, SIZE)
    assert {name.split(".")[0] for name in moved(net, before)} == {"stem", "down1", "down2", "up1", "up2", "head", "norms"}
    for name in ("weight", "bias", "running_mean", "running_var"):
        assert torch.equal(getattr(net.norms["down2"], name), getattr(original.norms["down2"], name))


@pytest.mark.parametrize("other", [("pix2pix-resnet", {"base": 16}), ("pix2pix-unet", {"levels": 3}),
                                   ("pix2pix-resnet", {"norm": "batch", "base": 16})])
def test_nothing_fits_another_base_or_family(setting_of, other):
    net, original = nets(setting_of, "pix2pix-resnet", setting_of(other[0], **other[1]))
    before = bits(net)
    taken = take_over(net, original, SIZE)
    assert not taken.layers and not moved(net, before)
    assert "none of the" in taken.text and "at random" in taken.text


def test_a_narrowed_original_gives_the_layers_that_kept_their_width(setting_of):
    """As pruned nets have it: whole layers only, and the source of the copy keeps still."""
    net, _ = nets(setting_of, "pix2pix-resnet")
    setting = setting_of("pix2pix-resnet")
    config = setting.family.original(setting.config).model_copy(update={"widths": (4, 8)})
    arch = "stem=8,down1=8,down2=4,mid1=4,mid2=4,mid3=4,up1=8,up2=8,d.down1=0,d.down2=0,d.up1=0,d.up2=0"
    pruned = setting.generator(config.model_copy(update={"arch": arch}), "pruned")
    before = copy.deepcopy(pruned.state_dict())
    assert take_over(net, pruned, SIZE).layers == ("stem", "down1", "up2", "head")
    with torch.no_grad():
        net.stem.weight.zero_()
    assert not moved(pruned, before)
