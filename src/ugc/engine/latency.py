"""A budget of milliseconds: members of the supernet timed once on this machine, and a model that predicts all others.

    UGC_HOME/latency/DIGEST.json     the times: of a machine, its threads, a runtime and its version, a supernet, a size
    RUN/latency.json                 the same as the run began with: going on, it is the same search

A dozen members are timed, as wholes and by layer. Single layers in all of their widths would be thousands of probes, each
without the neighbours that decide of its time (see `nn/latency.py`); a net in twelve widths has times of each of its layers
in twelve pairs of them at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ugc.core.clock import Clock
from ugc.core.device import cpu_name, prepare_cpu
from ugc.core.encoding import Encoding
from ugc.core.errors import UserError
from ugc.core.files import digest, home, locked, read_json, write_json
from ugc.core.log import progress, say
from ugc.export.runtimes import RUNTIMES, Runtime
from ugc.export.saved import load_net
from ugc.methods.method import Setting
from ugc.models.generator import FAMILIES, Generator
from ugc.nn.arch import Arch
from ugc.nn.cost import CostModel, TimedCost, trace
from ugc.nn.latency import LatencyModel, LayerTime, MemberTimes, design, place_of, timed_layers
from ugc.search.region import spread

MEMBERS = 12


@dataclass(frozen=True)
class Timing:
    """What was timed where. about: machine, threads, runtime and its version, family, config, size."""

    about: dict[str, Any]
    members: tuple[MemberTimes, ...]

    @property
    def text(self) -> str:
        """Whose milliseconds these are, for people."""
        a = self.about
        return (f"{a['version']}, fp32, one picture of {a['size'][0]}x{a['size'][1]}, {a['threads']} thread(s), "
                f"{a['machine']}")

    def model(self, cost: CostModel) -> LatencyModel:
        return LatencyModel(cost, self.members)

    def write(self, path: Path) -> None:
        write_json(path, {"about": self.about, "members": [asdict(member) for member in self.members]})

    @staticmethod
    def read(path: Path) -> Timing:
        """UserError where the file holds no times."""
        held = read_json(path)
        try:
            members = [MemberTimes(m["arch"], float(m["whole"]), tuple(
                LayerTime((str(t["place"][0]), int(t["place"][1]), int(t["place"][2])), int(t["w"]), int(t["v"]),
                          float(t["seconds"])) for t in m["layers"])) for m in held["members"]]
            return Timing(dict(held["about"]), tuple(members))
        except (KeyError, IndexError, TypeError, ValueError):
            raise UserError(f"{path} holds no layer times; remove it, and they are taken again") from None


def timing(setting: Setting, encoding: Encoding, runtime: str, run: Path) -> Timing:
    """The times that the run folder `run` began with; else those in the cache, completed by timing.

    Raises:
        UserError: an unknown runtime, one that is not installed, or one that cannot run the family.
    """
    if (run / "latency.json").exists():
        return Timing.read(run / "latency.json")
    clock = RUNTIMES[runtime]()
    about = {"machine": cpu_name(), "threads": torch.get_num_threads(), "runtime": runtime, "version": clock.version(),
             "family": FAMILIES.name_of(setting.family), "config": setting.config.model_dump(mode="json"),
             "source": encoding.model_dump(mode="json"), "size": list(setting.size)}
    folder = home() / "latency"
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder, lambda: say("latency: waiting for another process that times nets")):
        return complete(Timing(about, ()), setting, encoding, clock, folder / f"{digest(about)}.json")


def complete(begun: Timing, setting: Setting, encoding: Encoding, clock: Runtime, path: Path) -> Timing:
    """Time the members that are not in the file yet; it is written after each."""
    found = Timing.read(path) if path.exists() else begun
    space = setting.cost_model(setting.config).space
    known = {member.arch for member in found.members}
    wanted = [arch for arch in design(space, MEMBERS, Clock(0).rng("latency")) if arch.text not in known]
    if not wanted:
        return found
    prepare_cpu()  # as a run does
    say(f"latency: {len(wanted)} members of the supernet are timed in {found.text}, once; leave the machine alone meanwhile")
    with progress("latency", len(known) + len(wanted), len(known)) as bar:
        for arch in wanted:
            one = member_times(setting, arch, encoding, clock)
            found = Timing(found.about, (*found.members, one))
            found.write(path)
            bar.advance(1, f"{1000 * one.whole:.4g} ms")
    off = found.model(setting.cost_model(setting.config)).off
    say(f"latency: the model is off by {100 * off[0]:.1f} % (median) and {100 * off[1]:.1f} % (worst) on these members")
    return found


def member_times(setting: Setting, arch: Arch, encoding: Encoding, clock: Runtime) -> MemberTimes:
    """One member with random weights, timed as a whole and by layer."""
    net = member(setting, arch)
    opened = clock.open(net, encoding, setting.size)
    whole = opened.seconds()
    layers = timed_layers(trace(net, None, setting.size))
    return MemberTimes(arch.text, whole, tuple(
        LayerTime(place_of(layer), sum(layer.have), layer.width, seconds)
        for layer, seconds in zip(layers, opened.layers(), strict=True)))


def member(setting: Setting, arch: Arch) -> Generator:
    """A sub-network by itself, with first weights."""
    net = setting.family(setting.config.model_copy(update={"arch": arch.text}))
    return net.init(Clock(0).torch("latency")).eval().baked()


def check(setting: Setting, encoding: Encoding, clock: Runtime, model: LatencyModel, count: int, seed: int = 1
          ) -> list[tuple[Arch, float, float]]:
    """(arch, predicted, measured) in milliseconds of random members, as many short ones as long ones."""
    rng, space = np.random.default_rng(seed), setting.cost_model(setting.config).space
    found = list[tuple[Arch, float, float]]()
    for arch in (spread(space, model, rng) for _ in range(count)):
        opened = clock.open(member(setting, arch), encoding, setting.size)
        found.append((arch, model(arch), 1000 * opened.seconds()))
    return found


def result(folders: Mapping[str, Path], timed: Timing, limit: float, cost: CostModel, encoding: Encoding) -> dict[str, Any]:
    """What `metrics.json` says of a budget of time: what the student was predicted, and saved nets timed by the same clock.

    Args:
        folders: role -> folder of a saved net; `student` is a member that `cost`, a timed model, knows.
    """
    clock, keeps = RUNTIMES[timed.about["runtime"]](), {"original", "student"} & folders.keys()
    prepare_cpu()
    chosen = cost(cost.space.parse(load_net(folders["student"])[0].config.arch))
    assert isinstance(chosen, TimedCost)
    predicted = chosen.latency_ms
    found = dict[str, float]()
    for role in sorted(keeps):
        opened = clock.open(load_net(folders[role])[0], encoding, cost.size)
        found[role] = round(1000 * opened.seconds(), 3)
    original = f"; the original took {found['original']:.4g} ms" if "original" in found else ""
    text = (f"at most {limit:g} ms in {timed.text}; the student was predicted {predicted:.4g} ms and took "
            f"{found['student']:.4g} ms{original}")
    return {"text": text, "limit_ms": limit, "predicted_ms": round(predicted, 3), "measured_ms": found, **timed.about}
