"""A procedural street: solids with a class and an instance, a light and a camera, as a function of (seed, index).

Metres; x along the street, y to the left, z up; the middle of the road is y = 0 and traffic keeps to the right.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ugc.core.clock import Clock
from ugc.data.street_looks import BAY, CARS, CROWNS, FACADES, FOLIAGE, GROUND, GROUNDS, STOREY, Floats, roof_of

# Cityscapes' ids of the classes in use
ROAD, SIDEWALK, BUILDING, FENCE, POLE, LAMP, SIGN, TREE, TERRAIN, SKY, PERSON, CAR = 7, 8, 11, 13, 17, 19, 20, 21, 22, 23, 24, 26
CLASSES = (ROAD, SIDEWALK, BUILDING, FENCE, POLE, LAMP, SIGN, TREE, TERRAIN, SKY, PERSON, CAR)
THINGS = (PERSON, CAR)  # every one has a number

Colour = tuple[float, float, float]
LENGTH = 230.0  # of the street that is built
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

    def put(self, shape: str, size: tuple[float, ...], at: tuple[float, ...] | Floats, colour: Colour, label: int, *,
            instance: int | None = None, turn: Floats | None = None, look: str | None = None, opacity: float = 1.0,
            glow: float = 0.0, shine: float = 0.0) -> None:
        a, b, c = (*size, 0.0, 0.0)[:3]
        self.solids.append(Solid(shape, (a, b, c), np.asarray(at, float), np.eye(3) if turn is None else turn, colour, label,
                                 label if instance is None else instance, look, opacity, glow, shine))


def street(seed: int, index: int) -> Street:
    """The whole street of a number."""
    clock = Clock(seed, index)
    one = Street(seed, index, light(clock.rng("streets light")), None)  # type: ignore[arg-type]
    plan = Plan.drawn(clock.rng("streets plan"))
    one.camera = camera(clock.rng("streets camera"), plan)
    ground(one, plan, one.rng("ground"))
    for side in (1, -1):
        plots(one, plan, side, one.rng(f"plots {side}"))
        furniture(one, plan, side, one.rng(f"furniture {side}"))
        people(one, plan, side, one.rng(f"people {side}"))
    far_end(one, plan, one.rng("end"))
    traffic(one, plan, one.rng("traffic"))
    return one


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


def light(rng: np.random.Generator) -> Light:
    """One of five weathers, each with its own spread: clear, fair, hazy, overcast, low sun."""
    kind = rng.choice(["clear", "fair", "hazy", "overcast", "low"], p=[0.25, 0.27, 0.14, 0.18, 0.16])
    rise = np.radians({"low": rng.uniform(12, 24)}.get(kind, rng.uniform(32, 68)))
    way = rng.uniform(0, 2 * np.pi)
    direction = -np.array([np.cos(rise) * np.cos(way), np.cos(rise) * np.sin(way), np.sin(rise)])
    sun, sky, horizon, zenith, cloud, cover, haze = {
        "clear": ((.80, .76, .68), (.36, .39, .45), (.80, .87, .95), (.28, .50, .82), (1, 1, 1), .28, .0016),
        "fair": ((.72, .70, .66), (.40, .42, .46), (.82, .87, .93), (.36, .55, .82), (.97, .97, .98), .50, .0024),
        "hazy": ((.52, .50, .45), (.46, .46, .46), (.88, .88, .86), (.62, .70, .80), (.95, .95, .94), .42, .0075),
        "overcast": ((.14, .14, .15), (.60, .61, .64), (.82, .83, .85), (.66, .69, .73), (.74, .76, .79), .62, .0042),
        "low": ((.86, .60, .36), (.33, .33, .41), (.97, .80, .60), (.38, .46, .68), (.98, .80, .68), .42, .0036),
    }[str(kind)]
    warm = rng.normal(0, 0.025) * np.array([1, 0, -1.0])
    return Light(direction, np.array(sun) * rng.uniform(.88, 1.1) + warm, np.array(sky) * rng.uniform(.9, 1.1) + warm / 2,
                 np.array(horizon) + warm, np.array(zenith) + warm, np.array(cloud), float(np.clip(cover + rng.normal(0, .06), .1, .75)),
                 haze * float(rng.uniform(.7, 1.5)), float(rng.uniform(.93, 1.1)), bool(kind != "overcast"))


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
        return Plan(float(road), lanes, parking, (float(rng.uniform(2.0, 4.8)), float(rng.uniform(2.0, 4.8))),
                    (yard[0], yard[1]), crossing, float(rng.uniform(3.2, 5.0)), f"asphalt{rng.integers(3)}",
                    f"paving{rng.integers(3)}", f"grass{rng.integers(2)}", float(rng.uniform(0.15, 1)))


def camera(rng: np.random.Generator, plan: Plan) -> Camera:
    """In the right lanes, as high as a windscreen, looking more or less ahead."""
    inner = 0.9
    outer = plan.road - 1.2 - 2.0 * plan.parking[0]
    at = np.array([0.0, -rng.uniform(inner, max(outer, inner + 0.3)), rng.uniform(1.15, 2.0)])
    heading, pitch = np.radians(rng.normal(1.5, 4.5)), np.radians(rng.normal(-2.0, 1.6))
    forward = np.array([np.cos(pitch) * np.cos(heading), np.cos(pitch) * np.sin(heading), np.sin(pitch)])
    right = np.cross(forward, [0, 0, 1.0])
    right /= np.linalg.norm(right)
    return Camera(at, forward, np.cross(right, forward), float(np.radians(rng.uniform(58, 76))))


WHITE = (0.86, 0.86, 0.84)


def ground(one: Street, plan: Plan, rng: np.random.Generator) -> None:
    """Terrain under everything, road, markings, pavements with kerbs."""
    tar = tint(rng, (0.36, 0.36, 0.37), 0.05)
    slab = tint(rng, ((0.66, 0.64, 0.61), (0.62, 0.52, 0.48), (0.60, 0.60, 0.60))[rng.integers(3)])
    grass = tint(rng, (0.55, 0.72, 0.42), 0.1)
    one.put("box", (400, 400, 0.05), (200, 0, -0.08), grass, TERRAIN, look=plan.grass)
    one.put("box", (LENGTH / 2, plan.road, 0.05), (BACK + LENGTH / 2, 0, -0.05), tar, ROAD, look=plan.asphalt)
    spans = [(BACK, BACK + LENGTH)]
    if plan.crossing is not None:
        a, b = plan.crossing - plan.cross_half, plan.crossing + plan.cross_half
        spans = [(BACK, a), (b, BACK + LENGTH)]
        one.put("box", (plan.cross_half, 90, 0.05), (plan.crossing, 0, -0.06), tar, ROAD, look=plan.asphalt)
    for side in (1, -1):
        wide, yard = plan.width(plan.walk, side), plan.width(plan.yard, side)
        verge = wide > 3.6 and plan.green > 0.5
        for a, b in spans:
            middle, half = (a + b) / 2, (b - a) / 2
            one.put("box", (half, wide / 2, 0.07), (middle, side * (plan.road + wide / 2), 0.07), slab, SIDEWALK, look=plan.paving)
            one.put("box", (half, 0.09, 0.08), (middle, side * (plan.road + 0.09), 0.07), tint(rng, (0.72, 0.71, 0.69)), SIDEWALK)
            if verge:
                one.put("box", (half, 0.55, 0.02), (middle, side * (plan.road + 0.85), 0.15), grass, TERRAIN, look=plan.grass)
            if not yard:
                one.put("box", (half, 8, 0.05), (middle, side * (plan.edge(side) + 8), 0.05), slab, SIDEWALK, look=plan.paving)
    markings(one, plan, rng)


def markings(one: Street, plan: Plan, rng: np.random.Generator) -> None:
    """Lines, stripes of a crossing, covers: all of them road."""
    paint = tint(rng, WHITE, 0.08)

    def stripe(x: float, y: float, long: float, wide: float) -> None:
        one.put("box", (long / 2, wide / 2, 0.006), (x, y, 0.002), paint, ROAD)

    end = BACK + LENGTH
    solid = plan.lanes == 4 or rng.random() < 0.25
    stops = plan.crossing is not None
    for x in np.arange(BACK, end, 9.0):
        if plan.at_crossing(x, 5):
            continue
        if solid:
            stripe(x, 0.0, 9.0, 0.14)
        else:
            stripe(x, 0.0, 3.6, 0.14)
        if plan.lanes == 4:
            for side in (1, -1):
                stripe(x, side * (plan.road - 1.1 * sum(plan.parking)) / 2, 3.6, 0.14)
        for side in (1, -1):
            if plan.width(plan.parking, side):
                stripe(x, side * (plan.road - 2.2), 9.0, 0.10)
    if stops and plan.crossing is not None:
        for sign in (1, -1):
            x = plan.crossing + sign * (plan.cross_half + 2.2)
            for y in np.arange(-plan.road + 0.5, plan.road - 0.2, 1.05):
                stripe(x, float(y), 3.0, 0.5)
            stripe(x + sign * 2.6, sign * plan.road / 2, 0.4, plan.road - 0.3)
    for _ in range(rng.integers(2, 8)):
        x, y = rng.uniform(4, 60), rng.uniform(-plan.road + 0.6, plan.road - 0.6)
        one.put("cylinder", (0.33, 0.006), (x, y, 0.002), tint(rng, (0.22, 0.21, 0.21)), ROAD)


FACADE_COLOURS: tuple[Colour, ...] = (
    (.88, .80, .66), (.82, .66, .50), (.70, .44, .36), (.62, .36, .30), (.90, .86, .80), (.74, .74, .72), (.80, .72, .58),
    (.60, .62, .66), (.86, .72, .66), (.72, .78, .72), (.93, .88, .70), (.56, .48, .42))
ROOFS: tuple[Colour, ...] = ((.52, .28, .22), (.36, .34, .35), (.44, .30, .24), (.28, .30, .34))


def plots(one: Street, plan: Plan, side: int, rng: np.random.Generator) -> None:
    """Along one side, from behind the camera to the far end: buildings, gaps, small parks; a cross street keeps its place."""
    x, end = BACK, BACK + LENGTH - 20
    while x < end:
        kind = rng.choice(["row", "house", "park", "gap"], p=[0.72, 0.12, 0.10, 0.06])
        bays = int(rng.integers(3, 8)) if kind == "row" else int(rng.integers(3, 5))
        long = bays * BAY
        if kind in ("park", "gap"):
            long = float(rng.uniform(9, 24)) if kind == "park" else float(rng.uniform(2.5, 5))
        if plan.crossing is not None and x < plan.crossing + plan.cross_half + 1.5 and x + long > plan.crossing - plan.cross_half - 1.5:
            room = plan.crossing - plan.cross_half - 1.5 - x
            if room >= 3 * BAY and kind in ("row", "house"):
                bays, long = int(room // BAY), int(room // BAY) * BAY
                building(one, plan, side, x, bays, rng, house=kind == "house")
            x = plan.crossing + plan.cross_half + 1.5
            continue
        if kind in ("row", "house"):
            building(one, plan, side, x, bays, rng, house=kind == "house")
        elif kind == "park":
            park(one, plan, side, x, long, rng)
        else:
            fence(one, x, x + long, side * (plan.line(side) + 0.3), rng)
        x += long + (float(rng.uniform(2, 5)) if kind == "house" else 0.0)


def building(one: Street, plan: Plan, side: int, x: float, bays: int, rng: np.random.Generator, *, house: bool) -> None:
    """A core with a front of textured bays, a ground floor, ledges and a roof; a house stands back behind a fence."""
    storeys = int(rng.integers(1, 3)) if house else int(rng.integers(2, 7))
    back = 1.0 + 4 * rng.random() if house else (0.0 if rng.random() < 0.75 else rng.uniform(0.2, 0.8))
    near, deep = plan.line(side) + back, float(rng.uniform(9, 13))
    wide, high = bays * BAY, GROUND + storeys * STOREY
    wall = tint(rng, FACADE_COLOURS[rng.integers(len(FACADE_COLOURS))], 0.1)
    low = wall if rng.random() < 0.5 else tint(rng, (0.75, 0.72, 0.68), 0.15)
    middle = x + wide / 2
    one.put("box", (wide / 2, deep / 2, high / 2), (middle, side * (near + deep / 2 + 0.05), high / 2), wall, BUILDING)
    kind, shop = int(rng.integers(FACADES)), int(rng.integers(GROUNDS // 2)) * 2 + int(house or rng.random() < 0.4)
    # x of a panel runs along the street, y up, z towards it
    front = np.stack([[float(side), 0, 0], [0, 0, 1.0], [0, -float(side), 0]], 1)
    even = f"{int(bays % 2 == 0)}{int(storeys % 2 == 0)}"
    one.put("box", (wide / 2, storeys * STOREY / 2, 0.05), (middle, side * near, GROUND + storeys * STOREY / 2), wall, BUILDING,
            turn=front, look=f"facade{kind}.{even}")
    half_even = f"{int(bays % 4 == 0)}0"
    one.put("box", (wide / 2, GROUND / 2, 0.07), (middle, side * near, GROUND / 2), low, BUILDING, turn=front,
            look=f"ground{shop}.{half_even}")
    columns = max(int(deep // BAY), 1)
    for sign in (1, -1):  # side walls, seen where the neighbour is lower or absent
        flank = np.stack([[0, float(sign), 0], [0, 0, 1.0], [float(sign), 0, 0]], 1)
        rows = columns % 2 == 0
        one.put("box", (columns * BAY / 2, storeys * STOREY / 2, 0.04),
                (middle + sign * wide / 2, side * (near + deep / 2), GROUND + storeys * STOREY / 2), wall, BUILDING, turn=flank,
                look=f"facade{kind}.{int(rows)}{int(storeys % 2 == 0)}")
    ledge = tint(rng, (0.80, 0.78, 0.74), 0.1)
    one.put("box", (wide / 2, 0.16, 0.12), (middle, side * near, GROUND), ledge, BUILDING)
    one.put("box", (wide / 2 + 0.1, 0.35, 0.16), (middle, side * near, high), ledge, BUILDING)
    tiles = tint(rng, ROOFS[rng.integers(len(ROOFS))], 0.12)
    if house or rng.random() < 0.45:
        one.put("roof", (wide / 2 + 0.2, deep / 2 + 0.3, float(rng.uniform(1.8, 3.6))), (middle, side * (near + deep / 2), high + 0.1),
                tiles, BUILDING)
        one.put("box", (0.4, 0.35, 1.3), (x + rng.uniform(1, wide - 1), side * (near + deep / 2 - 1), high + 2.4), tint(rng, (.55, .34, .28)), BUILDING)
    else:
        for _ in range(rng.integers(0, 3)):
            one.put("box", (rng.uniform(.6, 1.6), rng.uniform(.6, 1.4), 0.9), (x + rng.uniform(2, wide - 2), side * (near + rng.uniform(3, 7)), high + 0.8),
                    tint(rng, (.6, .6, .6), .2), BUILDING)
    if shop % 2 == 0 and rng.random() < 0.6:
        shade = tint(rng, ((.70, .18, .16), (.18, .36, .56), (.20, .44, .28), (.86, .78, .60))[rng.integers(4)], 0.1)
        slope = np.stack([[1.0, 0, 0], [0, side * 0.94, 0.34], [0, -side * 0.34 * side, 0.94]], 1)
        for b in range(0, bays - 1, 2):
            if rng.random() < 0.7:
                one.put("box", (BAY * 0.88, 0.62, 0.03), (x + (b + 1) * BAY, side * (near - 0.6), 2.85), shade, BUILDING, turn=slope)
    if rng.random() < 0.3:  # balconies
        for s in range(storeys):
            for b in range(1, bays, 2):
                z = GROUND + s * STOREY + 0.25
                one.put("box", (1.1, 0.5, 0.08), (x + (b + 0.5) * BAY, side * (near - 0.5), z), ledge, BUILDING)
                one.put("box", (1.1, 0.03, 0.45), (x + (b + 0.5) * BAY, side * (near - 0.97), z + 0.5), tint(rng, (.32, .33, .35)), BUILDING)
    if house or (plan.width(plan.yard, side) > 2 and rng.random() < 0.5):
        if rng.random() < 0.6:
            fence(one, x, x + wide, side * (plan.edge(side) + 0.2), rng)
        else:
            hedge(one, x, x + wide, side * (plan.edge(side) + 0.5), rng)


def park(one: Street, plan: Plan, side: int, x: float, long: float, rng: np.random.Generator) -> None:
    one.put("box", (long / 2, 10, 0.05), (x + long / 2, side * (plan.edge(side) + 10.1), 0.12), tint(rng, (.55, .74, .42)), TERRAIN,
            look=plan.grass)
    (fence if rng.random() < 0.5 else hedge)(one, x, x + long, side * (plan.edge(side) + 0.4), rng)
    for _ in range(int(long * 0.45)):
        tree(one, x + rng.uniform(1, long - 1), side * (plan.edge(side) + rng.uniform(3, 18)), rng, rng.uniform(0.8, 1.4))


def fence(one: Street, a: float, b: float, y: float, rng: np.random.Generator) -> None:
    """Planks, or rails between posts."""
    middle, half = (a + b) / 2, (b - a) / 2
    if rng.random() < 0.55:
        high = float(rng.uniform(0.5, 0.95))
        panel = np.stack([[1.0, 0, 0], [0, 0, 1.0], [0, -1.0, 0]], 1)
        one.put("box", (half, high, 0.04), (middle, y, high + 0.05), tint(rng, ((.56, .40, .27), (.50, .50, .48), (.80, .78, .74))[rng.integers(3)], 0.12),
                FENCE, turn=panel, look=f"planks{rng.integers(2)}")
        return
    dark = tint(rng, ((.14, .16, .15), (.30, .32, .34), (.16, .26, .20))[rng.integers(3)])
    for z in (0.25, 0.65, 1.05):
        one.put("box", (half, 0.03, 0.035), (middle, y, z), dark, FENCE)
    for x in np.arange(a, b, 0.5 if a < 40 else 1.0):
        one.put("box", (0.03, 0.03, 0.55), (float(x), y, 0.58), dark, FENCE)


def hedge(one: Street, a: float, b: float, y: float, rng: np.random.Generator) -> None:
    green, look = tint(rng, (.40, .56, .30), 0.15), f"foliage{rng.integers(FOLIAGE)}"
    for x in np.arange(a + 0.5, b, 1.1):
        one.put(f"crown{rng.integers(CROWNS)}", (0.85, 0.5, float(rng.uniform(.62, .75))), (float(x), y, 0.55), green, TREE, look=look,
                turn=yaw(rng.uniform(-.3, .3)))


LEAVES: tuple[Colour, ...] = ((.46, .62, .30), (.38, .54, .28), (.54, .64, .30), (.34, .50, .34), (.66, .60, .26))


def tree(one: Street, x: float, y: float, rng: np.random.Generator, scale: float = 1.0) -> None:
    """A trunk and a crown of lumps; now and then a conifer."""
    bark = tint(rng, (.36, .28, .21), 0.15)
    green, look = tint(rng, LEAVES[rng.choice(5, p=[.28, .26, .2, .2, .06])], 0.14), f"foliage{rng.integers(FOLIAGE)}"
    if rng.random() < 0.1:
        tall = rng.uniform(5, 8) * scale
        one.put("cylinder", (0.16, 0.8), (x, y, 0.8), bark, TREE)
        one.put("cone", (1.7 * scale, 1.7 * scale, tall), (x, y, 1.0), green, TREE, look=look, turn=yaw(rng.uniform(0, 6)))
        return
    trunk, broad = rng.uniform(2.0, 3.2) * scale, rng.uniform(1.3, 2.1) * scale
    one.put("cylinder", (rng.uniform(.12, .2) * scale, trunk / 2 + .4), (x, y, trunk / 2 + .4), bark, TREE)
    for i in range(rng.integers(3, 6)):
        way, out = rng.uniform(0, 2 * np.pi), broad * rng.uniform(.3, .75) * (i > 0)
        r = broad * (1.0 if i == 0 else rng.uniform(.55, .8))
        at = (x + out * np.cos(way), y + out * np.sin(way), trunk + broad * (.75 + rng.uniform(-.25, .8) * (i > 0)))
        one.put(f"crown{rng.integers(CROWNS)}", (r, r, r * rng.uniform(.8, 1.05)), at, tint(rng, green, 0.07), TREE, look=look,
                turn=yaw(rng.uniform(0, 6)))


def furniture(one: Street, plan: Plan, side: int, rng: np.random.Generator) -> None:
    """Along the kerb: trees, lamps, signs, bollards; traffic lights where there is a crossing."""
    kerb = side * (plan.road + 0.6)
    steel = tint(rng, ((.42, .44, .45), (.20, .24, .22), (.56, .57, .58))[rng.integers(3)])
    step, high = rng.uniform(20, 34), rng.uniform(5.5, 8.5)
    for x in np.arange(rng.uniform(6, 20), LENGTH - 30, step):
        if not plan.at_crossing(float(x), 1):
            lamp(one, float(x), kerb, side, high, steel)
    if rng.random() < plan.green:
        gap, grown = rng.uniform(7, 14), rng.uniform(0.75, 1.25)
        for x in np.arange(rng.uniform(5, 14), LENGTH - 25, gap):
            if rng.random() < 0.8 and not plan.at_crossing(float(x), 4):
                tree(one, float(x), side * (plan.road + 1.0 + rng.uniform(0, .3)), rng, grown * rng.uniform(.85, 1.15))
    for _ in range(rng.integers(1, 5)):
        x = rng.uniform(7, 75)
        if not plan.at_crossing(x, 2):
            sign(one, x, side * (plan.road + rng.uniform(.35, .7)), rng, steel)
    if rng.random() < 0.25:
        a = rng.uniform(5, 30)
        for x in np.arange(a, a + rng.uniform(8, 25), 1.7):
            if not plan.at_crossing(float(x), 1):
                one.put("cylinder", (.07, .48), (float(x), side * (plan.road + .35), .6), steel, POLE)
    if plan.crossing is not None and rng.random() < 0.75:
        signal(one, plan.crossing - plan.cross_half - 1.0, side * (plan.road + .5), rng, -1)
        signal(one, plan.crossing + plan.cross_half + 1.0, side * (plan.road + .5), rng, -1)


def lamp(one: Street, x: float, y: float, side: int, high: float, steel: Colour) -> None:
    one.put("cylinder", (.085, high / 2), (x, y, high / 2), steel, POLE)
    one.put("cylinder", (.05, .8), (x, y - side * .8, high), steel, POLE, turn=along(np.array([0, 1.0, 0])))
    one.put("box", (.13, .36, .06), (x, y - side * 1.7, high), steel, POLE)


def sign(one: Street, x: float, y: float, rng: np.random.Generator, steel: Colour) -> None:
    """A disc, a triangle's stand-in (a diamond), or a board, on a post."""
    z = float(rng.uniform(2.2, 2.7))
    one.put("cylinder", (.04, z / 2 + .2), (x, y, z / 2 + .2), steel, POLE)
    face, at = along(np.array([-1.0, 0, 0])), x - .06
    red, blue, pale = (.80, .10, .10), (.10, .28, .70), (.94, .94, .92)
    kind = rng.integers(5)
    if kind == 0:
        one.put("cylinder", (.36, .02), (at, y, z), red, SIGN, turn=face)
        one.put("cylinder", (.25, .022), (at - .005, y, z), pale, SIGN, turn=face)
    elif kind == 1:
        one.put("cylinder", (.36, .02), (at, y, z), blue, SIGN, turn=face)
        one.put("box", (.03, .05, .2), (at, y, z), pale, SIGN)
    elif kind == 2:
        one.put("cylinder", (.36, .02), (at, y, z), red, SIGN, turn=face)
        one.put("box", (.03, .24, .06), (at, y, z), pale, SIGN)
    elif kind == 3:
        diamond = face @ yaw(np.pi / 4)
        one.put("box", (.30, .30, .02), (at, y, z), pale, SIGN, turn=diamond)
        one.put("box", (.22, .22, .025), (at, y, z), (.95, .75, .10), SIGN, turn=diamond)
    else:
        one.put("box", (.02, .62, .30), (at, y, z + .2), blue if rng.random() < .5 else (.93, .80, .20), SIGN)
        one.put("box", (.025, .48, .04), (at, y, z + .28), pale, SIGN)
        one.put("box", (.025, .36, .04), (at, y, z + .12), pale, SIGN)


