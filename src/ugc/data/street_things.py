"""What stands and moves in a street: lamps, signs, traffic lights, people and cars."""

from __future__ import annotations

import numpy as np

from ugc.data.street_looks import Floats
from ugc.data.street_meshes import CARS, roof_of
from ugc.data.street_parts import CAR, LAMP, LENGTH, PERSON, POLE, ROAD, SIGN, Colour, Plan, Street, along, tint, yaw
from ugc.data.street_sides import tree


def furniture(one: Street, plan: Plan, side: int, rng: np.random.Generator) -> None:
    """Along the kerb: trees, lamps, signs, bollards; traffic lights where there is a crossing."""
    kerb = side * (plan.road + 0.6)
    steel = tint(rng, ((0.42, 0.44, 0.45), (0.20, 0.24, 0.22), (0.56, 0.57, 0.58))[rng.integers(3)])
    step, high = rng.uniform(20, 34), rng.uniform(5.5, 8.5)
    for x in np.arange(rng.uniform(6, 20), LENGTH - 30, step):
        if not plan.at_crossing(float(x), 1):
            lamp(one, float(x), kerb, side, high, steel)
    if rng.random() < plan.green:
        gap, grown = rng.uniform(7, 14), rng.uniform(0.75, 1.25)
        for x in np.arange(rng.uniform(5, 14), LENGTH - 25, gap):
            if rng.random() < 0.8 and not plan.at_crossing(float(x), 4):
                tree(one, float(x), side * (plan.road + 1.0 + rng.uniform(0, 0.3)), rng, grown * rng.uniform(0.85, 1.15))
    for _ in range(rng.integers(1, 5)):
        x = rng.uniform(7, 75)
        if not plan.at_crossing(x, 2):
            sign(one, x, side * (plan.road + rng.uniform(0.35, 0.7)), rng, steel)
    if rng.random() < 0.25:
        a = rng.uniform(5, 30)
        for x in np.arange(a, a + rng.uniform(8, 25), 1.7):
            if not plan.at_crossing(float(x), 1):
                one.put("cylinder", (0.07, 0.48), (float(x), side * (plan.road + 0.35), 0.6), steel, POLE)
    if plan.crossing is not None and rng.random() < 0.75:
        signal(one, plan.crossing - plan.cross_half - 1.0, side * (plan.road + 0.5), rng, -1)
        signal(one, plan.crossing + plan.cross_half + 1.0, side * (plan.road + 0.5), rng, -1)


def lamp(one: Street, x: float, y: float, side: int, high: float, steel: Colour) -> None:
    one.put("cylinder", (0.085, high / 2), (x, y, high / 2), steel, POLE)
    one.put("cylinder", (0.05, 0.8), (x, y - side * 0.8, high), steel, POLE, turn=along(np.array([0, 1.0, 0])))
    one.put("box", (0.13, 0.36, 0.06), (x, y - side * 1.7, high), steel, POLE)


def sign(one: Street, x: float, y: float, rng: np.random.Generator, steel: Colour) -> None:
    """A disc, a triangle's stand-in (a diamond), or a board, on a post."""
    z = float(rng.uniform(2.2, 2.7))
    one.put("cylinder", (0.04, z / 2 + 0.2), (x, y, z / 2 + 0.2), steel, POLE)
    face, at = along(np.array([-1.0, 0, 0])), x - 0.06
    red, blue, pale = (0.80, 0.10, 0.10), (0.10, 0.28, 0.70), (0.94, 0.94, 0.92)
    kind = rng.integers(5)
    if kind == 0:
        one.put("cylinder", (0.36, 0.02), (at, y, z), red, SIGN, turn=face)
        one.put("cylinder", (0.25, 0.022), (at - 0.005, y, z), pale, SIGN, turn=face)
    elif kind == 1:
        one.put("cylinder", (0.36, 0.02), (at, y, z), blue, SIGN, turn=face)
        one.put("box", (0.03, 0.05, 0.2), (at, y, z), pale, SIGN)
    elif kind == 2:
        one.put("cylinder", (0.36, 0.02), (at, y, z), red, SIGN, turn=face)
        one.put("box", (0.03, 0.24, 0.06), (at, y, z), pale, SIGN)
    elif kind == 3:
        diamond = face @ yaw(np.pi / 4)
        one.put("box", (0.30, 0.30, 0.02), (at, y, z), pale, SIGN, turn=diamond)
        one.put("box", (0.22, 0.22, 0.025), (at, y, z), (0.95, 0.75, 0.10), SIGN, turn=diamond)
    else:
        one.put("box", (0.02, 0.62, 0.30), (at, y, z + 0.2), blue if rng.random() < 0.5 else (0.93, 0.80, 0.20), SIGN)
        one.put("box", (0.025, 0.48, 0.04), (at, y, z + 0.28), pale, SIGN)
        one.put("box", (0.025, 0.36, 0.04), (at, y, z + 0.12), pale, SIGN)


