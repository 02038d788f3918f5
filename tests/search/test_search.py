"""Budgets, regions, evolution, teachers, the front."""

import math
from functools import lru_cache
from itertools import pairwise

import numpy as np
import pytest

from ugc.core.clock import Clock
from ugc.core.errors import UserError
from ugc.nn.arch import Choice, SearchSpace
from ugc.nn.cost import Cost, TimedCost
from ugc.search.budget import Budget, short, spelled
from ugc.search.evolution import SearchConfig, cross, evolve, mutate
from ugc.search.pareto import front
from ugc.search.region import Region, just_below, spread
from ugc.search.teachers import least_depth, teacher_regions

WIDTHS = tuple(range(8, 65, 8))
SPACE = SearchSpace((*(Choice(f"w{i}", WIDTHS) for i in range(6)), *(Choice(f"d.s{i}", (0, 1, 2)) for i in range(4))))
ORIGINAL = Cost(params=11_000_000, macs=50 * 10**9, macs_paper=56 * 10**9)
LARGEST = Cost(10**7, 57 * 10**9, 57 * 10**9)


@lru_cache(None)
def cost(arch):
    """Neighbouring widths multiply; a block costs twice its width squared."""
    w, d = [arch[f"w{i}"] for i in range(6)], [arch[f"d.s{i}"] for i in range(4)]
    return float(sum(a * b for a, b in pairwise(w)) + 2 * sum(n * w[i + 1] ** 2 for i, n in enumerate(d)))


@pytest.mark.parametrize("share", [0.05, 0.2, 0.6, 0.99])
def test_a_student_is_searched_among_nets_that_use_the_budget_up(share):
    limit = cost(SPACE.smallest) + share * (cost(SPACE.largest) - cost(SPACE.smallest))
    region = just_below(SPACE, cost, limit, np.random.default_rng(0))
    assert (region.low, region.high) == (0.9 * limit, limit)
    favours_the_smallest = evolve(region, each(cost), CONFIG, Clock(0), "student")
    assert 0.9 * limit <= cost(favours_the_smallest) <= limit


@pytest.mark.parametrize("limit, low", [(11, 9.9), (12, 9.6), (16, 9.6), (24, 9.6), (40, 8), (90, 0)])
def test_where_no_net_uses_a_budget_up_the_window_reaches_down_to_one(limit, low):
    coarse = SearchSpace((Choice("w", (1, 10, 100)), Choice("d.s", (0,))))
    region = just_below(coarse, lambda arch: float(arch["w"]), limit, np.random.default_rng(0))
    assert region.low == pytest.approx(low) and region.high == limit
    assert region.draw(np.random.default_rng(0))["w"] == 10


def region_of(share, depth=None):
    low, high = cost(SPACE.smallest), cost(SPACE.largest)
    return Region(SPACE, cost, low, low + share * (high - low), depth)


# Budgets


@pytest.mark.parametrize("text, key, limit", [
    ("40x", "macs_paper", 1.4e9), ("2.5x", "macs_paper", 22.4e9), ("40X", "macs_paper", 1.4e9), ("macs=1.5G", "macs", 1.5e9),
    ("macs_paper=1.5G", "macs_paper", 1.5e9), ("params=0.15M", "params", 150_000), ("1.5G", "macs", 1.5e9),
    ("params=150K", "params", 150_000), ("params = 150000", "params", 150_000), (" 1.5g ", "macs", 1.5e9),
    ("params=40x", "params", 275_000), ("macs=1.5e9", "macs", 1.5e9)])
def test_budget_forms(text, key, limit):
    budget = Budget.parse(text, ORIGINAL)
    assert (budget.key, budget.text) == (key, text) and budget.limit == pytest.approx(limit)


@pytest.mark.parametrize("text", ["", "x", "fourty", "-3G", "flops=3G", "macs=", "1.5T", "macs=1,5G", "1.5G MACs", "macs:3G",
                                  "nan"])
def test_wrong_budgets_are_refused_with_the_forms(text):
    with pytest.raises(UserError, match=r"expected 40x, macs=1\.5G"):
        Budget.parse(text, ORIGINAL)


