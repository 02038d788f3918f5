"""What the reckoning of memory counts beside generators."""

from ugc.engine.plan import seen_bytes


def test_a_backbones_maps_are_counted_layer_by_layer():
    """VGG-19 at 32x32: 2 x 64 channels at full size, 2 x 128 at a half, 4 x 256, 4 x 512, 512; twice, in fp32."""
    numbers = 2 * 64 * 32 * 32 + 2 * 128 * 16 * 16 + 4 * 256 * 8 * 8 + 4 * 512 * 4 * 4 + 512 * 2 * 2
    assert seen_bytes("vgg19", (32, 32)) == 8 * numbers
    assert seen_bytes("vgg19", (64, 64)) == 4 * 8 * numbers
    assert 0 < seen_bytes("lite0", (32, 32)) < seen_bytes("vgg19", (32, 32))
    assert seen_bytes("none", (32, 32)) == 0
