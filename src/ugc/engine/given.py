"""`--original DIR`: a saved net stands for the original. What must agree with the data, and what a run takes from it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ugc.core.encoding import Encoding, LabelEncoding
from ugc.core.errors import UserError
from ugc.core.files import place
from ugc.data.dataset import Dataset, text_of
from ugc.engine.recipe import Recipe
from ugc.export.saved import load_net, source_of
from ugc.export.terms import attribution
from ugc.methods.method import METHODS
from ugc.models.generator import FAMILIES, Generator


def given_original(recipe: Recipe) -> Path | None:
    """The folder of a saved net that stands for the original; None where it is trained, or left out.

    Raises:
        UserError: the method learns from such a net, and none is given.
    """
    if recipe.original not in ("train", "none"):
        return place(recipe.original)
    if METHODS[recipe.method].imitates:
        raise UserError(f"--method {recipe.method} learns from a net that you have: give --original DIR, the folder of a "
                        f"saved net such as RUN/original")
    return None


def held(recipe: Recipe, run: Path) -> Path | None:
    """Where the given original is read: the copy in the run's folder once that is made, whatever becomes of the other."""
    copy = run / "original"
    began = (run / "recipe.json").exists() and (copy / "config.json").exists()
    return given_original(recipe) and (copy if began else given_original(recipe))


@dataclass(frozen=True)
class Given:
    """The given original, in eval mode on the CPU, and what its folder says of it."""

    net: Generator
    about: dict[str, Any]

    @property
    def origin(self) -> dict[str, Any]:
        """Where it comes from, for whatever learns or begins from it."""
        kept = ("family", "arch", "data", "attribution", "recipe")
        origin = {key: self.about.get(key) for key in kept if key in self.about}
        return {**origin, "attribution": attribution(self.about)} if "original" in self.about else origin

    def notes(self, size: tuple[int, int]) -> list[str]:
        """Sentences on its use at `size` (H, W)."""
        trained = tuple(self.about.get("size", size))
        if trained == size:
            return []
        return [f"The original was trained at {text_of(trained)} and is used at {text_of(size)} here."]


def open_original(recipe: Recipe, dataset: Dataset, folder: Path | None) -> Given | None:
    """The given original, checked against the data; `folder`: that of `held`.

    Raises:
        UserError: no saved net there, or one for pictures of other channels, of another size or in the other direction.
    """
    if folder is None:
        return None
    net, about = load_net(folder)
    where, data, config = f"--original {folder}", recipe.data, net.config
    source, sources = source_of(net, about), dataset.encoding
    if not source.same(sources) and "labels" in (source.kind, sources.kind):
        raise UserError(f"{where}: takes {source.text}, the data are {sources.text}{_remedy(source, sources)}")
    there = (sources.channels, dataset.target_channels or config.out_channels)  # 0: the data have no target
    if (config.in_channels, config.out_channels) != there:
        side, wanted = ("source", config.in_channels) if config.in_channels != there[0] else ("target", config.out_channels)
        raise UserError(f"{where}: takes {config.in_channels} channels to {config.out_channels}, the data {there[0]} to "
                        f"{there[1]}; --set data.{side}_channels={wanted} reads the {side}s so")
    try:
        net.check_size(data.size)
    except UserError as error:
        raise UserError(f"{where}: {error}") from None
    if dataset.target_channels and about.get("direction", data.direction) != data.direction:
        raise UserError(f"{where}: was trained {about['direction']}, this run is {data.direction}; give --direction "
                        f"{about['direction']}")
    return Given(net, about)


def _remedy(net: Encoding, data: Encoding) -> str:
    """What to do where a net's sources are not encoded as the data's."""
    if not (isinstance(net, LabelEncoding) and isinstance(data, LabelEncoding)):
        return ""
    if net.classes != data.classes:
        return f"; --set data.classes={net.classes} reads them so, where no id is beyond"
    if net.edges != data.edges:
        return f"; {'add' if net.edges else 'take away'} their instance maps"
    return "; --set data.unknown=true reads them so" if net.unknown else "; some pixels of these are unknown (255)"


def like_original(folder: Path, family: str | None) -> dict[str, Any]:
    """A recipe's fields by which a supernet is of the original's kind: size, base, family and what that is built of.

    Args:
        family: the one that is asked for; of another one than the original's, only size and base are taken.
    """
    net, about = load_net(folder)
    config = net.config
    fields: dict[str, Any] = {"base": -(-config.base // 8) * 8, "data": {"size": about["size"]} if "size" in about else {}}
    if family in (None, about["family"]):
        kind = FAMILIES[about["family"]]
        own = kind.Config()  # what a supernet has of its own: the original's differs, or is about the search space
        free = {"in_channels", "out_channels", "base", "arch", "groups", "inserted_block", "hidden"} | {
            key for key, value in kind.original(own).model_dump().items() if value != getattr(own, key)}
        generator = {key: value for key, value in config.model_dump(mode="json").items() if key not in free}
        fields |= {"family": about["family"], "generator": generator}
    return fields
