"""Which files `ugc translate` reads, and what their answers are called: pictures, or label maps with their instance maps.

The trees of Cityscapes and of pix2pixHD are known: there the instance maps lie beside, and what else lies beside (colours,
training ids) is no source.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from glob import escape
from pathlib import Path

from ugc.core.encoding import Encoding, LabelEncoding
from ugc.core.errors import UserError
from ugc.data.folders import natural
from ugc.data.layouts import ENDINGS, LABELS
from ugc.data.pictures import SUFFIXES


@dataclass(frozen=True)
class Source:
    """One file, its instance map where there is one, and the name of its answer."""

    path: Path
    name: str
    instances: Path | None = None


def sources(given: str, encoding: Encoding, instances: Path | None = None) -> list[Source]:
    """What a file, a folder or a glob names, in natural order.

    Args:
        encoding: what the net takes.
        instances: the folder of the instance maps, or the one for the one label map; None: they lie beside.

    Raises:
        UserError: nothing there, an instance map that is not found, or some that the net does not take.
    """
    if not isinstance(encoding, LabelEncoding):
        if instances:
            raise UserError(f"--instances {instances}: this net takes {encoding.text}; leave --instances out")
        return _each_once(given, [Source(path, path.name) for path in files(given, Path(given).glob("*"))])
    if instances and not encoding.edges:
        raise UserError(f"--instances {instances}: this net takes {encoding.text}; leave --instances out")
    if instances and not instances.exists():
        raise UserError(f"--instances {instances}: is not there; expected the folder of the instance maps")
    folder = Path(given)
    found = files(given, folder.rglob(f"*{ENDINGS['A']}.*") if _cityscapes(folder) else folder.glob("*"))
    found = [path for path in found if path.stem.endswith(ENDINGS["A"])] or found
    if instances and instances.is_file() and len(found) > 1:
        raise UserError(f"--instances {instances}: is one file for {len(found)} label maps; expected their folder")
    return _each_once(given, [Source(path, _answer(path), _beside(path, instances) if encoding.edges else None)
                              for path in found])


def _each_once(given: str, made: list[Source]) -> list[Source]:
    """UserError where two answers would have one name."""
    twice = [name for name, count in Counter(source.name for source in made).items() if count > 1]
    if twice:
        raise UserError(f"{given!r}: {min(twice)!r} would be the answer of more than one source; translate one folder at a "
                        f"time")
    return made


def files(given: str, inside: Iterable[Path]) -> list[Path]:
    """The picture files that a name means; `inside` are those of the folder, if it is one."""
    path = Path(given)
    if path.is_file():
        return [path]
    if path.is_dir():
        found = list(inside)
    else:
        base = Path(path.anchor) if path.anchor else Path()
        try:
            found = list(base.glob(str(path.relative_to(path.anchor) if path.anchor else path)))
        except ValueError as error:
            raise UserError(f"{given!r} is no glob ({error}); expected such as 'in/*.png' or 'in/**/*.png'") from None
    found = [p for p in found if p.suffix.lower() in SUFFIXES and p.is_file() and not p.name.startswith(".")]
    if not found:
        raise UserError(f"{given!r}: no picture there; expected a file, a folder of pictures "
                        f"({', '.join(sorted(SUFFIXES))}) or a glob such as 'in/*.png'")
    return sorted(found, key=lambda p: natural(p.name))


def _cityscapes(folder: Path) -> bool:
    """Whether a folder, or one in it, holds label maps as Cityscapes names them."""
    return folder.is_dir() and next(folder.rglob(f"*{ENDINGS['A']}.*"), None) is not None


def _answer(label: Path) -> str:
    """`1.png` -> `1.png`; `x_gtFine_labelIds.png` -> `x_leftImg8bit.png`, which is that tree's name for the picture."""
    if label.stem.endswith(ENDINGS["A"]):
        return label.stem.removesuffix(ENDINGS["A"]) + ENDINGS["B"] + label.suffix
    return label.name


def _beside(label: Path, given: Path | None) -> Path:
    """The instance map of a label map: of the same stem, or as Cityscapes names it."""
    if given and given.is_file():
        return given
    names, folders = [label.stem], [given, given / label.parent.name] if given else []
    if label.stem.endswith(ENDINGS["A"]):
        names.insert(0, label.stem.removesuffix(ENDINGS["A"]) + ENDINGS["I"])
        folders = folders or [label.parent]
    ending = LABELS["A"].format("")
    if label.parent.name.endswith(ending):
        folders = folders or [label.parent.with_name(LABELS["I"].format(label.parent.name.removesuffix(ending)))]
    there = [path for folder in folders for name in names for path in sorted(folder.glob(f"{escape(name)}.*"))
             if path != label and path.suffix.lower() in SUFFIXES]
    if not there:
        where = f" ({folders[0] / names[0]}.png is not there)" if folders else ""
        raise UserError(f"{label} has no instance map beside it, which this net takes{where}; give their folder with "
                        f"--instances")
    return there[0]