def signal(one: Street, x: float, y: float, rng: np.random.Generator, way: int) -> None:
    """Three lamps in a dark box on a post; one is lit."""
    one.put("cylinder", (0.07, 1.7), (x, y, 1.7), (0.33, 0.35, 0.34), POLE)
    one.put("box", (0.14, 0.20, 0.50), (x + way * 0.16, y, 3.2), (0.07, 0.09, 0.08), LAMP)
    lit = int(rng.integers(3))
    for i, colour in enumerate(((0.95, 0.12, 0.08), (0.95, 0.70, 0.10), (0.12, 0.85, 0.35))):
        r, g, b = (c * (1.0 if i == lit else 0.22) for c in colour)
        one.put(
            "cylinder",
            (0.115, 0.02),
            (x + way * 0.31, y, 3.5 - 0.3 * i),
            (r, g, b),
            LAMP,
            turn=along(np.array([1.0, 0, 0])),
            glow=1.0 if i == lit else 0.0,
        )


SHIRTS: tuple[Colour, ...] = (
    (0.70, 0.16, 0.16),
    (0.18, 0.28, 0.52),
    (0.88, 0.86, 0.82),
    (0.16, 0.16, 0.18),
    (0.30, 0.46, 0.34),
    (0.80, 0.62, 0.24),
    (0.50, 0.36, 0.52),
    (0.55, 0.70, 0.80),
)
TROUSERS: tuple[Colour, ...] = ((0.16, 0.18, 0.26), (0.26, 0.24, 0.22), (0.10, 0.10, 0.11), (0.50, 0.45, 0.36))
SKINS: tuple[Colour, ...] = ((0.86, 0.68, 0.56), (0.72, 0.52, 0.40), (0.50, 0.34, 0.25), (0.92, 0.76, 0.66))


def people(one: Street, plan: Plan, side: int, rng: np.random.Generator) -> None:
    """On the pavement, more of them near; a few cross the road."""
    wide = plan.width(plan.walk, side)
    for _ in range(rng.poisson(5)):
        x = 5 + 65 * rng.random() ** 1.4
        if not plan.at_crossing(x):
            person(one, x, side * (plan.road + rng.uniform(1.2, max(1.3, wide - 0.3))), 0.14, rng)
    if rng.random() < 0.25:
        x = rng.uniform(14, 40) if plan.crossing is None else plan.crossing - plan.cross_half - rng.uniform(1.3, 3)
        for _ in range(rng.integers(1, 4)):
            person(one, x + rng.uniform(-0.8, 0.8), side * rng.uniform(0.4, plan.road), 0.0, rng, across=True)


