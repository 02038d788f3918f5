"""The student against the original by the clock: pictures a second in torch and in onnxruntime, and where its time goes.

    python benchmarks/latency.py runs/demo --size 64 --size 256
    python benchmarks/latency.py --family pix2pix-resnet --base 64 --size 256 [--budget 40x]
    python benchmarks/latency.py --family pix2pix-resnet --base 16 --size 64 --check

fp32 on the CPU, one picture at a time, in turns; ratios are to the original, beside the ratio of true multiply-adds. Without
a run, nets have random weights: the published original, and the uniform nets of a budget. `--check` instead predicts random
members as `--budget latency=..` does, and times them. Run it on an idle machine.
"""

from __future__ import annotations

import argparse
import os
from collections import defaultdict
from pathlib import Path
from typing import Any, NamedTuple

import measure
import torch
from torch.profiler import ProfilerActivity, profile

from ugc.core.clock import Clock
from ugc.core.device import choose, prepare_cpu
from ugc.core.encoding import Encoding, encoding_of
from ugc.core.errors import UserError
from ugc.core.files import read_json
from ugc.engine.latency import check, timing
from ugc.engine.recipe import Recipe, read_recipe
from ugc.export.runtimes import RUNTIMES, WARM, Opened
from ugc.export.saved import load_net, source_of
from ugc.methods.method import Setting
from ugc.methods.uniform import uniform_selection
from ugc.models.generator import FAMILIES, Generator
from ugc.nn.cost import total, trace
from ugc.nn.latency import place_of, timed_layers
from ugc.search.budget import Budget

ROLES = ("original", "student", "deep_teacher", "wide_teacher", "largest", "smallest")
TOP = 14
REST = 0.03  # seconds before each call: threads of onnxruntime spin on after theirs
Row = dict[str, Any]


class Given(NamedTuple):
    """Nets by role, what they take, and the setting of their supernet."""

    nets: dict[str, Generator]
    encoding: Encoding
    setting: Setting


def of_run(run: Path) -> Given:
    """The saved nets of a run folder."""
    loaded = {role: load_net(run / role) for role in ROLES if (run / role / "config.json").exists()}
    if "student" not in loaded:
        raise UserError(f"{run}: holds no student; expected the folder of a finished run")
    first, second = read_json(run / "run.json")["channels"]
    recipe = Recipe.parse({**read_recipe(run), "device": "cpu", "precision": "fp32"}, "recipe.json")
    nets, encoding = {role: net for role, (net, _) in loaded.items()}, source_of(*loaded["student"])
    return Given(nets, encoding, recipe.setting((first, second)))


def of_family(options: argparse.Namespace) -> Given:
    """The published original, and uniform nets within the budget, with first weights."""
    channels = options.channels or ":".join(map(str, FAMILIES[options.family].paper.channels))
    source, target = map(int, channels.split(":"))
    recipe = Recipe.parse({"data": {"path": ".", "size": options.size[0]}, "family": options.family, "base": options.base,
                           "device": "cpu"}, "options").with_settings(options.set)
    setting = recipe.setting((source, target))
    cost, published = setting.cost_model(setting.config), setting.family.original(setting.config)
    model = setting.cost_model(published)
    asked = Budget.parse(options.budget or setting.family.default_budget, model(model.space.largest))
    chosen = uniform_selection(cost, asked)
    archs = {"student": chosen.student, "deep_teacher": chosen.deep, "wide_teacher": chosen.wide,
             "largest": cost.space.largest, "smallest": cost.space.smallest}
    configs = {"original": published, **{role: setting.config.model_copy(update={"arch": arch.text})
                                         for role, arch in archs.items() if arch}}
    nets = {role: setting.family(config).init(Clock(0).torch(role)).eval().baked() for role, config in configs.items()}
    return Given(nets, encoding_of({}, source), setting)


def compared(given: Given, size: tuple[int, int], runtime: str, rounds: int) -> tuple[list[Row], dict[str, Opened]]:
    """One row a net, and the nets as they were opened."""
    opened = {role: RUNTIMES[runtime]().open(net, given.encoding, size) for role, net in given.nets.items()}
    times = measure.in_turns({role: one.run for role, one in opened.items()}, torch.device("cpu"), rounds, rest=REST)
    macs = {role: total(trace(net, None, size)).macs for role, net in given.nets.items()}
    base = "original" if "original" in times else "largest"
    rows = []
    for role, found in times.items():
        seconds = measure.median(found)
        rows.append({"size": f"{size[0]}x{size[1]}", "runtime": runtime, "threads": torch.get_num_threads(), "net": role,
                     "ms": 1000 * seconds, "fastest ms": 1000 * min(found), "pictures/s": 1 / seconds,
                     f"x faster than {base}": measure.median(times[base]) / seconds,
                     "x fewer macs": macs[base] / macs[role], "macs": macs[role], "GMAC/s": macs[role] / seconds / 1e9})
    return rows, opened