def signal(one: Street, x: float, y: float, rng: np.random.Generator, way: int) -> None:
    """Three lamps in a dark box on a post; one is lit."""
    one.put("cylinder", (.07, 1.7), (x, y, 1.7), (.33, .35, .34), POLE)
    one.put("box", (.14, .20, .50), (x + way * .16, y, 3.2), (.07, .09, .08), LAMP)
    lit = int(rng.integers(3))
    for i, colour in enumerate(((.95, .12, .08), (.95, .70, .10), (.12, .85, .35))):
        r, g, b = (c * (1.0 if i == lit else 0.22) for c in colour)
        one.put("cylinder", (.115, .02), (x + way * .31, y, 3.5 - .3 * i), (r, g, b), LAMP, turn=along(np.array([1.0, 0, 0])),
                glow=1.0 if i == lit else 0.0)


SHIRTS: tuple[Colour, ...] = ((.70, .16, .16), (.18, .28, .52), (.88, .86, .82), (.16, .16, .18), (.30, .46, .34), (.80, .62, .24), (.50, .36, .52),
                              (.55, .70, .80))
TROUSERS: tuple[Colour, ...] = ((.16, .18, .26), (.26, .24, .22), (.10, .10, .11), (.50, .45, .36))
SKINS: tuple[Colour, ...] = ((.86, .68, .56), (.72, .52, .40), (.50, .34, .25), (.92, .76, .66))


