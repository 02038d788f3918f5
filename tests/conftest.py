"""What tests of several packages share: tiny settings of a method, random batches, float64 throughout."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from ugc.core.device import Device
from ugc.data.stream import Batch
from ugc.losses.distillation import DistillationConfig
from ugc.methods.method import METHODS, Method, Setting
from ugc.methods.objective import ObjectiveConfig
from ugc.models.discriminators import PatchConfig
from ugc.models.generator import FAMILIES
from ugc.training.player import OptimiserConfig

SIZE = (32, 32)
torch.set_num_threads(1)  # nets this small only wait for each other's threads


def make_setting(family: str = "pix2pix-resnet", seed: int = 0, objective: dict[str, Any] | None = None,
                 distillation: dict[str, Any] | None = None, patch: dict[str, Any] | None = None,
                 **config: Any) -> Setting:
    """base 8, 32x32, one channel to one, no backbone; ResNets have 3 blocks in the body."""
    cls = FAMILIES[family]
    fields = {"base": 8, "in_channels": 1, "out_channels": 1, **config}
    if "blocks" in cls.Config.model_fields:
        fields.setdefault("blocks", 3)
    return Setting(
        family=cls, config=cls.config_for(SIZE, **fields),
        patch=PatchConfig(**(patch or {"ndf": 8})).resolved(8, SIZE), size=SIZE, seed=seed,
        device=Device(torch.device("cpu"), "fp32"), objective=ObjectiveConfig(**(objective or {})),
        optimiser=OptimiserConfig(), distillation=DistillationConfig(backbone="none", **(distillation or {"l1": 3.0})))


def make_method(name: str = "ugc", options: dict[str, Any] | None = None, **setting: Any) -> Method:
    cls = METHODS[name]
    return cls(cls.Config(**(options or {})), make_setting(**setting))


def make_batch(seed: int, n: int = 2, m: int | None = None, dtype: torch.dtype = torch.float32) -> Batch:
    """Smooth random pictures in [-1, 1]: n pairs and m sources."""
    rng = np.random.default_rng(seed)

    def pictures(count: int) -> Tensor:
        coarse = torch.from_numpy(rng.uniform(-1, 1, (max(count, 1), 1, 8, 8)))[:count].to(dtype)
        return coarse.repeat_interleave(4, 2).repeat_interleave(4, 3) * 0.8

    return Batch(pictures(n), pictures(n), pictures(n if m is None else m))


@pytest.fixture(name="setting_of", scope="session")
def _setting_of() -> Callable[..., Setting]:
    return make_setting


@pytest.fixture(name="method_of", scope="session")
def _method_of() -> Callable[..., Method]:
    return make_method


@pytest.fixture(name="batch_of", scope="session")
def _batch_of() -> Callable[..., Batch]:
    return make_batch


@pytest.fixture
def doubles(monkeypatch: pytest.MonkeyPatch) -> None:
    """`.float()` leaves float64 alone, so that losses, which leave half precision by it, can be checked in float64."""
    plain = torch.Tensor.float
    monkeypatch.setattr(torch.Tensor, "float", lambda self: self if self.dtype == torch.float64 else plain(self))
