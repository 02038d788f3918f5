"""How near the times that `ugc run --dry-run` tells come to those that runs took; on their machine, idle.

    python benchmarks/rehearse.py RUN [RUN ..] [--out FILE.json]
"""

from __future__ import annotations

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

from measure import write

from ugc.core.files import read_json
from ugc.engine.pipeline import Run
from ugc.engine.recipe import Recipe, read_recipe
from ugc.engine.rehearsal import times


def compared(folder: Path) -> tuple[Run, list[dict[str, object]]]:
    """A finished run, rehearsed as if nothing were done; and a row a stage: seconds told, seconds taken, their ratio."""
    with TemporaryDirectory() as place:
        run = Run(Recipe.parse(read_recipe(folder), str(folder)), Path(place) / "run")
        rows: list[dict[str, object]] = []
        for name, told, _ in times(run):
            taken = read_json(folder / "stages" / name / "done.json")["seconds"]
            rows.append({"run": folder.name, "stage": name, "told, s": told or float("nan"), "taken, s": float(taken),
                         "told / taken": (told or float("nan")) / taken})
    return run, rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="the folder of a finished run")
    parser.add_argument("--out", type=Path, help="where to keep the table as JSON")
    options = parser.parse_args()
    rows: list[dict[str, object]] = []
    for folder in options.runs:
        run, more = compared(folder)
        rows += more
    write(options.out, "rehearse", run.setting.device, rows)


if __name__ == "__main__":
    main()
