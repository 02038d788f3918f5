"""What a procedural street is: solids with a class and an instance, a light, a camera, and a plan of widths and places.

Metres; x along the street, y to the left, z up; the middle of the road is y = 0 and traffic keeps to the right.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ugc.core.clock import Clock
from ugc.data.street_looks import Floats

# Cityscapes' ids of the classes in use
ROAD, SIDEWALK, BUILDING, FENCE, POLE, LAMP = 7, 8, 11, 13, 17, 19
SIGN, TREE, TERRAIN, SKY, PERSON, CAR = 20, 21, 22, 23, 24, 26
CLASSES = (ROAD, SIDEWALK, BUILDING, FENCE, POLE, LAMP, SIGN, TREE, TERRAIN, SKY, PERSON, CAR)
THINGS = (PERSON, CAR)  # every one has a number

Colour = tuple[float, float, float]
LENGTH = 200.0  # of the street that is built
BACK = -14.0  # where it begins, behind the camera


@dataclass(frozen=True)
class Solid:
    """One body: `size` are half sides (box, ellipsoid), (radius, half length) along z, or the scale of a mesh."""

    shape: str  # box, cylinder, capsule, ellipsoid, or a mesh of the looks
    size: tuple[float, float, float]
    at: Floats  # [3], its middle
    turn: Floats  # [3, 3]
    colour: Colour
    label: int
    instance: int
    look: str | None = None
    opacity: float = 1.0
    glow: float = 0.0
    shine: float = 0.0


@dataclass(frozen=True)
class Light:
    """`direction` is the sunlight's; colours are RGB about [0, 1]; `haze` is an extinction in 1/m."""

    direction: Floats
    sun: Floats
    sky: Floats
    horizon: Floats
    zenith: Floats
    cloud_colour: Floats
    cloud: float  # cover, 0 to 1
    haze: float
    exposure: float
    shadows: bool


@dataclass(frozen=True)
class Camera:
    """`angle` is the horizontal one of a picture twice as wide as high."""

    at: Floats
    forward: Floats
    up: Floats
    angle: float

    def slopes(self, height: int, width: int) -> tuple[float, float]:
        """Tangents of half the horizontal and half the vertical angle: wide pictures keep the width, others the height."""
        slope = float(np.tan(self.angle / 2))
        return (slope, slope * height / width) if width >= 2 * height else (slope / 2 * width / height, slope / 2)


@dataclass
class Street:
    seed: int
    index: int
    light: Light
    camera: Camera
    solids: list[Solid] = field(default_factory=list)
    counts: dict[int, int] = field(default_factory=dict)  # things so far

    def rng(self, purpose: str) -> np.random.Generator:
        return Clock(self.seed, self.index).rng(f"streets {purpose}")

    def thing(self, label: int) -> int:
        """The instance id of another thing of a class; of stuff, the class id."""
        if label not in THINGS:
            return label
        number = self.counts.get(label, 0)
        self.counts[label] = number + 1
        return label * 1000 + number

    def put(
        self,
        shape: str,
        size: tuple[float, ...],
        at: tuple[float, ...] | Floats,
        colour: Colour,
        label: int,
        *,
        instance: int | None = None,
        turn: Floats | None = None,
        look: str | None = None,
        opacity: float = 1.0,
        glow: float = 0.0,
        shine: float = 0.0,
    ) -> None:
        a, b, c = (*size, 0.0, 0.0)[:3]
        self.solids.append(
            Solid(
                shape,
                (a, b, c),
                np.asarray(at, float),
                np.eye(3) if turn is None else turn,
                colour,
                label,
                label if instance is None else instance,
                look,
                opacity,
                glow,
                shine,
            )
        )


def yaw(angle: float) -> Floats:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1.0]])


def along(direction: Floats) -> Floats:
    """A frame whose z axis has that direction."""
    z = direction / np.linalg.norm(direction)
    x = np.cross([0.0, 1.0, 0.0] if abs(z[1]) < 0.9 else [1.0, 0.0, 0.0], z)
    x /= np.linalg.norm(x)
    return np.stack([x, np.cross(z, x), z], 1)


def tint(rng: np.random.Generator, colour: Colour, spread: float = 0.06) -> Colour:
    shift = 1 + rng.uniform(-spread, spread) + rng.normal(0, spread / 3, 3)
    r, g, b = np.clip(np.asarray(colour) * shift, 0.02, 1)
    return float(r), float(g), float(b)


@dataclass(frozen=True)
class Plan:
    """Widths and places that everything else follows."""

    road: float  # half width
    lanes: int
    parking: tuple[bool, bool]  # right, left: cars at the kerb
    walk: tuple[float, float]  # pavement widths right, left
    yard: tuple[float, float]  # from pavement to facade
    crossing: float | None  # x of the middle of a cross street
    cross_half: float
    asphalt: str
    paving: str
    grass: str
    green: float  # how leafy

    def width(self, pair: tuple[float, float] | tuple[bool, bool], side: int) -> float:
        return float(pair[side > 0])

    def edge(self, side: int) -> float:
        """Distance of the pavement's outer edge from the middle."""
        return self.road + self.width(self.walk, side)

    def line(self, side: int) -> float:
        """Distance of the facades."""
        return self.edge(side) + self.width(self.yard, side)

    def at_crossing(self, x: float, room: float = 0.0) -> bool:
        return self.crossing is not None and abs(x - self.crossing) < self.cross_half + room

    @staticmethod
    def drawn(rng: np.random.Generator) -> Plan:
        parking = (bool(rng.random() < 0.7), bool(rng.random() < 0.7))
        lanes = 4 if rng.random() < 0.25 else 2
        road = lanes / 2 * rng.uniform(3.0, 3.6) + 1.1 * sum(parking)
        yard = tuple(float(rng.uniform(1.5, 5)) if rng.random() < 0.4 else 0.0 for _ in range(2))
        crossing = float(rng.uniform(24, 110)) if rng.random() < 0.6 else None
        return Plan(
            float(road),
            lanes,
            parking,
            (float(rng.uniform(2.0, 4.8)), float(rng.uniform(2.0, 4.8))),
            (yard[0], yard[1]),
            crossing,
            float(rng.uniform(3.2, 5.0)),
            f"asphalt{rng.integers(3)}",
            f"paving{rng.integers(3)}",
            f"grass{rng.integers(2)}",
            float(rng.uniform(0.15, 1)),
        )