def people(one: Street, plan: Plan, side: int, rng: np.random.Generator) -> None:
    """On the pavement, more of them near; a few cross the road."""
    wide = plan.width(plan.walk, side)
    for _ in range(rng.poisson(5)):
        x = 5 + 65 * rng.random() ** 1.4
        if not plan.at_crossing(x):
            person(one, x, side * (plan.road + rng.uniform(1.2, max(1.3, wide - .3))), .14, rng)
    if rng.random() < 0.25:
        x = rng.uniform(14, 40) if plan.crossing is None else plan.crossing - plan.cross_half - rng.uniform(1.3, 3)
        for _ in range(rng.integers(1, 4)):
            person(one, x + rng.uniform(-.8, .8), side * rng.uniform(0.4, plan.road), 0.0, rng, across=True)


def person(one: Street, x: float, y: float, z: float, rng: np.random.Generator, across: bool = False) -> None:
    """Legs and arms in stride, a coat, a head with hair; turned along the street or across it."""
    me, s = one.thing(PERSON), float(rng.uniform(.86, 1.08))
    turn = yaw(rng.choice([0, np.pi]) + (np.pi / 2 if across else 0) + rng.normal(0, .25))
    swing, shirt = rng.uniform(.05, .5) * rng.choice([-1, 1]), tint(rng, SHIRTS[rng.integers(len(SHIRTS))], .12)
    skin, legs = SKINS[rng.integers(len(SKINS))], tint(rng, TROUSERS[rng.integers(len(TROUSERS))], .12)

    def limb(a: tuple[float, float, float], b: tuple[float, float, float], r: float, colour: Colour) -> None:
        p, q = turn @ (np.array(a) * s), turn @ (np.array(b) * s)
        one.put("capsule", (r * s, float(np.linalg.norm(q - p)) / 2), np.array([x, y, z]) + (p + q) / 2, colour, PERSON, instance=me,
                turn=along(q - p))

    def ball(at: tuple[float, float, float], size: tuple[float, float, float], colour: Colour) -> None:
        one.put("ellipsoid", tuple(v * s for v in size), np.array([x, y, z]) + turn @ (np.array(at) * s), colour, PERSON, instance=me, turn=turn)

    for sign in (1, -1):
        step = float(swing * sign)
        limb((0, .09 * sign, .88), (step * .8, .10 * sign, .10), .085, legs)
        ball((step * .8 + .06, .10 * sign, .05), (.14, .055, .055), (.12, .10, .09))
        limb((0, .23 * sign, 1.38), (-step * .6, .27 * sign, .92), .055, shirt)
        ball((-step * .62, .27 * sign, .86), (.05, .04, .06), skin)
    ball((0, 0, 1.17), (.16, .24, .36), shirt)
    limb((0, 0, 1.45), (.01, 0, 1.56), .055, skin)
    ball((.015, 0, 1.66), (.105, .09, .125), skin)
    ball((-.02, 0, 1.70), (.11, .1, .115), tint(rng, ((.16, .11, .08), (.42, .28, .14), (.08, .07, .07), (.60, .58, .55))[rng.integers(4)]))


