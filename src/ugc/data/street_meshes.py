"""Meshes of rendered streets: cars, crowns of trees, roofs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from ugc.core.clock import Clock
from ugc.data.street_looks import Floats

CROWNS = 4  # kinds of them


@dataclass(frozen=True)
class Mesh:
    """vertices [n, 3], faces [m, 3] seen from outside counter-clockwise, uv [n, 2]."""

    vertices: Floats
    faces: NDArray[np.int32]
    uv: Floats


@cache
def meshes() -> dict[str, Mesh]:
    """Every mesh by name. Cars are a metre-true body that looks along +x with its wheels' feet at z = 0."""
    found = {f"crown{i}": _crown(Clock(0).rng(f"streets look crown{i}")) for i in range(CROWNS)}
    found["cone"] = _lathe([(1.0, 0.0), (0.62, 0.35), (0.30, 0.7), (0.02, 1.0)], 12, bumps=Clock(0).rng("streets look cone"))
    found["roof"] = _prism()
    for name, (body, cabin) in CARS.items():
        found[f"{name}.body"] = _loft(body)
        found[f"{name}.cabin"] = _loft(cabin)
        found[f"{name}.roof"] = _loft(roof_of(cabin))
    return found


# stations of a loft, from the rear to the front: x, z of the underside, z of the top, half width below, half width above
Stations = list[tuple[float, float, float, float, float]]
CARS: dict[str, tuple[Stations, Stations]] = {  # body, cabin
    "hatch": ([(-1.95, .38, .62, .70, .66), (-1.90, .26, .92, .82, .78), (-1.2, .22, .95, .86, .80),
               (.5, .22, .93, .86, .80), (1.2, .22, .86, .85, .76), (1.8, .24, .72, .80, .70), (1.95, .34, .58, .68, .62)],
              [(-1.82, .90, .94, .72, .70), (-1.45, .90, 1.40, .76, .58), (-.2, .90, 1.47, .77, .60),
               (.30, .90, 1.43, .77, .58), (1.05, .84, .90, .74, .70)]),
    "sedan": ([(-2.25, .40, .66, .72, .68), (-2.18, .28, .88, .84, .78), (-1.4, .22, .94, .88, .80),
               (.5, .22, .92, .88, .80), (1.4, .22, .84, .87, .76), (2.15, .25, .70, .82, .70), (2.28, .36, .58, .70, .64)],
              [(-1.65, .90, .95, .72, .70), (-.95, .90, 1.38, .77, .57), (-.1, .90, 1.43, .78, .59),
               (.25, .90, 1.40, .78, .58), (1.10, .84, .90, .74, .70)]),
    "van": ([(-2.4, .40, .70, .84, .80), (-2.36, .30, 1.15, .92, .90), (-1.2, .26, 1.18, .94, .90),
             (1.1, .26, 1.12, .94, .88), (1.9, .26, 1.0, .92, .82), (2.3, .28, .80, .86, .74), (2.4, .40, .62, .74, .68)],
            [(-2.36, 1.10, 1.90, .89, .80), (-1.9, 1.10, 2.0, .90, .82), (.6, 1.10, 2.0, .90, .82),
             (1.0, 1.08, 1.88, .88, .78), (1.85, 1.0, 1.04, .84, .78)]),
}


def roof_of(cabin: Stations) -> Stations:
    """The painted sheet on a cabin."""
    highest = max(top for _, _, top, _, _ in cabin)
    return [
        (x, top - 0.04, top + 0.025, above + 0.03, above + 0.02) for x, _, top, _, above in cabin if top > highest - 0.13
    ]


def _loft(stations: Stations) -> Mesh:
    """Cross-sections with rounded shoulders joined along x, closed at both ends."""
    rings = []
    for x, low, top, below, above in stations:
        waist = low + 0.55 * (top - low)
        side = [
            (-above * 0.55, top),
            (-above * 0.9, top - 0.03 * (top > low + 0.1)),
            (-below, waist),
            (-below * 0.97, low),
            (below * 0.97, low),
            (below, waist),
            (above * 0.9, top - 0.03 * (top > low + 0.1)),
            (above * 0.55, top),
        ]
        rings.append([(x, y, z) for y, z in side])
    points = np.array(rings)
    n, k = points.shape[:2]
    ends = [points[0].mean(0), points[-1].mean(0)]
    vertices = np.vstack([points.reshape(-1, 3), ends])
    faces = []
    for i in range(n - 1):
        for j in range(k):
            a, b, c, d = i * k + j, i * k + (j + 1) % k, (i + 1) * k + (j + 1) % k, (i + 1) * k + j
            faces += [(a, d, c), (a, c, b)]
    faces += [(n * k, j, (j + 1) % k) for j in range(k)]
    faces += [(n * k + 1, (n - 1) * k + (j + 1) % k, (n - 1) * k + j) for j in range(k)]
    return Mesh(vertices, np.array(faces, np.int32), vertices[:, :2] * 0.3)


def _lathe(profile: list[tuple[float, float]], around: int, bumps: np.random.Generator | None = None) -> Mesh:
    """(radius, z) turned round the z axis; the first column of vertices is there twice, for the texture's seam."""
    rows = len(profile)
    angle = np.linspace(0, 2 * np.pi, around + 1)
    scale = np.ones((rows, around + 1)) if bumps is None else bumps.uniform(0.82, 1.15, (rows, around + 1))
    scale[:, -1] = scale[:, 0]
    radius = np.array([r for r, _ in profile])[:, None] * scale
    height = np.array([z for _, z in profile])[:, None].repeat(around + 1, 1)
    vertices = np.stack([radius * np.cos(angle), radius * np.sin(angle), height], -1).reshape(-1, 3)
    uv = np.stack(np.broadcast_arrays(angle[None, :] / 2.1, height * 1.5), -1).reshape(-1, 2)
    faces = []
    for i in range(rows - 1):
        for j in range(around):
            a = i * (around + 1) + j
            faces += [(a, a + 1, a + around + 2), (a, a + around + 2, a + around + 1)]
    return Mesh(vertices, np.array(faces, np.int32), uv)


def _crown(rng: np.random.Generator) -> Mesh:
    """A lumpy ball of radius about 1."""
    rows, around = 11, 16
    polar = np.linspace(0.02, np.pi - 0.02, rows)
    mesh = _lathe([(float(np.sin(p)), float(-np.cos(p))) for p in polar], around)
    axes = rng.normal(size=(24, 3))
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    lumps = np.exp(-((mesh.vertices[:, None] - axes[None]) ** 2).sum(-1) / 0.10).sum(1)
    return Mesh(mesh.vertices * (0.86 + 0.20 * np.clip(lumps, 0, 1.2))[:, None], mesh.faces, mesh.uv)


def _prism() -> Mesh:
    """A pitched roof over [-1, 1] x [-1, 1], its ridge along x at z = 1."""
    v = np.array(
        [
            (-1, -1, 0),
            (1, -1, 0),
            (1, 0, 1),
            (-1, 0, 1),
            (-1, 1, 0),
            (1, 1, 0),
            (-1, 0, 1),
            (1, 0, 1),
            (-1, -1, 0),
            (-1, 1, 0),
            (-1, 0, 1),
            (1, -1, 0),
            (1, 1, 0),
            (1, 0, 1),
        ],
        float,
    )
    f = [(0, 1, 2), (0, 2, 3), (5, 4, 6), (5, 6, 7), (9, 8, 10), (11, 12, 13), (8, 9, 12), (8, 12, 11)]
    return Mesh(v, np.array(f, np.int32), v[:, [0, 2]])
