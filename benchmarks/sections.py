"""One function a benchmark: what docs/performance.md says of its results, and which plots it shows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from figures import Lines, bars, growth_lines, training_curves
from growth import along, exponents
from measure import table

Result = Mapping[str, Any]  # benchmark, machine, rows, ..
COMPARED = "x fewer macs"  # what rows of latency.py have that compare nets
ACROSS = {"size": ("pixels a side", "~ pixels", 2), "batch": ("images a batch", "~ images", 1),
          "base": ("base width", "~ width²", 2)}  # axis -> its name, what to compare with, as a power of x


class Section:
    """Markdown of one result; its plots get the name of the result's file, so that machines do not overwrite each other."""

    def __init__(self, result: Result, stem: str, folder: Path) -> None:
        self.result, self.stem, self.folder = result, stem, folder
        self.parts: list[str] = []

    def say(self, text: str) -> None:
        self.parts.append(text.strip())

    def draw(self, name: str, words: str, drawing: Callable[..., Path], *given: Any, **named: Any) -> None:
        path = drawing(self.folder / f"{self.stem}-{name}.png", *given, **named)
        self.say(f"![{words}]({self.folder.name}/{path.name})")

    def hide(self, title: str, text: str) -> None:
        """Long tables are there for who opens them."""
        self.say(f"<details><summary>{title}</summary>\n\n{text}\n\n</details>")

    def text(self, title: str = "") -> str:
        """All of it below a line with the machine."""
        m = self.result["machine"]
        commits = list(dict.fromkeys([*(row["commit"] for row in self.rows if "commit" in row)])) or [m["commit"]]
        said = f"commit{'s' * (len(commits) > 1)} {', '.join(commits)}"
        machine = f"Measured on {m['device']}; torch {m['torch']}, {said}, {m['date']}."
        return "\n\n".join([*([title] if title else []), machine, *self.parts])

    @property
    def rows(self) -> list[dict[str, Any]]:
        return list(self.result["rows"])


# ---- one function a benchmark ----


def step(section: Section) -> None:
    """Rows: case ("FAMILY SIZE bBATCH, STEP"), version, `of plain`, `of peak` ("61 %"); `parts`, seconds by case, version
    and part."""
    for size, rows in _by(section.rows, lambda row: row["case"].split()[1]).items():
        versions = [row for row in rows if row["version"] != "straightforward"]
        section.draw(f"{size}", f"Time of a step at {size}x{size}, of the straightforward version's", bars,
                     _grouped(versions, "case", "version", lambda row: row["of plain"]),
                     "time of a step, straightforward fp32 version = 1", line=("straightforward", 1.0))
        shares = [row for row in rows if row["of peak"] != "-"]
        section.draw(f"{size}-peak", f"Share of the convolution peak at {size}x{size}", bars,
                     _grouped(shares, "case", "version", lambda row: float(row["of peak"].rstrip(" %"))),
                     "useful multiply-adds, % of the machine's convolution peak in the same run", form="{:.0f}")
    section.hide("All figures", table(section.rows))
    parts = section.result.get("parts") or {}
    if parts:
        rows = [{"case": case, "part": part, **{version: 1000 * own.get(part, 0.0) for version, own in found.items()}}
                for case, found in parts.items() for part in dict.fromkeys(part for own in found.values() for part in own)]
        section.hide("Where the time goes, milliseconds", table(rows))


def ceiling(section: Section) -> None:
    """Rows: case, version, `of peak` and `ceiling` ("61 %")."""
    for version, rows in _by(section.rows, lambda row: row["version"]).items():
        reached = {row["case"]: {name: float(row[key].rstrip(" %")) for name, key in
                                 (("reached", "of peak"), ("the products alone", "ceiling"))} for row in rows}
        section.draw(version, f"Share of the convolution peak in {version}: a step, its products alone", bars, reached,
                     "useful multiply-adds, % of the machine's convolution peak in the same run", form="{:.0f}")
    section.say(table(section.rows))


def curves(section: Section) -> None:
    """Rows: case, loss, means and `bf16 to fp32`, `seed to seed`, `of that`; `curves` by family, loss and version."""
    near = sum(row["of that"] <= 1 for row in section.rows)
    far = max(section.rows, key=lambda row: abs(float(row["bf16 to fp32"].rstrip(" %"))))
    section.say(f"bf16 is nearer to fp32 than seeds are to each other in {near} of {len(section.rows)} losses; farthest in "
                f"{far['case']}, {far['loss']}: {far['bf16 to fp32']}, seeds {far['seed to seed']}.")
    for family, panels in section.result["curves"].items():
        section.draw(family, f"Losses of {family} in fp32, in bf16, and in fp32 with other seeds", training_curves, panels,
                     section.result["steps"])
    section.say(table([_without(row, "commit") for row in section.rows]))


def search(section: Section) -> None:
    """Rows: case, way, `times ours`; `cost`, the speed of the cost model, `parts` of a candidate's time."""
    others = [row for row in section.rows if not row["way"].startswith("ours")]
    section.draw("ratio", "How much longer a candidate takes in other ways", bars,
                 _grouped(others, "case", "way", lambda row: row["times ours"]),
                 "time of a candidate the other way, ours = 1", line=("ours", 1.0))
    section.say(table(section.rows))
    for key, title in (("cost", "The cost model, architectures a second"), ("parts", "By part")):
        if section.result.get(key):
            section.hide(title, table(section.result[key]))


