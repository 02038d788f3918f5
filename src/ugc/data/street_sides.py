"""Both sides of a street: buildings, small parks, fences, hedges and trees."""

from __future__ import annotations

import numpy as np

from ugc.data.street_looks import BAY, FACADES, FOLIAGE, GROUND, GROUNDS, STOREY
from ugc.data.street_meshes import CROWNS
from ugc.data.street_parts import BACK, BUILDING, FENCE, LENGTH, TERRAIN, TREE, Colour, Plan, Street, tint, yaw

FACADE_COLOURS: tuple[Colour, ...] = (
    (0.88, 0.80, 0.66),
    (0.82, 0.66, 0.50),
    (0.70, 0.44, 0.36),
    (0.62, 0.36, 0.30),
    (0.90, 0.86, 0.80),
    (0.74, 0.74, 0.72),
    (0.80, 0.72, 0.58),
    (0.60, 0.62, 0.66),
    (0.86, 0.72, 0.66),
    (0.72, 0.78, 0.72),
    (0.93, 0.88, 0.70),
    (0.56, 0.48, 0.42),
)
ROOFS: tuple[Colour, ...] = ((0.52, 0.28, 0.22), (0.36, 0.34, 0.35), (0.44, 0.30, 0.24), (0.28, 0.30, 0.34))


