"""A street as a function of (seed, index): the light, the camera, the ground, and all that stands on it."""

from __future__ import annotations

import numpy as np

from ugc.core.clock import Clock
from ugc.data.street_parts import BACK, LENGTH, ROAD, SIDEWALK, TERRAIN, Camera, Light, Plan, Street, tint
from ugc.data.street_sides import far_end, plots
from ugc.data.street_things import furniture, people, traffic


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


def light(rng: np.random.Generator) -> Light:
    """One of five weathers, each with its own spread: clear, fair, hazy, overcast, low sun."""
    kind = rng.choice(["clear", "fair", "hazy", "overcast", "low"], p=[0.25, 0.27, 0.14, 0.18, 0.16])
    rise = np.radians({"low": rng.uniform(12, 24)}.get(kind, rng.uniform(32, 68)))
    way = rng.uniform(0, 2 * np.pi)
    direction = -np.array([np.cos(rise) * np.cos(way), np.cos(rise) * np.sin(way), np.sin(rise)])
    sun, sky, horizon, zenith, cloud, cover, haze = {
        "clear": ((0.80, 0.76, 0.68), (0.36, 0.39, 0.45), (0.80, 0.87, 0.95), (0.28, 0.50, 0.82), (1, 1, 1), 0.28, 0.0016),
        "fair": (
            (0.72, 0.70, 0.66),
            (0.40, 0.42, 0.46),
            (0.82, 0.87, 0.93),
            (0.36, 0.55, 0.82),
            (0.97, 0.97, 0.98),
            0.50,
            0.0024,
        ),
        "hazy": (
            (0.52, 0.50, 0.45),
            (0.46, 0.46, 0.46),
            (0.88, 0.88, 0.86),
            (0.62, 0.70, 0.80),
            (0.95, 0.95, 0.94),
            0.42,
            0.0075,
        ),
        "overcast": (
            (0.14, 0.14, 0.15),
            (0.60, 0.61, 0.64),
            (0.82, 0.83, 0.85),
            (0.66, 0.69, 0.73),
            (0.74, 0.76, 0.79),
            0.62,
            0.0042,
        ),
        "low": (
            (0.86, 0.60, 0.36),
            (0.33, 0.33, 0.41),
            (0.97, 0.80, 0.60),
            (0.38, 0.46, 0.68),
            (0.98, 0.80, 0.68),
            0.42,
            0.0036,
        ),
    }[str(kind)]
    warm = rng.normal(0, 0.025) * np.array([1, 0, -1.0])
    return Light(
        direction,
        np.array(sun) * rng.uniform(0.88, 1.1) + warm,
        np.array(sky) * rng.uniform(0.9, 1.1) + warm / 2,
        np.array(horizon) + warm,
        np.array(zenith) + warm,
        np.array(cloud),
        float(np.clip(cover + rng.normal(0, 0.06), 0.1, 0.75)),
        haze * float(rng.uniform(0.7, 1.5)),
        float(rng.uniform(1.08, 1.3)),
        bool(kind != "overcast"),
    )


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
            one.put(
                "box",
                (half, wide / 2, 0.07),
                (middle, side * (plan.road + wide / 2), 0.07),
                slab,
                SIDEWALK,
                look=plan.paving,
            )
            one.put(
                "box", (half, 0.09, 0.08), (middle, side * (plan.road + 0.09), 0.07), tint(rng, (0.72, 0.71, 0.69)), SIDEWALK
            )
            if verge:
                one.put(
                    "box", (half, 0.55, 0.02), (middle, side * (plan.road + 0.85), 0.15), grass, TERRAIN, look=plan.grass
                )
            if not yard:
                one.put(
                    "box", (half, 8, 0.05), (middle, side * (plan.edge(side) + 8), 0.05), slab, SIDEWALK, look=plan.paving
                )
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