def latency(section: Section) -> None:
    """Rows that compare nets: size, runtime, threads, net, `x faster than ..`, `x fewer macs`; `tables` by title."""
    students = [row for row in section.rows if row["net"] == "student"]
    if students:
        faster = next(key for key in students[0] if key.startswith("x faster"))
        groups = {f"{row['size']}, {row['runtime']}, {row['threads']} thread{'s' * (row['threads'] > 1)}":
                  {"fewer multiply-adds": row[COMPARED], "faster": row[faster]} for row in students}
        section.draw("ratio", "How much faster the student is, beside how many multiply-adds it saves", bars, groups,
                     f"the student, times {faster.removeprefix('x ')}, and times fewer multiply-adds")
    if section.rows:
        section.say(table(section.rows))
    for title, rows in section.result.get("tables", {}).items():
        section.hide(title, table(rows))


def gathered(results: Mapping[str, Result]) -> dict[str, Result]:
    """The same by stem, with the files `STEM-latency-*.json` of one call of latency.py as one result `STEM`.

    Comparisons of nets become its rows, all else its tables.
    """
    found: dict[str, Any] = {}
    for stem, result in results.items():
        kind, _, title = result["benchmark"].partition("-")
        if kind != "latency":
            found[stem] = result
            continue
        whole = found.setdefault(stem.removesuffix(f"-{result['benchmark']}"),
                                 {"benchmark": kind, "machine": result["machine"], "rows": [], "tables": {}})
        if result["rows"] and COMPARED in result["rows"][0]:
            whole["rows"] += result["rows"]
        elif result["rows"]:
            worst = f": worst {result['worst']:.1f} %, median {result['median']:.1f} %" if "worst" in result else ""
            whole["tables"][title + worst] = result["rows"]
    return found


def data(section: Section) -> None:
    """Rows of the loader, and `training`, the share of waiting."""
    training = section.result.get("training") or []
    if training:
        section.draw("waiting", "Share of a training step that waits for its batch", bars,
                     _grouped(training, "run", "stage", lambda row: 100 * row["share"]),
                     "waiting for the batch, % of a step", form="{:.2g} %")
        section.say(table(training))
    section.draw("loader", "Pictures a second from the loader", bars,
                 _grouped(section.rows, "data", "state", lambda row: row["first pass, pictures/s"]),
                 "pictures a second in the first pass, opening and decoding included", form="{:,.0f}")
    section.say(table(section.rows))


def growth(section: Section) -> None:
    """Rows of steps; `unlabelled`, and `point`, what the axes leave."""
    rows, point = section.rows, section.result["point"]
    for axis, (across, slope, power) in ACROSS.items():
        found = along(rows, axis, point)
        if all(len(own) < 2 for own in found.values()):
            continue
        section.draw(f"{axis}-time", f"Time of a step against {across}", growth_lines, ratios(found, axis, "seconds"),
                     across, "time of a step, first = 1", slope=(slope, power))
        section.draw(f"{axis}-memory", f"Memory against {across}", growth_lines, ratios(found, axis, "own MB"),
                     across, "memory of its own, first = 1")
    if found := exponents(rows, (*ACROSS, "processes"), point):
        section.say(table([{**row, "time": f"{row['time']:.2f}", "memory": f"{row['memory']:.2f}"} for row in found]))
    unlabelled = sorted(section.result.get("unlabelled") or [], key=lambda row: row["unlabelled"])
    if len(unlabelled) > 1:
        lines = {name: [(row["unlabelled"], row[key] / unlabelled[0][key]) for row in unlabelled] for name, key in
                 (("opening", "open s"), ("first decoding", "decode s"), ("a batch", "batch ms"))}
        section.draw("unlabelled", "What more unlabelled images cost", growth_lines, {"": lines}, "unlabelled images",
                     "time, first = 1")
    if unlabelled:
        section.say(table([_without(row, "commit") for row in unlabelled]))
    section.hide("All figures", table([_without(row, "commit") for row in rows]))


SECTIONS: dict[str, Callable[[Section], None]] = {
    "step": step, "ceiling": ceiling, "curves": curves, "search": search, "latency": latency, "data": data, "growth": growth}


def ratios(found: Mapping[tuple[str, str], list[dict[str, Any]]], axis: str, key: str) -> dict[str, Lines]:
    """family -> stage -> (value of the axis, how many times the first row's)."""
    panels: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for (family, stage), rows in found.items():
        panels.setdefault(family, {})[stage] = [(row[axis], row[key] / rows[0][key]) for row in rows]
    return panels


def _by(rows: Iterable[dict[str, Any]], key: Callable[[dict[str, Any]], str]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        found.setdefault(key(row), []).append(row)
    return found


def _grouped(rows: Iterable[dict[str, Any]], group: str, series: str, value: Callable[[dict[str, Any]], float]
             ) -> dict[str, dict[str, float]]:
    return {name: {row[series]: value(row) for row in own} for name, own in _by(rows, lambda row: row[group]).items()}


def _without(row: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key not in keys}