def person(one: Street, x: float, y: float, z: float, rng: np.random.Generator, across: bool = False) -> None:
    """Legs and arms in stride, a coat, a head with hair; turned along the street or across it."""
    me, s = one.thing(PERSON), float(rng.uniform(0.86, 1.08))
    turn = yaw(rng.choice([0, np.pi]) + (np.pi / 2 if across else 0) + rng.normal(0, 0.25))
    swing, shirt = rng.uniform(0.05, 0.5) * rng.choice([-1, 1]), tint(rng, SHIRTS[rng.integers(len(SHIRTS))], 0.12)
    skin, legs = SKINS[rng.integers(len(SKINS))], tint(rng, TROUSERS[rng.integers(len(TROUSERS))], 0.12)

    def limb(a: tuple[float, float, float], b: tuple[float, float, float], r: float, colour: Colour) -> None:
        p, q = turn @ (np.array(a) * s), turn @ (np.array(b) * s)
        one.put(
            "capsule",
            (r * s, float(np.linalg.norm(q - p)) / 2),
            np.array([x, y, z]) + (p + q) / 2,
            colour,
            PERSON,
            instance=me,
            turn=along(q - p),
        )

    def ball(at: tuple[float, float, float], size: tuple[float, float, float], colour: Colour) -> None:
        one.put(
            "ellipsoid",
            tuple(v * s for v in size),
            np.array([x, y, z]) + turn @ (np.array(at) * s),
            colour,
            PERSON,
            instance=me,
            turn=turn,
        )

    for sign in (1, -1):
        step = float(swing * sign)
        limb((0, 0.09 * sign, 0.88), (step * 0.8, 0.10 * sign, 0.10), 0.085, legs)
        ball((step * 0.8 + 0.06, 0.10 * sign, 0.05), (0.14, 0.055, 0.055), (0.12, 0.10, 0.09))
        limb((0, 0.23 * sign, 1.38), (-step * 0.6, 0.27 * sign, 0.92), 0.055, shirt)
        ball((-step * 0.62, 0.27 * sign, 0.86), (0.05, 0.04, 0.06), skin)
    ball((0, 0, 1.17), (0.16, 0.24, 0.36), shirt)
    limb((0, 0, 1.45), (0.01, 0, 1.56), 0.055, skin)
    ball((0.015, 0, 1.66), (0.105, 0.09, 0.125), skin)
    ball(
        (-0.02, 0, 1.70),
        (0.11, 0.1, 0.115),
        tint(rng, ((0.16, 0.11, 0.08), (0.42, 0.28, 0.14), (0.08, 0.07, 0.07), (0.60, 0.58, 0.55))[rng.integers(4)]),
    )


PAINTS: tuple[Colour, ...] = (
    (0.78, 0.79, 0.80),
    (0.90, 0.90, 0.89),
    (0.10, 0.10, 0.11),
    (0.36, 0.38, 0.40),
    (0.58, 0.10, 0.10),
    (0.12, 0.22, 0.46),
    (0.20, 0.36, 0.28),
    (0.66, 0.60, 0.48),
    (0.80, 0.50, 0.12),
    (0.50, 0.66, 0.78),
)


def traffic(one: Street, plan: Plan, rng: np.random.Generator) -> None:
    """Cars at the kerb and on the road, seen from behind on the right, from the front on the left."""
    own = float(one.camera.at[1])
    for side in (1, -1):
        if plan.width(plan.parking, side):
            x, full = rng.uniform(-4, 7), rng.uniform(0.45, 0.95)
            while x < 110:
                if (
                    rng.random() < full
                    and not plan.at_crossing(x, 7)
                    and (x > 4.5 or abs(side * (plan.road - 1.1) - own) > 2.6)
                ):
                    car(one, x, side * (plan.road - 1.12) + rng.normal(0, 0.06), 0 if side < 0 else np.pi, rng)
                x += rng.uniform(5.6, 7.0)
        lanes = [side * (plan.road - 1.1 * sum(plan.parking)) * f for f in ((0.5,) if plan.lanes == 2 else (0.25, 0.75))]
        for y in lanes:
            x = rng.uniform(6, 30) if abs(y - own) > 1.7 else rng.uniform(13, 45)
            while x < 130:
                if rng.random() < 0.8:
                    car(one, x, y + rng.normal(0, 0.15), 0 if side < 0 else np.pi, rng)
                x += rng.uniform(9, 45)


