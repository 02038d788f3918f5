"""Textures of rendered streets, drawn with numpy from a fixed seed: every street has the same ones."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from ugc.core.clock import Clock

Floats = NDArray[np.float64]
Picture = NDArray[np.uint8]

FACADES, GROUNDS = 16, 8  # how many kinds of upper storeys and of ground floors
BAY, STOREY, GROUND = 3.0, 3.2, 3.8  # metres: width of a bay, height of an upper storey and of a ground floor
FOLIAGE = 3
DARK_GLASS = (0.16, 0.20, 0.25)


@dataclass(frozen=True)
class Look:
    """A texture and how many metres one copy of it covers (x, y of the surface)."""

    picture: Picture  # [H, W, 3]
    span: tuple[float, float]


def noise(rng: np.random.Generator, shape: tuple[int, int], cells: int, octaves: int = 4, fall: float = 0.5) -> Floats:
    """Tileable value noise in [0, 1] of that shape; the coarsest octave has cells x cells values."""
    total, weight = np.zeros(shape), 0.0
    for octave in range(octaves):
        n = min(cells * 2**octave, *shape)
        grid = rng.random((n, n))
        total += fall**octave * _stretched(grid, shape)
        weight += fall**octave
    return total / weight


def _stretched(grid: Floats, shape: tuple[int, int]) -> Floats:
    """A periodic grid on more points, with smooth steps between."""
    for axis in (0, 1):
        n, size = grid.shape[axis], shape[axis]
        at = np.arange(size) * n / size
        low = at.astype(int)
        part = at - low
        part = part * part * (3 - 2 * part)
        part = part[:, None] if axis == 0 else part[None, :]
        grid = np.take(grid, low % n, axis) * (1 - part) + np.take(grid, (low + 1) % n, axis) * part
    return np.asarray(grid)


@cache
def looks() -> dict[str, Look]:
    """Every texture by name."""
    found: dict[str, Look] = {}
    for i in range(3):
        found[f"asphalt{i}"] = Look(_bytes(_asphalt(_rng(f"asphalt{i}"), i)), (9.0, 9.0))
        found[f"paving{i}"] = Look(_bytes(_paving(_rng(f"paving{i}"), i)), (3.0, 3.0))
        found[f"foliage{i}"] = Look(_bytes(_foliage(_rng(f"foliage{i}"))), (1.6, 1.6))
    for i in range(2):
        found[f"grass{i}"] = Look(_bytes(_grass(_rng(f"grass{i}"))), (7.0, 7.0))
        found[f"planks{i}"] = Look(_bytes(_planks(_rng(f"planks{i}"), i)), (2.0, 2.0))
    for i in range(FACADES):
        _in_four(found, f"facade{i}", _facade(_rng(f"facade{i}"), i), (BAY, STOREY))
    for i in range(GROUNDS):
        _in_four(found, f"ground{i}", _ground(_rng(f"ground{i}"), i), (2 * BAY, GROUND))
    return found


def _in_four(found: dict[str, Look], name: str, picture: Floats, span: tuple[float, float]) -> None:
    """Copies that start at an edge or in the middle, along both sides: even counts of bays need the latter."""
    for x in (0, 1):
        for y in (0, 1):
            rolled = np.roll(picture, (picture.shape[0] // 2 * y, picture.shape[1] // 2 * x), (0, 1))
            found[f"{name}.{x}{y}"] = Look(_bytes(rolled), span)


def _rng(name: str) -> np.random.Generator:
    return Clock(0).rng(f"streets look {name}")


def _bytes(picture: Floats) -> Picture:
    return np.round(np.clip(picture, 0, 1) * 255).astype(np.uint8)


def _grey(values: Floats, colour: tuple[float, float, float] = (1, 1, 1)) -> Floats:
    return np.asarray(values[:, :, None] * np.asarray(colour))


def _asphalt(rng: np.random.Generator, kind: int) -> Floats:
    size = (512, 512)
    base = 0.74 + 0.22 * (noise(rng, size, 6) - 0.5) + 0.22 * (rng.random(size) - 0.5)
    if kind:  # repaired patches and cracks
        for _ in range(3 * kind):
            y, x, h, w = *rng.integers(0, 512, 2), *rng.integers(30, 150, 2)
            base[y : y + h, x : x + w] *= rng.uniform(0.72, 0.92)
        crack = np.abs(noise(rng, size, 4, 5) - 0.5)
        base[crack < 0.006] *= 0.55
    return _grey(base, (1.0, 0.99, 0.97))


def _paving(rng: np.random.Generator, kind: int) -> Floats:
    rows, columns = ((4, 4), (10, 5), (6, 3))[kind]
    size, joint = 256, 3
    tile_y, tile_x = np.arange(size) * rows // size, np.arange(size)
    shift = (tile_y % 2) * (size // columns // 2) * (kind > 0)
    column = ((tile_x[None, :] + shift[:, None]) % size) * columns // size
    tone = 0.85 + 0.2 * (rng.random((rows, columns)) - 0.5)
    picture = tone[tile_y[:, None].repeat(size, 1), column] + 0.12 * (noise(rng, (size, size), 8) - 0.5)
    picture += 0.08 * (rng.random((size, size)) - 0.5)
    in_x = ((tile_x[None, :] + shift[:, None]) % size) * columns % size
    in_y = (np.arange(size) * rows % size)[:, None]
    picture[(in_x < joint * columns) | (in_y < joint * rows)] *= 0.68
    return _grey(picture, ((1, 0.98, 0.95), (1, 0.90, 0.84), (0.97, 0.98, 1))[kind])


def _grass(rng: np.random.Generator) -> Floats:
    size = (256, 256)
    blades, bare = noise(rng, size, 32, 3, 0.8), noise(rng, size, 3, 4)
    green = _grey(0.6 + 0.7 * (blades - 0.3), (0.62, 0.86, 0.40))
    soil = _grey(0.7 + 0.4 * (blades - 0.5), (0.86, 0.74, 0.52))
    share = np.clip((bare - 0.58) * 7, 0, 0.7)[:, :, None]
    return green * (1 - share) + soil * share


def _foliage(rng: np.random.Generator) -> Floats:
    size = (256, 256)
    leaves = noise(rng, size, 24, 3, 0.85)
    value = 0.25 + 1.15 * np.clip((leaves - 0.25) * 1.6, 0, 1)
    warm = noise(rng, size, 5, 2)[:, :, None]
    return value[:, :, None] * (np.array([0.66, 0.95, 0.42]) * (1 - warm) + np.array([0.88, 1.0, 0.48]) * warm)


def _planks(rng: np.random.Generator, kind: int) -> Floats:
    size, count = 128, 10 if kind == 0 else 5
    across = np.arange(size) * count // size
    tone = (0.85 + 0.25 * (rng.random(count) - 0.5))[across]
    gap = (np.arange(size) * count % size) < 2 * count
    picture = np.tile(np.where(gap, 0.35, tone), (size, 1)) + 0.10 * (noise(rng, (size, size), 16) - 0.5)
    return _grey(picture if kind == 0 else picture.T)


WALLS = ("plaster", "brick", "stone", "panel")


def _wall(rng: np.random.Generator, kind: str, height: int, width: int) -> Floats:
    """The bare wall: nearly white, so that a building's own colour decides; brick and panels have joints."""
    shape = (height, width)
    base = 0.92 + 0.10 * (noise(rng, shape, 4) - 0.5)
    if kind == "plaster":
        return _grey(base + 0.03 * (rng.random(shape) - 0.5))
    rows, columns, dark = {"brick": (16, 6, 0.80), "stone": (8, 4, 0.82), "panel": (2, 2, 0.72)}[kind]
    y = np.arange(height)[:, None] * rows
    x = (np.arange(width)[None, :] + (y // height % 2) * (width // columns // 2) * (kind != "panel")) % width * columns
    tone = 0.9 + (0.35 if kind == "brick" else 0.14) * (rng.random((rows, columns)) - 0.5)
    base = base * tone[(y // height).repeat(width, 1), x // width]
    thick = 1 if kind == "brick" else 2
    base[(y % height < thick * rows) | (x % width < thick * columns)] *= dark
    return _grey(base)


def _facade(rng: np.random.Generator, i: int) -> Floats:
    """One bay of one storey, 128x128: a wall with a window in its middle."""
    size = 128
    picture = _wall(rng, WALLS[i % 4], size, size)
    half = int(rng.uniform(17, 27)) if i % 8 != 3 else 46
    top, bottom = int(rng.uniform(22, 34)), int(rng.uniform(92, 104))
    left, right = 64 - half, 64 + half
    trim = np.array([0.98, 0.97, 0.94]) if i % 3 else np.array([0.62, 0.60, 0.58])
    picture[top - 6 : bottom + 5, left - 5 : right + 5] = trim
    if i % 5 == 1:  # shutters
        tint = np.array([[0.34, 0.45, 0.38], [0.42, 0.30, 0.24], [0.35, 0.42, 0.50]][i // 5 % 3])
        for a, b in ((left - 19, left - 4), (right + 4, right + 19)):
            picture[top:bottom, a:b] = tint * (0.85 + 0.15 * (np.arange(bottom - top) % 6 < 4))[:, None, None]
    _window(rng, picture, top, bottom, left, right, panes=(2 if i % 2 else 1, 1 + i % 3))
    picture[bottom + 3 : bottom + 9, left - 8 : right + 8] = trim * 0.9  # sill and the shadow under it
    picture[bottom + 9 : bottom + 13, left - 8 : right + 8] *= 0.72
    if i % 6 == 4:  # a band between storeys
        picture[:7] = trim * 0.95
        picture[7:10] *= 0.75
    if i % 7 == 5:  # railing of a balcony
        bars = (np.arange(right - left + 30) % 6 < 2)[None, :, None]
        area = picture[bottom - 24 : bottom + 6, left - 15 : right + 15]
        area[:] = np.where(bars, 0.16, area)
        picture[bottom + 4 : bottom + 9, left - 17 : right + 17] = 0.5
    return picture


def _window(
    rng: np.random.Generator, picture: Floats, top: int, bottom: int, left: int, right: int, panes: tuple[int, int]
) -> None:
    high, wide = bottom - top, right - left
    y, x = np.linspace(0, 1, high)[:, None], np.linspace(0, 1, wide)[None, :]
    shine = 0.75 + 0.75 * (1 - y) ** 1.5 + 0.25 * ((x + y * 0.6) % 0.7 > 0.52)
    glass = _grey(np.broadcast_to(shine, (high, wide)), DARK_GLASS)
    if rng.random() < 0.6:  # curtains
        edge = np.broadcast_to(np.abs(x - 0.5) > rng.uniform(0.26, 0.38), (high, wide))
        glass = np.where(edge[:, :, None], glass * 0.4 + np.array([0.42, 0.40, 0.36]), glass)
    picture[top:bottom, left:right] = glass
    picture[top : top + 4, left:right] *= 0.5  # the reveal's shadow
    frame = 0.88 if rng.random() < 0.7 else 0.3
    for k in range(1, panes[0] + 1):
        at = left + wide * k // (panes[0] + 1)
        picture[top:bottom, at - 1 : at + 2] = frame
    for k in range(1, panes[1]):
        at = top + high * k // panes[1]
        picture[at - 1 : at + 2, left:right] = frame


def _ground(rng: np.random.Generator, i: int) -> Floats:
    """Two bays of a ground floor, 128 high and 256 wide: a shop, doors and windows, or a gate."""
    high, wide = 128, 256
    picture = _wall(rng, WALLS[(i + 2) % 4], high, wide) * 0.9
    picture[118:] *= 0.6  # plinth
    if i % 2 == 0:  # shop: a board above two panes, a door between
        board = np.array([[0.62, 0.16, 0.14], [0.14, 0.30, 0.48], [0.15, 0.36, 0.24], [0.82, 0.66, 0.22]][i // 2])
        picture[10:32, 10:246] = board
        for x in range(60, 190, 14):  # letters, too small to read
            picture[15:27, x : x + int(rng.integers(5, 11))] = 0.93
        picture[32:118, 10:246] = board * 0.55
        for a, b in ((18, 104), (152, 238)):
            _window(rng, picture, 38, 108, a, b, (1, 1))
            goods = rng.random((14, (b - a) // 6 + 1, 3)).repeat(6, 1)[:, : b - a]
            picture[92:106, a:b] = 0.25 + 0.5 * goods
        _window(rng, picture, 40, 116, 112, 144, (0, 1))
    else:
        for a, b in ((26, 92), (164, 230)):
            picture[30:104, a - 5 : b + 5] = 0.9
            _window(rng, picture, 36, 98, a, b, (1, 1 + i % 2))
        door = np.array([[0.36, 0.20, 0.13], [0.16, 0.28, 0.22], [0.45, 0.12, 0.12], [0.24, 0.26, 0.32]][i // 2])
        picture[24:122, 106:150] = 0.88
        picture[30:122, 110:146] = door
        picture[30:46, 112:144] = np.array(DARK_GLASS) * 1.3
        for a in (114, 131):
            picture[54:84, a : a + 12] = door * 0.75
            picture[90:116, a : a + 12] = door * 0.75
    return picture