PAINTS: tuple[Colour, ...] = ((.78, .79, .80), (.90, .90, .89), (.10, .10, .11), (.36, .38, .40), (.58, .10, .10), (.12, .22, .46), (.20, .36, .28),
                              (.66, .60, .48), (.80, .50, .12), (.50, .66, .78))


def traffic(one: Street, plan: Plan, rng: np.random.Generator) -> None:
    """Cars at the kerb and on the road, seen from behind on the right, from the front on the left."""
    own = float(one.camera.at[1])
    for side in (1, -1):
        if plan.width(plan.parking, side):
            x, full = rng.uniform(-4, 7), rng.uniform(.45, .95)
            while x < 120:
                if rng.random() < full and not plan.at_crossing(x, 7) and (x > 4.5 or abs(side * (plan.road - 1.1) - own) > 2.6):
                    car(one, x, side * (plan.road - 1.12) + rng.normal(0, .06), 0 if side < 0 else np.pi, rng)
                x += rng.uniform(5.6, 7.0)
        lanes = [side * (plan.road - 1.1 * sum(plan.parking)) * f for f in ((.5,) if plan.lanes == 2 else (.25, .75))]
        for y in lanes:
            x = rng.uniform(6, 30) if abs(y - own) > 1.7 else rng.uniform(13, 45)
            while x < 150:
                if rng.random() < .8:
                    car(one, x, y + rng.normal(0, .15), 0 if side < 0 else np.pi, rng)
                x += rng.uniform(9, 45)