@pytest.mark.parametrize("text, limit, runtime", [
    ("latency=10ms", 10.0, "onnxruntime"), ("latency=0.5s@torch", 500.0, "torch"), (" Latency = 250us @ OnnxRuntime", 0.25,
                                                                                    "onnxruntime")])
def test_a_latency_is_a_budget_on_a_runtime(text, limit, runtime):
    budget = Budget.parse(text, ORIGINAL)
    assert (budget.key, budget.runtime, budget.text) == ("latency_ms", runtime, text)
    assert budget.limit == pytest.approx(limit) and budget.most == f"{limit:g} ms in {runtime}"
    assert budget.of(TimedCost(1, 2, 3, 0.2)) == 0.2 and budget.holds(TimedCost(10**9, 10**12, 10**12, limit))
    assert not budget.holds(TimedCost(0, 0, 0, limit * 1.01))
    assert Budget.parse(spelled(text), ORIGINAL).limit == budget.limit
    with pytest.raises(UserError, match=rf"{limit:g} ms in {runtime} is out of reach: the smallest .* has 600, the largest "
                                        r"900; raise the budget or lower --base"):
        budget.check_reachable(TimedCost(1, 1, 1, 600.0), TimedCost(2, 2, 2, 900.0))


def test_what_a_latency_means_is_spelled_out():
    assert [spelled(text) for text in ("latency=10ms", "latency=10ms@torch", "40x", "macs=1.5G")] == [
        "latency=10ms@onnxruntime", "latency=10ms@torch", "40x", "macs=1.5G"]


@pytest.mark.parametrize("text", ["latency", "latency=10", "latency=ms", "latency=40x", "latency=10m", "latency=-1ms",
                                  "latency=10ms@", "latency=10ms torch"])
def test_no_time(text):
    with pytest.raises(UserError, match=r"expected a time, such as latency=10ms, latency=0\.5s or latency=10ms@torch"):
        Budget.parse(text, ORIGINAL)


def test_a_budget_of_nothing():
    for text in ("0x", "0G", "params=0.0M", "latency=0ms"):
        with pytest.raises(UserError, match="above zero"):
            Budget.parse(text, ORIGINAL)


def test_a_budget_holds_up_to_its_limit():
    budget = Budget.parse("macs_paper=1.5G", ORIGINAL)
    assert budget.holds(Cost(10**9, 10**12, 1_500_000_000)) and not budget.holds(Cost(0, 0, 1_500_000_001))
    assert budget.of(Cost(1, 2, 3)) == 3.0
    budget.check_reachable(Cost(1, 1, 1), LARGEST)
    with pytest.raises(UserError, match=r"1\.5G macs_paper is out of reach: the smallest .* has 1\.6G, the largest 57G"):
        budget.check_reachable(Cost(1, 1, 1_600_000_000), LARGEST)
    for text in ("57G", "macs_paper=57G", "0.9x"):
        with pytest.raises(UserError, match=r"leaves nothing to compress: the smallest .* has 1\.6G, the largest 57G"):
            Budget.parse(text, ORIGINAL).check_reachable(Cost(1, 1_600_000_000, 1_600_000_000), LARGEST)


@pytest.mark.parametrize("text, way", [
    ("40x", "ask for at most 35x"), ("macs_paper=1.4G", "raise the budget or lower --base")])
def test_what_to_do_about_a_budget_out_of_reach(text, way):
    with pytest.raises(UserError, match=f"{way}$"):  # 56 G / 1.6 G = 35
        Budget.parse(text, ORIGINAL).check_reachable(Cost(1, 1, 1_600_000_000), LARGEST)


def test_short():
    numbers = (1_407_743_000, 56.8e9, 38_723, 999, 5_675_779)
    assert [short(v) for v in numbers] == ["1.408G", "56.8G", "38.72K", "999", "5.676M"]


# Regions