def plots(one: Street, plan: Plan, side: int, rng: np.random.Generator) -> None:
    """Along one side, from behind the camera to the far end: buildings, gaps, parks; a cross street keeps its place."""
    x, end = BACK, BACK + LENGTH - 20
    while x < end:
        kind = rng.choice(["row", "house", "park", "gap"], p=[0.72, 0.12, 0.10, 0.06])
        bays = int(rng.integers(3, 8)) if kind == "row" else int(rng.integers(3, 5))
        long = bays * BAY
        if kind in ("park", "gap"):
            long = float(rng.uniform(9, 24)) if kind == "park" else float(rng.uniform(2.5, 5))
        if (
            plan.crossing is not None
            and x < plan.crossing + plan.cross_half + 1.5
            and x + long > plan.crossing - plan.cross_half - 1.5
        ):
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
    one.put(
        "box",
        (wide / 2, storeys * STOREY / 2, 0.05),
        (middle, side * near, GROUND + storeys * STOREY / 2),
        wall,
        BUILDING,
        turn=front,
        look=f"facade{kind}.{even}",
    )
    half_even = f"{int(bays % 4 == 0)}0"
    one.put(
        "box",
        (wide / 2, GROUND / 2, 0.07),
        (middle, side * near, GROUND / 2),
        low,
        BUILDING,
        turn=front,
        look=f"ground{shop}.{half_even}",
    )
    columns = max(int(deep // BAY), 1)
    for sign in (1, -1):  # side walls, seen where the neighbour is lower or absent
        flank = np.stack([[0, float(sign), 0], [0, 0, 1.0], [float(sign), 0, 0]], 1)
        rows = columns % 2 == 0
        one.put(
            "box",
            (columns * BAY / 2, storeys * STOREY / 2, 0.04),
            (middle + sign * wide / 2, side * (near + deep / 2), GROUND + storeys * STOREY / 2),
            wall,
            BUILDING,
            turn=flank,
            look=f"facade{kind}.{int(rows)}{int(storeys % 2 == 0)}",
        )
    ledge = tint(rng, (0.80, 0.78, 0.74), 0.1)
    one.put("box", (wide / 2, 0.16, 0.12), (middle, side * near, GROUND), ledge, BUILDING)
    one.put("box", (wide / 2 + 0.1, 0.35, 0.16), (middle, side * near, high), ledge, BUILDING)
    tiles = tint(rng, ROOFS[rng.integers(len(ROOFS))], 0.12)
    if house or rng.random() < 0.45:
        one.put(
            "roof",
            (wide / 2 + 0.2, deep / 2 + 0.3, float(rng.uniform(1.8, 3.6))),
            (middle, side * (near + deep / 2), high + 0.1),
            tiles,
            BUILDING,
        )
        one.put(
            "box",
            (0.4, 0.35, 1.3),
            (x + rng.uniform(1, wide - 1), side * (near + deep / 2 - 1), high + 2.4),
            tint(rng, (0.55, 0.34, 0.28)),
            BUILDING,
        )
    else:
        for _ in range(rng.integers(0, 3)):
            one.put(
                "box",
                (rng.uniform(0.6, 1.6), rng.uniform(0.6, 1.4), 0.9),
                (x + rng.uniform(2, wide - 2), side * (near + rng.uniform(3, 7)), high + 0.8),
                tint(rng, (0.6, 0.6, 0.6), 0.2),
                BUILDING,
            )
    if shop % 2 == 0 and rng.random() < 0.6:
        shade = tint(
            rng, ((0.70, 0.18, 0.16), (0.18, 0.36, 0.56), (0.20, 0.44, 0.28), (0.86, 0.78, 0.60))[rng.integers(4)], 0.1
        )
        slope = np.stack([[1.0, 0, 0], [0, side * 0.94, 0.34], [0, -side * 0.34 * side, 0.94]], 1)
        for b in range(0, bays - 1, 2):
            if rng.random() < 0.7:
                one.put(
                    "box",
                    (BAY * 0.88, 0.62, 0.03),
                    (x + (b + 1) * BAY, side * (near - 0.6), 2.85),
                    shade,
                    BUILDING,
                    turn=slope,
                )
    if rng.random() < 0.3 and x < 90:  # balconies
        for s in range(storeys):
            for b in range(1, bays, 2):
                z = GROUND + s * STOREY + 0.25
                one.put("box", (1.1, 0.5, 0.08), (x + (b + 0.5) * BAY, side * (near - 0.5), z), ledge, BUILDING)
                one.put(
                    "box",
                    (1.1, 0.03, 0.45),
                    (x + (b + 0.5) * BAY, side * (near - 0.97), z + 0.5),
                    tint(rng, (0.32, 0.33, 0.35)),
                    BUILDING,
                )
    if house or (plan.width(plan.yard, side) > 2 and rng.random() < 0.5):
        if rng.random() < 0.6:
            fence(one, x, x + wide, side * (plan.edge(side) + 0.2), rng)
        else:
            hedge(one, x, x + wide, side * (plan.edge(side) + 0.5), rng)


def park(one: Street, plan: Plan, side: int, x: float, long: float, rng: np.random.Generator) -> None:
    one.put(
        "box",
        (long / 2, 10, 0.05),
        (x + long / 2, side * (plan.edge(side) + 10.1), 0.12),
        tint(rng, (0.55, 0.74, 0.42)),
        TERRAIN,
        look=plan.grass,
    )
    (fence if rng.random() < 0.5 else hedge)(one, x, x + long, side * (plan.edge(side) + 0.4), rng)
    for _ in range(int(long * 0.45)):
        tree(one, x + rng.uniform(1, long - 1), side * (plan.edge(side) + rng.uniform(3, 18)), rng, rng.uniform(0.8, 1.4))


def fence(one: Street, a: float, b: float, y: float, rng: np.random.Generator) -> None:
    """Planks, or rails between posts."""
    middle, half = (a + b) / 2, (b - a) / 2
    if rng.random() < 0.55:
        high = float(rng.uniform(0.5, 0.95))
        panel = np.stack([[1.0, 0, 0], [0, 0, 1.0], [0, -1.0, 0]], 1)
        one.put(
            "box",
            (half, high, 0.04),
            (middle, y, high + 0.05),
            tint(rng, ((0.56, 0.40, 0.27), (0.50, 0.50, 0.48), (0.80, 0.78, 0.74))[rng.integers(3)], 0.12),
            FENCE,
            turn=panel,
            look=f"planks{rng.integers(2)}",
        )
        return
    dark = tint(rng, ((0.14, 0.16, 0.15), (0.30, 0.32, 0.34), (0.16, 0.26, 0.20))[rng.integers(3)])
    for z in (0.25, 0.65, 1.05):
        one.put("box", (half, 0.03, 0.035), (middle, y, z), dark, FENCE)
    for x in np.arange(a, b, 0.5 if a < 40 else 1.0):
        one.put("box", (0.03, 0.03, 0.55), (float(x), y, 0.58), dark, FENCE)


def hedge(one: Street, a: float, b: float, y: float, rng: np.random.Generator) -> None:
    green, look = tint(rng, (0.40, 0.56, 0.30), 0.15), f"foliage{rng.integers(FOLIAGE)}"
    for x in np.arange(a + 0.5, b, 1.1):
        one.put(
            f"crown{rng.integers(CROWNS)}",
            (0.85, 0.5, float(rng.uniform(0.62, 0.75))),
            (float(x), y, 0.55),
            green,
            TREE,
            look=look,
            turn=yaw(rng.uniform(-0.3, 0.3)),
        )


LEAVES: tuple[Colour, ...] = (
    (0.46, 0.62, 0.30),
    (0.38, 0.54, 0.28),
    (0.54, 0.64, 0.30),
    (0.34, 0.50, 0.34),
    (0.66, 0.60, 0.26),
)


def tree(one: Street, x: float, y: float, rng: np.random.Generator, scale: float = 1.0) -> None:
    """A trunk and a crown of lumps; now and then a conifer."""
    bark = tint(rng, (0.36, 0.28, 0.21), 0.15)
    green, look = tint(rng, LEAVES[rng.choice(5, p=[0.28, 0.26, 0.2, 0.2, 0.06])], 0.14), f"foliage{rng.integers(FOLIAGE)}"
    if rng.random() < 0.1:
        tall = rng.uniform(5, 8) * scale
        one.put("cylinder", (0.16, 0.8), (x, y, 0.8), bark, TREE)
        one.put("cone", (1.7 * scale, 1.7 * scale, tall), (x, y, 1.0), green, TREE, look=look, turn=yaw(rng.uniform(0, 6)))
        return
    trunk, broad = rng.uniform(2.0, 3.2) * scale, rng.uniform(1.3, 2.1) * scale
    one.put("cylinder", (rng.uniform(0.12, 0.2) * scale, trunk / 2 + 0.4), (x, y, trunk / 2 + 0.4), bark, TREE)
    for i in range(rng.integers(3, 6) if x < 80 else 2):
        way, out = rng.uniform(0, 2 * np.pi), broad * rng.uniform(0.3, 0.75) * (i > 0)
        r = broad * (1.0 if i == 0 else rng.uniform(0.55, 0.8))
        at = (x + out * np.cos(way), y + out * np.sin(way), trunk + broad * (0.75 + rng.uniform(-0.25, 0.8) * (i > 0)))
        one.put(
            f"crown{rng.integers(CROWNS)}",
            (r, r, r * rng.uniform(0.8, 1.05)),
            at,
            tint(rng, green, 0.07),
            TREE,
            look=look,
            turn=yaw(rng.uniform(0, 6)),
        )


def far_end(one: Street, plan: Plan, rng: np.random.Generator) -> None:
    """What closes the view: a row across, or trees."""
    x = BACK + LENGTH
    if rng.random() < 0.65:
        y = -60.0
        while y < 60:
            bays, storeys = int(rng.integers(3, 7)), int(rng.integers(2, 7))
            wide, high = bays * BAY, GROUND + storeys * STOREY
            wall = tint(rng, FACADE_COLOURS[rng.integers(len(FACADE_COLOURS))], 0.1)
            one.put("box", (5, wide / 2, high / 2), (x + 5, y + wide / 2, high / 2), wall, BUILDING)
            front = np.stack([[0, -1.0, 0], [0, 0, 1.0], [-1.0, 0, 0]], 1)
            one.put(
                "box",
                (wide / 2, high / 2, 0.05),
                (x, y + wide / 2, high / 2),
                wall,
                BUILDING,
                turn=front,
                look=f"facade{rng.integers(FACADES)}.00",
            )
            y += wide
    else:
        for _ in range(40):
            tree(one, x + rng.uniform(0, 40), rng.uniform(-60, 60), rng, rng.uniform(1.2, 2))
