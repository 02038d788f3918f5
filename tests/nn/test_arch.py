"""Choice, Arch, SearchSpace."""

import numpy as np
import pytest

from ugc.core.errors import UserError
from ugc.nn.arch import Arch, Choice, SearchSpace

SPACE = SearchSpace((Choice("stem", (8, 16, 24)), Choice("down1", (8, 16, 24)), Choice("d.down1", (0, 1, 2)),
                     Choice("d.up1", (0, 2))))


def test_ends_and_size():
    assert SPACE.smallest.text == "stem=8,down1=8,d.down1=0,d.up1=0"
    assert SPACE.largest.text == "stem=24,down1=24,d.down1=2,d.up1=2"
    assert SPACE.count == 54 and SPACE.largest.depth == 4 and SPACE.smallest.depth == 0
    assert [c.is_depth for c in SPACE.choices] == [False, False, True, True]


def test_an_arch_is_a_value():
    a, b = Arch({"stem": 8, "d.up1": 0}), Arch({"stem": 8, "d.up1": 0})
    assert a == b and hash(a) == hash(b) and len({a, b}) == 1 and a != Arch({"stem": 16, "d.up1": 0})
    assert a.but(stem=16, d_up1=2) == Arch({"stem": 16, "d.up1": 2}) and a["stem"] == 8
    assert a.having({"d.up1": 1}).text == "stem=8,d.up1=1"
    with pytest.raises(TypeError):
        a["stem"] = 3
    assert repr(a) == "Arch(stem=8,d.up1=0)" and a != {"stem": 8, "d.up1": 0}


def test_contains():
    assert SPACE.largest in SPACE and SPACE.largest.having({"stem": 12}) not in SPACE
    assert Arch({"stem": 8}) not in SPACE and "stem=8" not in SPACE


def test_samples_are_uniform():
    rng = np.random.default_rng(0)
    drawn = [SPACE.sample(rng) for _ in range(3000)]
    assert all(a in SPACE for a in drawn[:50]) and len(set(drawn)) == 54
    for choice in SPACE.choices:
        shares = [np.mean([a[choice.name] == v for a in drawn]) for v in choice.values]
        assert shares == pytest.approx([1 / len(choice.values)] * len(choice.values), abs=0.05)
    assert SPACE.sample(np.random.default_rng(4)) == SPACE.sample(np.random.default_rng(4))


def test_steps_are_neighbours():
    middle = SPACE.parse("stem=16,down1=8,d.down1=1,d.up1=0")
    assert [a.text for a in SPACE.steps(middle, up=True)] == [
        "stem=24,down1=8,d.down1=1,d.up1=0", "stem=16,down1=16,d.down1=1,d.up1=0",
        "stem=16,down1=8,d.down1=2,d.up1=0", "stem=16,down1=8,d.down1=1,d.up1=2"]
    assert [a.text for a in SPACE.steps(middle, up=False)] == [
        "stem=8,down1=8,d.down1=1,d.up1=0", "stem=16,down1=8,d.down1=0,d.up1=0"]
    assert SPACE.steps(SPACE.largest, up=True) == SPACE.steps(SPACE.smallest, up=False) == []


def test_the_ladder_is_uniform_and_rises():
    ladder = [(a["stem"], a["d.up1"]) for a in SPACE.ladder()]
    assert ladder == [(8, 0), (16, 0), (24, 0), (8, 2), (16, 2), (24, 2)]  # depth 1 is not on offer everywhere
    assert SPACE.ladder()[0] == SPACE.smallest and SPACE.ladder()[-1] == SPACE.largest


def test_parse():
    assert SPACE.parse(" d.up1=2, stem=8 ,down1=16,d.down1=0,") == Arch({"stem": 8, "down1": 16, "d.down1": 0, "d.up1": 2})
    pinned = SPACE.pinned(SPACE.largest)
    assert pinned.count == 1 and pinned.parse("") == SPACE.largest and pinned.parse("stem=24") == SPACE.largest


@pytest.mark.parametrize("text, words", [
    ("stam=8", "no choice 'stam': did you mean 'stem'"), ("stem=9", "stem takes one of 8, 16, 24"),
    ("stem", "stem takes one of"), ("stem=", "stem takes one of"), ("stem=x", "stem takes one of"),
    ("stem=-8", "stem takes one of"), ("stem=8.0", "stem takes one of"), ("stem=--8", "stem takes one of"),
    ("stem=\N{SUPERSCRIPT TWO}", "stem takes one of"),
    ("stem=8,down1=8", "no value for d.down1, d.up1; name every choice, such as stem=8,down1=8,d.down1=0,d.up1=0")])
def test_wrong_text_gets_a_sentence(text, words):
    with pytest.raises(UserError, match=words):
        SPACE.parse(text)
