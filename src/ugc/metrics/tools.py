"""The networks that measure: those that come with the installation, and those whose files are at hand."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ugc.metrics.features import Extractor, Features, InceptionExtractor, Lite0Extractor
from ugc.metrics.lpips import Lpips
from ugc.nn.inception import Inception


@dataclass(frozen=True)
class Tools:
    """Extractors of features, and judges of an image and its target by the name of their metric."""

    extractors: tuple[Extractor, ...] = ()
    judges: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def features(self, images: Tensor) -> Features:
        """Every space of images [N, C, H, W] in [-1, 1]."""
        return Features({space: x for extract in self.extractors for space, x in extract(images).spaces.items()})

    def collect(self, batches: Iterable[Tensor]) -> Features:
        """The features of a stream of batches; the images are not kept."""
        return Features.join(self.features(batch) for batch in batches)


def tools_at_hand(device: torch.device | str = "cpu", inception: bool = False, lpips: bool = False) -> Tools:
    """EfficientNet-Lite0 always, Inception and LPIPS where their files lie on this machine.

    Args:
        inception: ask for it: its file is downloaded where it is absent.
        lpips: the same.

    Raises:
        UserError: a download failed, or a file is another one than it should be.
    """
    lite0 = Lite0Extractor(device)
    extractors: list[Extractor] = [lite0]
    provenance: dict[str, Any] = dict(lite0.provenance)
    judges = {}
    if inception or Inception.cached():
        found = InceptionExtractor(device, download=inception)
        extractors.append(found)
        provenance["inception"] = found.provenance
    if lpips or Lpips.at_hand():
        judge = Lpips(device, download=lpips)
        judges["lpips"] = judge
        provenance["lpips"] = judge.provenance
    return Tools(tuple(extractors), judges, provenance)
