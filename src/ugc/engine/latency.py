"""A budget of milliseconds: members of the supernet timed once on this machine, and a model that predicts all others.

    UGC_HOME/latency/DIGEST.json     the times: of a machine, its threads, a runtime and its version, a supernet, a size
    RUN/latency.json                 the same as the run began with: going on, it is the same search

Sixteen members are timed, as wholes and by layer. Single layers in all of their widths would be thousands of probes, each
without the neighbours that decide of its time (see `nn/latency.py`); a net in sixteen widths has times of each of its layers
in sixteen pairs of them at once.

Whatever else runs meanwhile only adds to a time. So members that lie far from the model are timed again, and of two times
the lesser counts; a table that stays far from its own model is refused.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
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
from ugc.export.saved import load_net, source_of
from ugc.methods.method import Setting
from ugc.models.generator import FAMILIES, Generator
from ugc.nn.arch import Arch
from ugc.nn.cost import CostModel, TimedCost, trace
from ugc.nn.latency import LatencyModel, LayerTime, MemberTimes, design, place_of, timed_layers
from ugc.search.region import spread

PROTOCOL = 2  # of timing: others are times of their own
MEMBERS = 16
LIMIT = 0.15  # relative error: at most so much in the median of the members; one that is farther off is timed again
ROUNDS = 3  # of timing again


@dataclass(frozen=True)
class Timing:
    """What was timed where. about: machine, threads, runtime and its version, family, config, size. rounds: how often
    what was far off has been timed again."""

    about: dict[str, Any]
    members: tuple[MemberTimes, ...]
    rounds: int = 0

    @property
    def text(self) -> str:
        """Whose milliseconds these are, for people."""
        a = self.about
        return (f"{a['version']}, fp32, one picture of {a['size'][0]}x{a['size'][1]}, {a['threads']} thread(s), "
                f"{a['machine']}")

    def model(self, cost: CostModel) -> LatencyModel:
        return LatencyModel(cost, self.members)

    def far(self, cost: CostModel) -> list[str]:
        """Members farther than LIMIT from the model of all."""
        return [member.arch for member, off in zip(self.members, self.model(cost).far, strict=True) if off > LIMIT]

    def having(self, member: MemberTimes) -> Timing:
        """With the times of one more; of times of the same member the lesser."""
        at = {known.arch: known for known in self.members}
        if member.arch in at:
            member = at[member.arch].lesser(member)
        return replace(self, members=tuple((at | {member.arch: member}).values()))

    def write(self, path: Path) -> None:
        write_json(path, {"about": self.about, "rounds": self.rounds, "members": [asdict(one) for one in self.members]})

    @staticmethod
    def read(path: Path) -> Timing:
        """UserError where the file holds no times."""
        held = read_json(path)
        try:
            members = [MemberTimes(m["arch"], float(m["whole"]), tuple(
                LayerTime((str(t["place"][0]), int(t["place"][1]), int(t["place"][2])), int(t["w"]), int(t["v"]),
                          float(t["seconds"])) for t in m["layers"])) for m in held["members"]]
            return Timing(dict(held["about"]), tuple(members), int(held.get("rounds", 0)))
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
    about = {"protocol": PROTOCOL, "machine": cpu_name(), "threads": torch.get_num_threads(), "runtime": runtime,
             "version": clock.version(), "family": FAMILIES.name_of(setting.family),
             "config": setting.config.model_dump(mode="json"), "source": encoding.model_dump(mode="json"),
             "size": list(setting.size)}
    folder = home() / "latency"
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder, lambda: say("latency: waiting for another process that times nets")):
        return complete(Timing(about, ()), setting, encoding, clock, folder / f"{digest(about)}.json")


def complete(begun: Timing, setting: Setting, encoding: Encoding, clock: Runtime, path: Path) -> Timing:
    """Time the members that are not in the file yet, and those again that lie far off; it is written after each.

    Raises:
        UserError: the model stays farther off than LIMIT in the median of its own members.
    """
    cost = setting.cost_model(setting.config)
    old = found = Timing.read(path) if path.exists() else begun
    known = {member.arch for member in found.members}
    wanted = [arch for arch in design(cost.space, MEMBERS, Clock(0).rng("latency")) if arch.text not in known]

    def timed(archs: Sequence[Arch], title: str, before: int = 0) -> None:
        nonlocal found
        prepare_cpu()  # as a run does
        with progress(title, before + len(archs), before) as bar:
            for arch in archs:
                one = member_times(setting, arch, encoding, clock)
                found = found.having(one)
                found.write(path)
                bar.advance(1, f"{1000 * one.whole:.4g} ms")

    if wanted:
        say(f"latency: {len(wanted)} members of the supernet are timed in {found.text}, once; leave the machine alone "
            "meanwhile")
        timed(wanted, "latency", len(known))
    elif found.model(cost).off[0] > LIMIT:
        found = replace(found, rounds=0)
    while found.rounds < ROUNDS and (far := [cost.space.parse(arch) for arch in found.far(cost)]):
        say(f"latency: more than {100 * LIMIT:g} % from the model, timed again: {len(far)} of {len(found.members)} members; "
            "the lesser time counts")
        timed(far, "latency, again")
        found = replace(found, rounds=found.rounds + 1)
        found.write(path)
    median, worst = found.model(cost).off
    if median > LIMIT:
        raise UserError(f"{path}: the times of whole nets are {100 * median:.0f} % from those of their layers (median of "
                        f"{len(found.members)} nets; at most {100 * LIMIT:g} % was expected), so other programs ran beside "
                        "them; run the same command again with nothing else running, and they are timed again")
    if found is not old:
        say(f"latency: the model is off by {100 * median:.1f} % (median) and {100 * worst:.1f} % (worst) on these members")
    return found


def member_times(setting: Setting, arch: Arch, encoding: Encoding, clock: Runtime) -> MemberTimes:
    """One member with random weights, timed as a whole and by layer."""
    net = member(setting, arch)
    opened = clock.open(net, encoding, setting.size)
    whole = opened.seconds()
    layers = timed_layers(trace(net, None, setting.size))
    return MemberTimes(arch.text, whole, tuple(
        LayerTime(place_of(layer), sum(layer.have), layer.width, seconds)
        for layer, seconds in zip(layers, opened.layers(whole), strict=True)))


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


def result(folders: Mapping[str, Path], timed: Timing, limit: float, cost: CostModel) -> dict[str, Any]:
    """What `metrics.json` says of a budget of time: what the student was predicted, and saved nets timed by the same clock.

    They are timed in a process of their own: in one that has just trained, tiny nets take up to half as long again.

    Args:
        folders: role -> folder of a saved net; `student` is a member that `cost`, a timed model, knows.
    """
    chosen = cost(cost.space.parse(load_net(folders["student"])[0].config.arch))
    assert isinstance(chosen, TimedCost)
    predicted = chosen.latency_ms
    nets = {role: str(folders[role]) for role in sorted({"original", "student"} & folders.keys())}
    asked = {"nets": nets, "runtime": timed.about["runtime"], "threads": timed.about["threads"], "size": cost.size}
    found = in_own_process(asked)
    original = f"; the original took {found['original']:.4g} ms" if "original" in found else ""
    text = (f"at most {limit:g} ms in {timed.text}; the student was predicted {predicted:.4g} ms and took "
            f"{found['student']:.4g} ms{original}")
    return {"text": text, "limit_ms": limit, "predicted_ms": round(predicted, 3), "measured_ms": found, **timed.about}


def in_own_process(asked: Mapping[str, Any]) -> dict[str, float]:
    """`measured`, by a process that has done nothing else."""
    code = f"import json, sys; from {__name__} import measured; print(json.dumps(measured(json.load(sys.stdin))))"
    ran = subprocess.run([sys.executable, "-c", code], input=json.dumps(asked), text=True, capture_output=True, check=False,
                         env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
    if ran.returncode:
        why = (ran.stderr.strip().splitlines() or ["nothing was said"])[-1]
        raise UserError(f"the process that was to time the nets ended with status {ran.returncode}: {why}")
    found: dict[str, float] = json.loads(ran.stdout.splitlines()[-1])
    return found


def measured(asked: Mapping[str, Any]) -> dict[str, float]:
    """role -> milliseconds. asked: `nets` (role -> folder), `runtime`, `threads`, `size`."""
    torch.set_num_threads(asked["threads"])
    prepare_cpu()
    clock, found = RUNTIMES[asked["runtime"]](), dict[str, float]()
    for role, folder in asked["nets"].items():
        net, config = load_net(Path(folder))
        found[role] = round(1000 * clock.open(net, source_of(net, config), tuple(asked["size"])).seconds(), 3)
    return found