@pytest.mark.parametrize("share, depth", [(0.02, None), (0.3, None), (1.0, None), (0.3, 8), (0.1, 0), (0.1, 3)])
def test_draws_lie_inside(share, depth):
    region = region_of(share, depth)
    rng = np.random.default_rng(0)
    drawn = [region.draw(rng) for _ in range(200)]
    found = [a for a in drawn if a is not None]
    assert len(found) > 150 and all(a in region and a in SPACE for a in found)
    assert all(region.low <= cost(a) <= region.high for a in found)
    assert depth is None or {a.depth for a in found} == {depth}
    assert len(set(found)) > 0.5 * len(found)


def test_draws_are_towards_the_window_where_rejection_fails():
    region = region_of(0.01)
    rng = np.random.default_rng(1)
    assert sum(SPACE.sample(rng) in region for _ in range(2000)) < 5
    costs = [cost(region.draw(rng)) for _ in range(100)]
    assert min(costs) < 0.7 * region.high and np.median(costs) > 0.5 * region.high


def test_moved_leaves_what_is_inside_and_gives_none_where_nothing_is():
    region = region_of(0.3)
    rng = np.random.default_rng(2)
    inside = region.draw(rng)
    assert region.moved(inside, rng) is inside
    assert region.moved(SPACE.largest, rng) in region
    empty = Region(SPACE, cost, cost(SPACE.largest) + 1, cost(SPACE.largest) + 2)
    assert empty.draw(rng) is None and empty.moved(SPACE.smallest, rng) is None
    assert Region(SPACE, cost, 0, 1).moved(SPACE.largest, rng) is None  # below the smallest


def test_a_region_is_a_window_of_cost_and_a_depth():
    arch = SPACE.smallest.having({"d.s0": 1})
    at = cost(arch)
    assert arch in Region(SPACE, cost, at, at) and arch in Region(SPACE, cost, at, at, 1)
    assert arch not in Region(SPACE, cost, at, at, 0) and arch not in Region(SPACE, cost, at, at, 2)
    assert arch not in Region(SPACE, cost, at + 1, at + 2) and arch not in Region(SPACE, cost, 0, at - 1)
    too_deep = Region(SPACE, cost, 0, cost(SPACE.largest), 9)  # more blocks than there are
    assert too_deep.draw(np.random.default_rng(0)) is None


def test_spread_is_log_uniform():
    rng = np.random.default_rng(3)
    logs = np.log([cost(spread(SPACE, cost, rng)) for _ in range(600)])
    low, high = np.log(cost(SPACE.smallest)), np.log(cost(SPACE.largest))
    shares, _ = np.histogram((logs - low) / (high - low), 4, (0, 1))
    assert shares.sum() == 600 and shares.min() > 100


# Evolution


def score(arch):
    """Best at a hidden shape; the search must find it within the cost."""
    ideal = (8, 64, 16, 48, 8, 32)
    apart = sum(abs(arch[f"w{i}"] - v) for i, v in enumerate(ideal)) / 8
    return apart + abs(arch["d.s0"] - 2) + arch["d.s3"]


def each(one):
    """A score of several nets, from one of one net."""
    return lambda archs: [one(arch) for arch in archs]


CONFIG = SearchConfig(population=30, generations=12)


def test_evolution_beats_as_many_random_draws():
    region = region_of(0.35)
    wins = 0
    for seed in range(5):
        asked = set()
        best = evolve(region, each(lambda a, asked=asked: asked.add(a) or score(a)), CONFIG, Clock(seed), "student")
        assert best in region and score(best) == min(map(score, asked))  # nothing better was met and lost
        assert all(a in region for a in asked)
        rng = np.random.default_rng(seed)
        random = min(score(a) for a in (region.draw(rng) for _ in range(len(asked))) if a is not None)
        wins += score(best) < random
    assert wins == 5


def test_evolution_is_a_function_of_seed_and_purpose():
    region, config = region_of(0.35), SearchConfig(population=10, generations=3)

    def path(seed, purpose):
        asked = []
        evolve(region, each(lambda a: asked.append(a) or score(a)), config, Clock(seed), purpose)
        return asked

    assert path(0, "student") == path(0, "student")
    assert path(0, "student") != path(1, "student") and path(0, "student") != path(0, "deep")


