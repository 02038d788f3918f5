"""A recipe says all of a run: data, family, method, budget, schedule. What ran is `recipe.json` in the run folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from ugc.core.config import Config
from ugc.core.device import Device, choose
from ugc.core.errors import UserError
from ugc.core.files import place, read_json
from ugc.data.dataset import DATASETS, DataConfig
from ugc.engine.record import Record
from ugc.losses.distillation import DistillationConfig
from ugc.methods.method import METHODS, Setting
from ugc.methods.objective import ObjectiveConfig
from ugc.methods.selection import SelectionConfig
from ugc.models.discriminators import PatchConfig
from ugc.models.generator import FAMILIES, Generator, GeneratorConfig
from ugc.search.budget import spelled
from ugc.training.player import OptimiserConfig
from ugc.version import __version__

FORMAT = 1  # of the run folder: raise it when older folders cannot go on


class Steps(Config):
    """Optimiser steps of each training stage. Steps, never epochs: with partial labels an epoch has two meanings."""

    original: int = Field(default=40_000, ge=1, le=10**9)
    supernet: int = Field(default=40_000, ge=1, le=10**9)
    distill: int = Field(default=40_000, ge=1, le=10**9)


class Recipe(Config):
    """One run.

    base: full base width (64 = the papers'). generator: further fields of the family's config.
    budget: "" takes the family's (40x ResNet, 15x UNet, 17x pix2pixHD, 31x GauGAN).
    original: train, none, or the folder of a saved net.
    options: the method's own. log_every counts steps; grids: how many sample grids a stage leaves.
    """

    name: str = ""
    data: DataConfig
    family: str = "pix2pix-resnet"
    base: int = Field(default=64, ge=1)
    generator: dict[str, Any] = {}
    patch: PatchConfig = PatchConfig()
    method: str = "ugc"
    options: dict[str, Any] = {}
    budget: str = ""
    original: str = "train"
    steps: Steps = Steps()
    batch: int = Field(default=4, ge=1)
    optimiser: OptimiserConfig = OptimiserConfig()
    objective: ObjectiveConfig = ObjectiveConfig()
    distillation: DistillationConfig = DistillationConfig()
    search: SelectionConfig = SelectionConfig()
    seed: int = Field(default=0, ge=0)
    device: str = "auto"
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    log_every: int = Field(default=20, ge=1)
    grids: int = Field(default=5, ge=0, le=1000)

    @model_validator(mode="after")
    def _names(self) -> Recipe:
        """Unknown families and methods are noticed at once."""
        try:
            FAMILIES[self.family]
            METHODS[self.method].Config.parse(self.options, "options")
        except UserError as error:
            raise ValueError(str(error)) from None
        return self

    def resolved(self) -> Recipe:
        """The same with every `auto` and default that depends on the machine or the folder spelled out.

        Device, precision, backbones, the family's discriminator, objective and budget, the method's options, absolute
        paths: what `recipe.json` keeps.
        """
        device, family, own = choose(self.device, self.precision), FAMILIES[self.family], self.spelled()
        return self.model_copy(update={
            "device": device.device.type if self.device == "auto" else self.device,
            "precision": device.precision, "options": own.options,
            "budget": spelled(self.budget or family.default_budget), "original": self._original(),
            "patch": own.patch, "objective": own.objective,
            "distillation": self.distillation.resolved(), "data": self.data.model_copy(update=self._paths())})

    def spelled(self) -> Recipe:
        """The same with the family's own discriminator and objective, and all of the method's options, filled in."""
        family, options = FAMILIES[self.family], METHODS[self.method].Config.parse(self.options, "options")
        return self.model_copy(update={
            "options": options.model_dump(mode="json"), "objective": self.objective.resolved(family.objective),
            "patch": self.patch.resolved(self.base, self.data.size, family.judge)})

    def _paths(self) -> dict[str, str]:
        """Folders and .meta files by absolute path, so that a run goes on from any directory."""
        given = {"path": self.data.path, "labels": self.data.labels}
        return {key: str(place(value).resolve()) for key, value in given.items()
                if isinstance(value, str) and value not in DATASETS and place(value).exists()}

    def _original(self) -> str:
        """`train`, `none`, or the absolute path of a saved net's folder."""
        return self.original if self.original in ("train", "none") else str(place(self.original).resolve())

    @field_validator("generator")
    @classmethod
    def _its_own(cls, fields: dict[str, Any]) -> dict[str, Any]:
        elsewhere = {"base": "base", "in_channels": "data.source_channels", "out_channels": "data.target_channels"}
        for name in elsewhere.keys() & fields.keys():
            raise ValueError(f"{name} has no place here; set {elsewhere[name]}")
        return fields

    def compute(self) -> Device:
        return choose(self.device, self.precision)

    def setting(self, channels: tuple[int, int]) -> Setting:
        """What methods are handed, for pictures of (source, target) channels.

        Raises:
            UserError: a size that the net cannot run on, or a wrong field of the family's config.
        """
        family, size, own = FAMILIES[self.family], self.data.size, self.spelled()
        fields = {"in_channels": channels[0], "out_channels": channels[1], "base": self.base, **self.generator}
        config = family.config_for(size, **fields)
        self._check(family, config)
        own.patch.check_size(size)
        return Setting(family, config, own.patch, size, self.seed, self.compute(), own.objective, self.optimiser,
                       self.distillation)

    def _check(self, family: type[Generator], config: GeneratorConfig) -> None:
        import torch

        with torch.device("meta"):
            family(config).check_size(self.data.size)


def read_recipe(folder: Path) -> dict[str, Any]:
    """What `recipe.json` of a run folder says, new fields at their defaults and spelled out.

    Raises:
        UserError: damaged, or of a version whose runs this one cannot go on with.
    """
    path, about = folder / "recipe.json", Record(folder)
    made = (about.env.get("versions") or {}).get("ugc", "of an unknown version")
    other = (f"{folder} holds a run of ugc {made}, and this is ugc {__version__}, which cannot go on with it (%s): use that "
             "version, or give another --out")
    if about.run.get("format", FORMAT) != FORMAT:
        raise UserError(other % f"form {about.run['format']} of the folder; expected {FORMAT}")
    try:
        return Recipe.parse(read_json(path), str(path)).spelled().model_dump(mode="json")
    except UserError as error:
        raise error if made == __version__ else UserError(other % error) from None


def flat(data: Any, prefix: str = "") -> dict[str, Any]:
    """Nested tables as `a.b.c` -> value."""
    if not isinstance(data, dict) or not data:
        return {prefix: data}
    return {k: v for key, value in data.items() for k, v in flat(value, f"{prefix}.{key}" if prefix else key).items()}
