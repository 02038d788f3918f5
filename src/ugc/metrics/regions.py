"""Whether each region of a coloured drawing has its colour: for data that are drawn with few flat colours, such as openmoji.

A region is a connected set of pixels (by their four neighbours) of one colour of the palette in the target, to within 4 of
255 in each channel. White is the ground and black the lines, so neither makes regions, nor do fewer than 4 pixels, which are
mostly the grey seams of lines. A region of n_r pixels is right where more pixels of the picture are nearest to its colour
than to any other of the palette:

    palette accuracy = sum_r n_r [mode of the picture's colours in r = colour of r] / sum_r n_r

So speckle is forgiven within a region, and which colour it is counts, which distances of sets hardly see.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ugc.metrics.protocols import METRICS, Metric

OPENMOJI = ("ffffff", "000000", "fcea2b", "d0cfce", "92d3f5", "3f3f3f", "ea5a47", "9b9b9a", "a57939", "d22f27", "f4aa41",
            "b1cc33", "61b2e4", "8967aa", "f1b31c", "e27022", "5c9e31", "6a462f", "ffa7c0", "b399c8", "1e50a0", "e67a94",
            "186648", "781e32")
GROUNDS = 2  # the palette's first colours make no regions
LEAST = 4  # pixels of a region
WITHIN = 4.5 / 127.5  # 4 of 255, on the scale of [-1, 1]


def palette_accuracy(prediction: Tensor, target: Tensor, palette: Sequence[str] = OPENMOJI) -> Tensor:
    """The share of the target's regions that have their colour, by pixels: 0 to 1, NaN for a target without a region.

    Args:
        prediction, target: [N, 3, H, W] in [-1, 1]; from the target come the regions.
        palette: colours as `rrggbb`, the ground and the lines first.

    Returns:
        [N].
    """
    if prediction.shape[1] != 3:
        raise ValueError(f"palette accuracy is for pictures of 3 channels, got {prediction.shape[1]}")
    colours = torch.tensor([list(bytes.fromhex(text)) for text in palette], device=target.device) / 127.5 - 1  # [K, 3]
    n, k = len(target), len(colours)
    truth, off = nearest(target, colours)
    found, _ = nearest(prediction, colours)
    judged = (truth >= GROUNDS) & (off < WITHIN)
    region, pixels = connected(torch.where(judged, truth, -1))[judged].unique(return_inverse=True, return_counts=True)[1:]
    count = len(pixels)  # region: of each judged pixel its number, from 0 to count - 1
    votes = torch.bincount(region * k + found[judged], minlength=count * k).view(count, k)
    own = region.new_zeros(count).scatter(0, region, truth[judged])[:, None]
    right = votes.gather(1, own)[:, 0] > votes.scatter(1, own, -1).amax(1)
    image = torch.arange(n, device=target.device).view(n, 1, 1).expand_as(judged)[judged]
    hits, all_ = (torch.bincount(image[some[region]], minlength=n) for some in (right & (pixels >= LEAST), pixels >= LEAST))
    return hits.double() / all_


def nearest(pictures: Tensor, colours: Tensor) -> tuple[Tensor, Tensor]:
    """Which of the colours [K, 3] each pixel is nearest to, and how far off it is in its worst channel: [N, H, W] both."""
    pixels = pictures.permute(0, 2, 3, 1)
    which = torch.cdist(pixels.flatten(0, 2), colours, compute_mode="donot_use_mm_for_euclid_dist").argmin(1)
    which = which.view(pixels.shape[:3])
    return which, (pixels - colours[which]).abs().amax(3)


def connected(kinds: Tensor) -> Tensor:
    """The connected sets of equal values in [N, H, W], each numbered by its first pixel: int64 [N, H, W].

    Every set hooks itself to the least number among its neighbours', and all follow to the end, until nothing moves.
    """
    at = torch.arange(kinds.numel(), device=kinds.device).view(kinds.shape)
    edges = [(at[:, 1:][same], at[:, :-1][same]) for same in [kinds[:, 1:] == kinds[:, :-1]]]
    edges += [(at[:, :, 1:][same], at[:, :, :-1][same]) for same in [kinds[:, :, 1:] == kinds[:, :, :-1]]]
    one, other = (torch.cat(ends) for ends in zip(*edges))
    root = at.flatten()
    while True:
        a, b = root[one], root[other]
        if torch.equal(a, b):
            return root.view(kinds.shape)
        root = root.scatter_reduce(0, torch.maximum(a, b), torch.minimum(a, b), "amin")
        while not torch.equal(root, further := root[root]):
            root = further


METRICS.register("palette_accuracy")(Metric(
    "palette_accuracy", "higher", "", "regions of one of 24 flat colours in the target (within 4/255, 4 pixels and more; "
    "neither white nor black) most of whose pixels are nearest to that colour, by pixels; mean over images that have one",
    per_image=palette_accuracy, channels=3, data="openmoji"))