def test_a_killed_search_goes_on_with_its_memo():
    region, evaluations = region_of(0.35), []

    class KilledError(Exception):
        pass

    def with_memo(memo, most):
        def memoised(arch):
            if arch not in memo:
                if len(evaluations) == most:
                    raise KilledError
                evaluations.append(arch)
                memo[arch] = score(arch)
            return memo[arch]

        return memoised

    whole = {}
    best = evolve(region, each(with_memo(whole, None)), CONFIG, Clock(0), "student")
    straight = list(evaluations)
    evaluations.clear()
    memo = {}
    with pytest.raises(KilledError):
        evolve(region, each(with_memo(memo, 50)), CONFIG, Clock(0), "student")
    assert evolve(region, each(with_memo(memo, None)), CONFIG, Clock(0), "student") == best
    assert evaluations == straight and len(set(evaluations)) == len(evaluations)
    evaluations.clear()
    assert evolve(region, each(with_memo(memo, 0)), CONFIG, Clock(0), "student") == best  # all known: nothing is computed


def test_each_generation_is_told_and_the_best_never_gets_worse():
    told = []
    evolve(region_of(0.35), each(score), CONFIG, Clock(0), "student", lambda g, scores: told.append((g, dict(scores))))
    assert [g for g, _ in told] == list(range(13))
    best = [min(scores.values()) for _, scores in told]
    assert best == sorted(best, reverse=True) and best[-1] < best[0]
    sizes = [len(scores) for _, scores in told]
    assert sizes[:6] == [30] * 6  # children are new nets: no place of a generation is spent on a parent
    assert min(sizes) >= 8 + 11 and max(sizes) == 30  # parents grown alike have few new crossovers, but mutants


def test_a_region_smaller_than_the_population():
    low = cost(SPACE.smallest)
    assert evolve(Region(SPACE, cost, low, low), each(score), CONFIG, Clock(0), "student") == SPACE.smallest


def test_an_empty_region_is_said():
    top = cost(SPACE.largest)
    with pytest.raises(UserError, match=r"the search for the student met no architecture .*choose another budget"):
        evolve(Region(SPACE, cost, top + 1, top + 2), each(score), SearchConfig(population=3, generations=1), Clock(0),
               "student")


def test_mutation_and_crossover():
    rng = np.random.default_rng(0)
    a, b = SPACE.smallest, SPACE.largest
    assert mutate(SPACE, a, 0.0, rng) == a and mutate(SPACE, a, 1.0, rng) in SPACE
    changed = np.mean([sum(mutate(SPACE, a, 0.2, rng)[n] != a[n] for n in a) for _ in range(500)])
    assert changed == pytest.approx(0.2 * (6 * 7 / 8 + 4 * 2 / 3), abs=0.2)
    children = [cross(a, b, rng) for _ in range(300)]
    assert all(child[n] in (a[n], b[n]) for child in children for n in child)
    assert np.mean([sum(child[n] == a[n] for n in child) for child in children]) == pytest.approx(5, abs=0.4)
    assert cross(a, a, rng) == a


# Teachers


def test_teachers_of_a_small_student():
    student = SPACE.smallest
    regions = teacher_regions(SPACE, cost, student)
    target = 20 * cost(student)
    assert regions.target == target and target < 0.6 * cost(SPACE.largest)
    rng = np.random.default_rng(0)
    for region in (regions.deep, regions.wide):
        assert (region.low, region.high) == pytest.approx((0.95 * target, 1.05 * target))
        for _ in range(30):
            arch = region.draw(rng)
            assert arch in region and arch in SPACE and abs(cost(arch) / target - 1) <= 0.05 + 1e-12
            assert arch.depth == (8 if region is regions.deep else regions.wide.depth)
    assert regions.wide.depth == 0 and not regions.notes  # widths alone reach it