def car(one: Street, x: float, y: float, heading: float, rng: np.random.Generator) -> None:
    """Body, dark glass, roof, wheels, lights, plates, and the dark ground beneath."""
    me, kind = one.thing(CAR), str(rng.choice(list(CARS), p=[0.45, 0.38, 0.17]))
    paint = tint(rng, PAINTS[rng.choice(len(PAINTS), p=[0.17, 0.16, 0.15, 0.15, 0.1, 0.1, 0.05, 0.05, 0.04, 0.03])], 0.08)
    turn = yaw(heading + rng.normal(0, 0.02))
    body, cabin = CARS[kind]
    base = np.array([x, y, 0.0])

    def part(
        shape: str,
        size: tuple[float, ...],
        at: tuple[float, float, float],
        colour: Colour,
        *,
        shine: float = 0.0,
        frame: Floats | None = None,
        glow: float = 0.0,
    ) -> None:
        one.put(
            shape,
            size,
            base + turn @ np.array(at),
            colour,
            CAR,
            instance=me,
            turn=turn if frame is None else turn @ frame,
            shine=shine,
            glow=glow,
        )

    one.put(
        "ellipsoid",
        (body[-1][0] + 0.2, body[2][3] + 0.15, 0.004),
        base + np.array([0, 0, 0.012]),
        (0.03, 0.03, 0.03),
        ROAD,
        turn=turn,
        opacity=0.5,
    )
    part(f"{kind}.body", (1, 1, 1), (0, 0, 0), paint, shine=0.5)
    part(f"{kind}.cabin", (1, 1, 1), (0, 0, 0), (0.10, 0.13, 0.16), shine=0.8)
    part(f"{kind}.roof", (1, 1, 1), (0, 0, 0), paint, shine=0.4)
    tops = roof_of(cabin)
    a, b, top = tops[0][0], tops[-1][0], tops[1][2]
    if x > 95:  # the rest is smaller than a pixel
        return
    near = x < 55
    long, half = body[-1][0], body[2][3]
    axle = along(np.array([0, 1.0, 0]))
    for wx in (-long * 0.62, long * 0.62):
        part("cylinder", (0.32, half + 0.02), (wx, 0, 0.32), (0.06, 0.06, 0.06), frame=axle)
        if near:
            part("cylinder", (0.19, half + 0.025), (wx, 0, 0.32), (0.55, 0.56, 0.57), frame=axle)
    rear, tall = body[0][0], body[1][2]
    for sign in (1, -1):
        part("box", (0.06, 0.16, 0.09), (rear + 0.05, sign * 0.58, tall * 0.78), (0.62, 0.05, 0.05), glow=0.25)
        part("box", (0.08, 0.17, 0.07), (long - 0.10, sign * 0.56, 0.62), (0.93, 0.93, 0.88), glow=0.2)
        if near:  # mirrors, and pillars between the doors
            part("box", (0.07, 0.10, 0.06), (0.55, sign * (half + 0.10), 0.95), paint)
            lean = np.array([[1, 0, 0], [0, 1, -sign * 0.30], [0, 0, 1.0]])
            part(
                "box",
                (0.05, 0.02, (top - 0.92) / 2),
                (a + (b - a) * 0.45, sign * (tops[0][4] + 0.10), (top + 0.92) / 2),
                paint,
                frame=lean,
            )
    part("box", (0.05, half * 0.88, 0.07), (rear + 0.05, 0, 0.34), (0.14, 0.14, 0.14))
    if near:
        part("box", (0.03, 0.26, 0.06), (rear - 0.01, 0, 0.52), (0.92, 0.92, 0.86))
        part("box", (0.03, 0.26, 0.06), (long + 0.01, 0, 0.42), (0.92, 0.92, 0.86))
        part("box", (0.05, half * 0.72, 0.05), (long - 0.03, 0, 0.52), (0.09, 0.09, 0.09))
