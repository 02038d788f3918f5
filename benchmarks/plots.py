"""docs/performance.md and its plots, from the results that the other benchmarks left.

    python benchmarks/plots.py
    python benchmarks/plots.py benchmarks/results docs/performance.md

Every `*.json` of the folder is one benchmark on one machine (measure.py, `write`). Those made on a CPU go into the section
of their benchmark, those made on a GPU into one of their own. What stands between `<!-- results: NAME -->` and
`<!-- end of results: NAME -->` is replaced, all else is kept; a section without results stays empty. Plots go into the
folder of the page's name.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from sections import SECTIONS, Section, gathered

from ugc.core.errors import UserError
from ugc.core.files import read_json, write_text


def put(page: str, name: str, text: str) -> str:
    """The page with `text` between the markers of that name.

    Raises:
        UserError: the page has not exactly one such pair.
    """
    begin, end = f"<!-- results: {name} -->", f"<!-- end of results: {name} -->"
    if page.count(begin) != 1 or page.count(end) != 1 or page.index(begin) > page.index(end):
        raise UserError(f"the page needs one line {begin} and below it one line {end}; put them where the results belong")
    between = f"\n\n{text}\n\n" if text else "\n"
    return page[:page.index(begin) + len(begin)] + between + page[page.index(end):]


def blocks(results: Path, folder: Path) -> dict[str, str]:
    """section -> Markdown of all results, plots drawn; a section without results is empty.

    Raises:
        UserError: a file holds no JSON, or no results.
    """
    read = {path.stem: read_json(path) for path in sorted(results.glob("*.json"))}
    for stem, result in read.items():
        if not isinstance(result, dict) or not {"benchmark", "machine", "rows"} <= result.keys():
            raise UserError(f"{results / stem}.json holds no results of a benchmark: no machine and rows; take it away")
    found: dict[str, list[str]] = {name: [] for name in (*SECTIONS, "gpu")}
    for stem, result in gathered(read).items():
        name = result["benchmark"]
        if name in SECTIONS and (result["rows"] or result.get("tables")):
            section = Section(result, stem, folder)
            SECTIONS[name](section)
            gpu = result["machine"]["device"].startswith("cuda")
            found["gpu" if gpu else name].append(section.text(f"### {name.capitalize()}" if gpu else ""))
    return {name: "\n\n".join(parts) for name, parts in found.items()}


def write_page(results: Path, page: Path) -> list[str]:
    """Renew the page and its folder of plots; the names of sections that have results."""
    folder, text = page.with_suffix(""), page.read_text(encoding="utf-8")
    found = blocks(results, folder)
    for name, block in found.items():
        text = put(text, name, block)
    write_text(page, text)
    named = set(re.findall(rf"\({re.escape(folder.name)}/([^)]+\.png)\)", text))
    for path in folder.glob("*.png"):
        if path.name not in named:  # of results that are gone
            path.unlink()
    return [name for name, block in found.items() if block]


def main() -> None:
    here = Path(__file__).parent
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("results", type=Path, nargs="?", default=here / "results")
    parser.add_argument("page", type=Path, nargs="?", default=here.parent / "docs" / "performance.md")
    options = parser.parse_args()
    print("results of: " + (", ".join(write_page(options.results, options.page)) or "nothing"))


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        raise SystemExit(str(error)) from None