def test_the_wide_teacher_takes_the_least_depth_that_reaches():
    student = SPACE.parse("w0=16,w1=16,w2=16,w3=24,w4=16,w5=16,d.s0=0,d.s1=1,d.s2=1,d.s3=0")
    regions = teacher_regions(SPACE, cost, student)
    widest = SPACE.smallest.having({f"w{i}": 64 for i in range(6)})
    reach = [cost(widest) + d * 2 * 64**2 for d in range(9)]  # at full width every block costs the same
    least = next(d for d in range(9) if reach[d] >= 0.95 * regions.target)
    assert least > 0 and regions.wide.depth == least == least_depth(SPACE, cost, 0.95 * regions.target)
    assert any(f"takes {least} inserted blocks" in note for note in regions.notes)
    assert regions.wide.draw(np.random.default_rng(0)) in regions.wide


def test_clipping_is_said():
    student = SPACE.largest.having({"d.s0": 0, "w0": 8, "w3": 16})
    regions = teacher_regions(SPACE, cost, student)
    assert regions.target == pytest.approx(0.6 * cost(SPACE.largest)) and regions.target < 20 * cost(student)
    assert "above 0.6 x the largest" in regions.notes[0] and f"{regions.target / cost(student):.1f} x" in regions.notes[0]
    assert regions.deep.draw(np.random.default_rng(0)) in regions.deep


def test_a_deep_teacher_that_costs_more_than_the_target():
    """All slots full may be dearer than 20 x at the narrowest: then it is that net's cost that counts, and it is said."""
    space = SearchSpace((Choice("w", (1, 2, 32)), Choice("d.s", (0, 100))))

    def dear(arch):
        return float(arch["w"] ** 2 * (1 + arch["d.s"]))

    regions = teacher_regions(space, dear, space.smallest)
    full = space.smallest.having({"d.s": 100})
    assert dear(full) > 1.05 * regions.target and full in regions.deep
    assert regions.deep.draw(np.random.default_rng(0)) == full
    assert any("with every slot full the narrowest net is 101.0 x" in note for note in regions.notes)


# The front


def test_front():
    rows = [{"macs_paper": c, "score": s, "arch": i} for i, (c, s) in
            enumerate([(5, 1.0), (1, 3.0), (2, 3.0), (2, 2.0), (4, 2.5), (6, 1.0), (1, 4.0), (7, 0.5)])]
    assert [row["arch"] for row in front(rows)] == [1, 3, 0, 7]
    assert front([]) == [] and front(reversed(rows)) == front(rows)
    rng = np.random.default_rng(0)
    rows = [{"params": float(c), "loss": float(s)} for c, s in rng.random((200, 2))]
    best = front(rows, "params", "loss")
    for row in rows:
        beaten = any(o["params"] <= row["params"] and o["loss"] <= row["loss"] and o != row for o in rows)
        assert (row in best) == (not beaten)
    best[0]["params"] = -1.0
    assert all(row["params"] >= 0 for row in rows)  # copies


def test_a_window_that_holds_no_net_is_widened_and_one_that_holds_some_is_not():
    coarse = SearchSpace((Choice("w", (1, 10)), Choice("d.s", (0,))))
    region = Region(coarse, lambda arch: float(arch["w"]), 8.0, 9.0)
    assert region.draw(np.random.default_rng(0)) is None
    wider = region.widened(np.random.default_rng(0))
    assert (wider.low, wider.high) == (6.5, 10.5) and wider.draw(np.random.default_rng(0))["w"] == 10
    full = region_of(0.3)
    assert full.widened(np.random.default_rng(0)) == full


def test_a_score_that_is_no_number_is_the_worst():
    """NaN compares with nothing: sorted as it is, it would scatter the others."""
    seen = {}

    def partly(archs):
        for arch in archs:
            seen.setdefault(arch, math.nan if len(seen) % 3 == 0 else score(arch))
        return [seen[arch] for arch in archs]

    found = evolve(region_of(0.3), partly, SearchConfig(population=30, generations=2), Clock(0), "student")
    assert seen[found] == min(value for value in seen.values() if not math.isnan(value))