def car(one: Street, x: float, y: float, heading: float, rng: np.random.Generator) -> None:
    """Body, dark glass, roof, wheels, lights, plates, and the dark ground beneath."""
    me, kind = one.thing(CAR), str(rng.choice(list(CARS), p=[.45, .38, .17]))
    paint = tint(rng, PAINTS[rng.choice(len(PAINTS), p=[.17, .16, .15, .15, .1, .1, .05, .05, .04, .03])], .08)
    turn = yaw(heading + rng.normal(0, .02))
    body, cabin = CARS[kind]
    base = np.array([x, y, 0.0])

    def part(shape: str, size: tuple[float, ...], at: tuple[float, float, float], colour: Colour, *, shine: float = 0.0,
             frame: Floats | None = None, glow: float = 0.0) -> None:
        one.put(shape, size, base + turn @ np.array(at), colour, CAR, instance=me, turn=turn if frame is None else turn @ frame,
                shine=shine, glow=glow)

    one.put("ellipsoid", (2.55, 1.12, .004), base + np.array([0, 0, .012]), (.03, .03, .03), ROAD, turn=turn, opacity=.55)
    part(f"{kind}.body", (1, 1, 1), (0, 0, 0), paint, shine=.5)
    part(f"{kind}.cabin", (1, 1, 1), (0, 0, 0), (.10, .13, .16), shine=.8)
    part(f"{kind}.roof", (1, 1, 1), (0, 0, 0), paint, shine=.4)
    tops = roof_of(cabin)
    a, b, top = tops[0][0], tops[-1][0], tops[1][2]
    for px in (a + (b - a) * .45,):  # pillars
        for sign in (1, -1):
            lean = np.array([[1, 0, 0], [0, 1, -sign * .30], [0, 0, 1.0]])
            part("box", (.05, .02, (top - .92) / 2), (px, sign * (tops[0][4] + .10), (top + .92) / 2), paint, frame=lean)
    if x > 90:  # smaller than a pixel
        return
    long, half = body[-1][0], body[2][3]
    axle = along(np.array([0, 1.0, 0]))
    for wx in (-long * .62, long * .62):
        for sign in (1, -1):
            part("cylinder", (.32, .11), (wx, sign * (half - .09), .32), (.06, .06, .06), frame=axle)
            part("cylinder", (.19, .115), (wx, sign * (half - .085), .32), (.55, .56, .57), frame=axle)
    rear, tall = body[0][0], body[1][2]
    for sign in (1, -1):
        part("box", (.06, .16, .09), (rear + .05, sign * .58, tall * .78), (.62, .05, .05), glow=.25)
        part("box", (.08, .17, .07), (long - .10, sign * .56, .62), (.93, .93, .88), glow=.2)
        part("box", (.07, .10, .06), (.55, sign * (half + .10), .95), paint)
    part("box", (.03, .26, .06), (rear - .01, 0, .52), (.92, .92, .86))
    part("box", (.03, .26, .06), (long + .01, 0, .42), (.92, .92, .86))
    part("box", (.05, half * .72, .05), (long - .03, 0, .52), (.09, .09, .09))
    part("box", (.05, half * .88, .07), (rear + .05, 0, .34), (.14, .14, .14))


def far_end(one: Street, plan: Plan, rng: np.random.Generator) -> None:
    """What closes the view: a row across, or trees."""
    x = BACK + LENGTH
    if rng.random() < 0.65:
        y = -60.0
        while y < 60:
            bays, storeys = int(rng.integers(3, 7)), int(rng.integers(2, 7))
            wide, high = bays * BAY, GROUND + storeys * STOREY
            wall = tint(rng, FACADE_COLOURS[rng.integers(len(FACADE_COLOURS))], .1)
            one.put("box", (5, wide / 2, high / 2), (x + 5, y + wide / 2, high / 2), wall, BUILDING)
            front = np.stack([[0, -1.0, 0], [0, 0, 1.0], [-1.0, 0, 0]], 1)
            one.put("box", (wide / 2, high / 2, .05), (x, y + wide / 2, high / 2), wall, BUILDING, turn=front, look=f"facade{rng.integers(FACADES)}.00")
            y += wide
    else:
        for _ in range(40):
            tree(one, x + rng.uniform(0, 40), rng.uniform(-60, 60), rng, rng.uniform(1.2, 2))