def by_layer(net: Generator, opened: Opened, size: tuple[int, int]) -> list[Row]:
    """Where a picture's time goes: convolutions of one place, each with all since the one before it."""
    layers, whole = timed_layers(trace(net, None, size)), opened.seconds()
    seconds, macs, count = defaultdict[str, float](float), defaultdict[str, int](int), defaultdict[str, int](int)
    for layer, took in zip(layers, opened.layers(whole), strict=True):
        name = f"{place_of(layer)[0]} at {layer.grid_out:,} pixels"
        seconds[name], macs[name], count[name] = seconds[name] + took, macs[name] + layer.cost.macs, count[name] + 1
    rest = max(0.0, whole - sum(seconds.values()))
    seconds["what is left"], macs["what is left"], count["what is left"] = rest, 0, 1
    return [{"layers": name, "count": count[name], "us": 1e6 * seconds[name],
             "% of time": 100 * seconds[name] / sum(seconds.values()), "% of macs": 100 * macs[name] / sum(macs.values())}
            for name in sorted(seconds, key=seconds.__getitem__, reverse=True)][:TOP]


def by_operator(opened: Opened) -> list[Row]:
    """The same by kind of operator, by the runtime's own profiler."""
    seconds = defaultdict[str, float](float)
    if hasattr(opened, "profile"):  # onnxruntime
        passes = opened.profile()[WARM:]
        for nodes in passes:
            for node in nodes:
                seconds[node["args"]["op_name"]] += 1e-6 * node["dur"] / len(passes)
    else:
        for _ in range(3):
            opened.run()
        with profile(activities=[ProfilerActivity.CPU]) as found:
            for _ in range(20):
                opened.run()
        for event in found.key_averages():
            seconds[event.key] += 1e-6 * event.self_cpu_time_total / 20
    whole = sum(seconds.values())
    return [{"operator": name, "us": 1e6 * took, "% of time": 100 * took / whole}
            for name, took in sorted(seconds.items(), key=lambda item: -item[1])][:TOP]


def checked(given: Given, runtime: str, count: int) -> list[Row]:
    """Members drawn at random, predicted and timed."""
    setting = given.setting
    timed = timing(setting, given.encoding, runtime, Path("no run"))
    model = timed.model(setting.cost_model(setting.config))
    return [{"runtime": runtime, "threads": torch.get_num_threads(), "predicted ms": predicted, "measured ms": measured,
             "off, %": 100 * (predicted / measured - 1), "macs": setting.cost_model(setting.config)(arch).macs}
            for arch, predicted, measured in check(setting, given.encoding, RUNTIMES[runtime](), model, count)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("run", nargs="?", type=Path, help="a finished run; or give --family")
    parser.add_argument("--family")
    parser.add_argument("--base", type=int, default=64)
    parser.add_argument("--budget", help="of the uniform student, default the family's; not a latency")
    parser.add_argument("--channels", metavar="IN:OUT", help="without a run; default the papers'")
    parser.add_argument("--set", action="append", default=[], metavar="a.b=c", help="any field of the recipe, without a run")
    parser.add_argument("--size", action="append", default=[], help="H or HxW; again for another, on the nets of the first; "
                        "default 64 and 256")
    parser.add_argument("--threads", action="append", type=int, default=[], help="again for another; default 1 and all")
    parser.add_argument("--runtime", action="append", default=[], help="default torch and onnxruntime")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--check", nargs="?", type=int, const=12, metavar="COUNT", help="predict and time members instead")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep the tables, too: FILE-NAME.json of each")
    options = parser.parse_args()
    try:
        work(options)
    except UserError as error:
        parser.exit(2, f"{error}\n")


def work(options: argparse.Namespace) -> None:
    options.size = options.size or ["64", "256"]
    if (options.run is None) == (options.family is None):
        raise UserError("give the folder of a run, or --family")
    given = of_run(options.run) if options.run else of_family(options)
    threads = options.threads or sorted({1, len(os.sched_getaffinity(0))})
    runtimes = options.runtime or ["torch", "onnxruntime"]
    prepare_cpu()  # as a run does
    if options.check:
        for runtime in runtimes:
            torch.set_num_threads(threads[-1])
            rows = checked(given, runtime, options.check)
            off = sorted(abs(row["off, %"]) for row in rows)
            told(options, f"latency-check-{runtime}", rows, worst=off[-1], median=measure.median(off))
            print(f"worst {off[-1]:.1f} %, median {measure.median(off):.1f} %\n", flush=True)
        return
    for text in options.size:
        high, _, wide = text.partition("x")
        size = (int(high), int(wide or high))
        for net in given.nets.values():
            net.check_size(size)
        for runtime in runtimes:
            for count in threads:
                torch.set_num_threads(count)
                rows, opened = compared(given, size, runtime, options.rounds)
                told(options, f"latency-{text}-{runtime}-{count}", rows)
                if count == threads[-1]:
                    student = given.nets["student"], opened["student"]
                    told(options, f"latency-{text}-{runtime}-layers", by_layer(*student, size))
                    told(options, f"latency-{text}-{runtime}-operators", by_operator(opened["student"]))


def told(options: argparse.Namespace, name: str, rows: list[Row], **also: Any) -> None:
    path = options.json and options.json.with_name(f"{options.json.stem}-{name}.json")
    measure.write(path, name, choose("cpu", "fp32"), rows, **also)
    print(flush=True)


if __name__ == "__main__":
    main()
