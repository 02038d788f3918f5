"""docs/paper-map.md is true: what it names exists, and every equation of the paper that the code cites is in it."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from ugc.engine.recipe import Recipe
from ugc.methods.method import METHODS
from ugc.models.generator import FAMILIES

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "ugc"
MAP = (ROOT / "docs" / "paper-map.md").read_text(encoding="utf-8")
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in MAP.splitlines()
        if line.startswith("|") and not set(line) <= set("|- ")]
CODE = re.compile(r"`([^`]+)`")
PLACE = re.compile(r"[\w/]+\.py(:[\w.]+)?")
EQUATIONS = {row[0].removeprefix("Eq. "): row for row in ROWS if row[0].startswith("Eq. ")}


def places(cells):
    return [code for cell in cells for code in CODE.findall(cell) if PLACE.fullmatch(code)]


@cache
def names(path):
    """Functions, classes, methods and constants of a file: `a`, `B`, `B.c`."""
    found = set()

    def visit(body, prefix):
        for node in body:
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                found.add(prefix + node.name)
                if isinstance(node, ast.ClassDef):
                    visit(node.body, f"{prefix}{node.name}.")
            targets = getattr(node, "targets", [getattr(node, "target", None)])
            found.update(prefix + target.id for target in targets if isinstance(target, ast.Name))

    visit(ast.parse(path.read_text(encoding="utf-8")).body, "")
    return found


def test_the_map_is_read():
    assert len(ROWS) > 80 and len(places(cell for row in ROWS for cell in row)) > 90


@pytest.mark.parametrize("place", sorted(set(places(cell for row in ROWS for cell in row))))
def test_every_place_exists(place):
    path, _, name = place.partition(":")
    file = next((base / path for base in (SOURCE, ROOT) if (base / path).is_file()), None)
    assert file, f"docs/paper-map.md names {path}, which is no file"
    assert not name or name in names(file), f"docs/paper-map.md names {place}: there is no {name} in {path}"


@pytest.mark.parametrize("number", "123456789")
def test_every_equation_has_a_row(number):
    assert number in EQUATIONS, f"docs/paper-map.md has no row for Eq. {number}"
    assert places(EQUATIONS[number]), f"the row of Eq. {number} names no function"


def cited(text):
    """The equations of UGC that a file cites: `UGC Eq. (7) and (9)`, `UGC Eq. (2) to (4)`, `# Eq. (5)`."""
    found = set()
    for match in re.finditer(r"(?P<who>\S+ )?Eq\. \(?(?P<list>\d+\)?(?:(?:, | and | to )\(?\d+\)?)*)", text):
        if (match["who"] or "").strip(" ,").isdigit():  # Johnson 2016, Eq. (3)
            continue
        numbers = [int(n) for n in re.findall(r"\d+", match["list"])]
        found |= set(range(numbers[0], numbers[-1] + 1)) if " to " in match["list"] else set(numbers)
    return found


def test_how_equations_are_cited():
    assert cited("x  # UGC Eq. (4) and (6).") == {4, 6} and cited('"""UGC Eq. (2) to (4)') == {2, 3, 4}
    assert cited("Eq. (5), (7) and (9)") == {5, 7, 9} and cited("Johnson 2016, Eq. (3).") == set()


@pytest.mark.parametrize("path", [str(p.relative_to(SOURCE)) for p in sorted(SOURCE.rglob("*.py"))])
def test_the_row_of_an_equation_names_every_file_that_cites_it(path):
    for number in cited((SOURCE / path).read_text(encoding="utf-8")):
        row = EQUATIONS.get(str(number))
        assert row, f"{path} cites Eq. ({number}), of which docs/paper-map.md has no row"
        assert any(place.startswith(f"{path}:") for place in places(row)) or _range_only(path, number), (
            f"{path} cites Eq. ({number}); name it in that row of docs/paper-map.md")


def _range_only(path, number):
    """Cited in passing within `Eq. (2) to (4)` of the supervised objective, whose parts have their own files."""
    return (path, number) == ("methods/objective.py", 3)


def options():
    """Names in the option columns of the two tables of readings: `a.b`, `a.b=c`."""
    return sorted({code for row in ROWS if len(row) == 5 and row[0] != "point" for code in CODE.findall(row[3])})


@pytest.mark.parametrize("option", options())
def test_every_option_exists(option):
    key, _, value = option.removeprefix("--set ").partition("=")
    head, _, rest = key.partition(".")
    if head in ("options", "generator"):  # tables that the method and the family own
        configs = [METHODS[name].Config for name in METHODS] if head == "options" else [FAMILIES[n].Config for n in FAMILIES]
        owners = [config for config in configs if rest in config.model_fields]
        assert owners, f"no {'method' if head == 'options' else 'family'} has an option {rest!r}"
        assert not value or any(owner().with_settings([f"{rest}={value}"]) for owner in owners)
        return
    recipe = Recipe.parse({"data": {"path": "sans2serif"}}, "test")
    inner = recipe.model_dump(mode="json")
    for part in key.split("."):
        assert part in inner, f"a recipe has no option {key}"
        inner = inner[part]
    assert not value or recipe.with_settings([f"{key}={value}"])


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "docs/architecture.md", "docs/lab-book.md"])
def test_files_that_the_other_pages_name_exist(name):
    page = ROOT / name
    for code in CODE.findall(page.read_text(encoding="utf-8")):
        if re.fullmatch(r"(src|tests|docs|benchmarks)/[\w/.-]+\.(py|md|svg|png)", code):
            assert (ROOT / code).is_file(), f"{name} names {code}"
