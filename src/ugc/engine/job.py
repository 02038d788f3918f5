"""What a run is before it runs: a recipe with its folder, data, split, method, budget and costs."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

from ugc.core import processes, rank
from ugc.core.clock import Clock
from ugc.core.errors import UserError
from ugc.core.files import copy_folder, digest, place, read_json, sweep, write_json
from ugc.core.log import say
from ugc.data.dataset import Dataset, open_dataset
from ugc.data.labels import Split, changed, split, write_split
from ugc.data.stream import Sources, Stream, train_data
from ugc.engine.environment import environment
from ugc.engine.given import given_original, held, open_original
from ugc.engine.inherit import STAGES, check_source, other_loss, take_over
from ugc.engine.latency import Timing, timing
from ugc.engine.recipe import FORMAT, Recipe, flat, read_recipe
from ugc.export.saved import load_net, save_net
from ugc.methods.method import METHODS, Method, Selection, Setting
from ugc.methods.selection import expected
from ugc.models.generator import Generator
from ugc.nn.cost import Cost, total, trace
from ugc.search.budget import Budget, meant, short

CALIBRATION = 256


class Job:
    """One run folder and what its recipe says.

    Args:
        recipe: resolved.
        folder: made if absent; if it holds a run of another recipe, a sentence says which options differ.
        source: another run whose original and supernet are taken over (`--from`).
    """

    def __init__(self, recipe: Recipe, folder: Path, source: Path | None = None) -> None:
        self.folder, self.source = folder, source
        if recipe.batch % rank.size():
            raise UserError(f"batch {recipe.batch} cannot be shared by {rank.size()} processes: --set batch={rank.size()}, "
                            f"or another multiple")
        self.recipe = recipe = begun(recipe, folder)
        if source:
            check_origin(source, folder)
        kind = METHODS[recipe.method]
        self.dataset: Dataset = open_dataset(recipe.data, recipe.seed, targets=not kind.imitates)
        within = given_original(recipe)
        if within and folder.resolve().is_relative_to(within.resolve()):
            raise UserError(f"--out {folder}: lies in the folder of --original, which the run copies; choose another place")
        self.given = open_original(recipe, self.dataset, held(recipe, folder))
        out = self.dataset.target_channels or (self.given.net.config.out_channels if self.given else 0)
        self.setting: Setting = recipe.setting((self.dataset.encoding.channels, out))
        self.method: Method = kind(kind.Config.parse(recipe.options, "options"), self.setting)
        self.check_asked()
        self.split: Split = split(self.dataset, recipe.data, recipe.seed, recipe.search.validation,
                                  targets=not kind.imitates)
        self.cost = self.setting.cost_model(self.setting.config)
        self.budget = Budget.parse(recipe.budget, self.original_cost)
        for named in filter(None, (recipe.search.student, recipe.search.deep, recipe.search.wide)):
            self.cost.space.parse(named)
        if recipe.search.student and not self.budget.runtime:  # what a time is, is known later
            self.budget.check_named("search.student", self.cost(self.cost.space.parse(recipe.search.student)))
        self.taken: list[str] = []  # what must be known of what is taken over
        if source and not (folder / "recipe.json").exists():
            check_source(source, recipe, self.split, self.dataset)
            self.taken = other_loss(source, recipe)
        if name := changed(folder, self.split, self.dataset):
            raise UserError(f"{folder}: {name} there lists other pictures than {self.dataset.name} gives now: the data have "
                            f"changed since the run began; put them back, or give another --out")
        self.timing: Timing | None = None
        if self.budget.runtime:  # after all that is quick to refuse: it may take minutes
            self.timing = timing(self.setting, self.dataset.encoding, self.budget.runtime, folder)
            self.cost = self.cost.timed(self.timing.model(self.cost))
        if kind.result() == "student":
            self.budget.check_reachable(self.cost(self.cost.space.smallest), self.cost(self.cost.space.largest))
        self.method.select_by_rule(self.budget, self.cost)  # a net that is named and cannot be is refused before training
        self._stream: Stream | None = None

    def check_asked(self) -> None:
        """Whether the nets that are named are looked for, and stages longer than their warm-up.

        Raises:
            UserError: not so.
        """
        named = [name for name in ("student", "deep", "wide") if getattr(self.recipe.search, name)]
        if named and "search" not in self.stages:
            how = {"alone": "--set options.arch=.. names its net", "original": "it trains the published net"}.get(
                self.recipe.method, "its nets are chosen by rule")
            raise UserError(f"search.{named[0]}: this run searches nothing ({how}); leave it out")
        if beside := [name for name in named if name != "student" and not self.method.teachers]:
            raise UserError(f"search.{beside[0]}: --method {self.recipe.method} has no deep and no wide teacher; leave it "
                            f"out")
        if self.given and "original" in self.stages:
            raise UserError(f"--original {self.recipe.original}: --method {self.recipe.method} trains an original of its "
                            f"own; leave --original out")
        warmup = self.recipe.optimiser.warmup
        for stage in self.stages:
            if stage not in ("search", "test") and warmup and self.steps(stage) <= warmup:
                raise UserError(f"optimiser.warmup={warmup}: stage {stage} ends after {self.steps(stage)} steps, before its "
                                f"rate has risen; expected fewer than that")

    def same_times(self) -> None:
        """Every process predicts by the times that are in the run's folder: on several machines each has taken its own."""
        if self.timing:
            self.timing = Timing.read(self.folder / "latency.json")
            cost = self.setting.cost_model(self.setting.config)
            self.cost = cost.timed(self.timing.model(cost))

    @property
    def stages(self) -> tuple[str, ...]:
        """Names in order."""
        own = self.method.stages(self.method.config)
        before = ("original",) if self.recipe.original == "train" and "original" not in own else ()
        return (*before, *own, "test")

    @cached_property
    def original_cost(self) -> Cost:
        """What `40x` divides: the published net's cost at the run's size, or that of the net given as original."""
        if self.given:
            return total(trace(self.given.net, None, self.setting.size))
        model = self.setting.cost_model(self.setting.family.original(self.setting.config))
        return model(model.space.largest)

    def steps(self, stage: str) -> int:
        return self.method.steps(stage, self.recipe.steps.model_dump())

    def stage(self, name: str) -> Path:
        return self.folder / "stages" / name

    def done(self, name: str) -> bool:
        """Whether a stage has ended, here or in the run that is about to be taken over."""
        return (self.behind / "stages" / name / "done.json").exists() and (self.behind == self.folder or name in STAGES)

    @property
    def behind(self) -> Path:
        """The folder with what is done: the run's own or, before it begins, that of the run that is taken over."""
        return self.source if self.source and not (self.folder / "recipe.json").exists() else self.folder

    @property
    def comes_from(self) -> Path | None:
        """The run that a run which has begun takes its supernet from."""
        before = read_json(self.folder / "run.json").get("from")
        return Path(before) if before else None

    def searched(self) -> Selection:
        """What the search chose.

        Raises:
            UserError: its file is damaged.
        """
        path, space = self.stage("search") / "choice.json", self.cost.space
        try:
            choice = read_json(path)
            roles = [role for role in ("student", "deep", "wide") if role in choice]
            return Selection(**{role: space.parse(choice[role]["arch"]) for role in roles})
        except (UserError, OSError, KeyError, TypeError, AttributeError) as error:
            raise UserError(f"{path} names no nets ({error}); remove done.json beside it, to search again") from None

    @cached_property
    def expected(self) -> Selection:
        """The nets of stage 2 as far as they are known: chosen, fixed by rule, or drawn from where the search will look."""
        if by_rule := self.method.select_by_rule(self.budget, self.cost):
            return by_rule
        if self.done("search"):
            return self.searched()
        return expected(self.cost, self.budget, self.recipe.search, Clock(self.recipe.seed), self.method.teachers)

    def begin(self) -> None:
        """Write what the run is, once; then copy what it takes from elsewhere: cut short here, it goes on with that."""
        sweep(self.folder)
        if not (self.folder / "recipe.json").exists():
            write_split(self.folder, self.split, self.dataset)
            if self.timing:
                self.timing.write(self.folder / "latency.json")
            write_json(self.folder / "run.json", self.about())
            write_json(self.folder / "recipe.json", self.recipe.model_dump(mode="json"))
        if self.comes_from and not (self.stage("supernet") / "done.json").exists():
            source = self.source or self.comes_from  # which may have been moved since
            check_source(source, self.recipe, self.split, self.dataset)
            take_over(source, self.folder)
        if self.given and held(self.recipe, self.folder) == given_original(self.recipe):
            copy_folder(place(self.recipe.original), self.folder / "original")
        if read_json(self.folder / "run.json").get("identity", self.dataset.identity) != self.dataset.identity:
            say(f"{self.dataset.name}: files have been written anew since the run began; if their pictures are "
                f"others now, so is what comes out")
        if not all((self.stage(name) / "done.json").exists() for name in self.stages):
            self.note_session()
        counts = self.about()["counts"]
        pairs = "" if self.method.imitates else f"{counts['labelled']} pairs, "
        say(f"{self.dataset.name}: {pairs}{counts['unlabelled']} unlabelled sources, "
            f"{counts['validation']} held out, {counts['test']} for the test · {self.setting.device.text}")
        say(f"budget {self.budget.text}: at most {self.budget.most}" + (
            f" ({self.timing.text})" if self.timing else
            f"; the original has {short(self.budget.of(self.original_cost))}"))

    def note_session(self) -> None:
        """`env.json`: on what the run began, and on what each later session goes on; a difference is said."""
        now, path = environment(self.setting.device.text), self.folder / "env.json"
        if not path.exists():
            write_json(path, {**now, "sessions": [now]})
            return
        before = read_json(path)
        sessions = before.get("sessions") or [{key: value for key, value in before.items() if key != "sessions"}]
        differ = [key for key, value in flat(now).items() if key != "started" and flat(sessions[-1]).get(key) != value]
        if differ:
            said = ", ".join(f"{key} ({flat(sessions[-1]).get(key)} before, {flat(now)[key]} now)" for key in differ[:4])
            say(f"goes on with other {said}: the last bits of what follows may be others")
        write_json(path, {**before, "sessions": [*sessions, now]})

    def about(self) -> dict[str, Any]:
        """Facts of the run for people: `run.json`."""
        s = self.split
        counts = {"labelled": len(s.labelled), "unlabelled": len(s.unlabelled), "validation": len(s.validation),
                  "hidden": s.hidden, "test": len(self.dataset.test)}
        notes = [*self.dataset.notes, *self.taken, *(self.given.notes(self.setting.size) if self.given else [])]
        return {"format": FORMAT, "dataset": self.dataset.name, "identity": self.dataset.identity, "notes": notes,
                "counts": counts, "attribution": self.dataset.attribution, "stages": list(self.stages),
                "steps": {name: self.steps(name) for name in self.stages if name not in ("search", "test")},
                "imitates": self.method.imitates,
                "sees_unlabelled": any(map(self.method.sees_unlabelled, set(self.stages) - {"search", "test"})),
                "budget": {"text": self.budget.text, "key": self.budget.key, "limit": self.budget.limit,
                           **({"on": self.timing.text, "timed": self.timing.about} if self.timing else {})},
                "channels": [self.setting.config.in_channels, self.setting.config.out_channels],
                "from": str(self.source.resolve()) if self.source else None}

    @property
    def stream(self) -> Stream:
        if self._stream is None:
            with processes.one_first():  # decodes, the others find it decoded
                data = train_data(self.dataset, self.recipe.data, self.split)
            self._stream = Stream(data, self.recipe.batch, self.setting.device.device)
        return self._stream

    def net(self, role: str) -> Generator:
        """A net that the run folder holds, in eval mode on the device."""
        return load_net(self.folder / role)[0].to(self.setting.device.device)

    def calibration(self, stage: str) -> Sources:
        """What batch norm is recalibrated on: training sources that the stage may see."""
        return self.stream.calibration(CALIBRATION, self.method.sees_unlabelled(stage))

    def save(self, net: Generator, role: str) -> None:
        about = {"data": self.dataset.name, "attribution": self.dataset.attribution,
                 "direction": self.recipe.data.direction, "source": self.dataset.encoding.model_dump(mode="json"),
                 "recipe": digest(self.recipe.model_dump(mode="json")),
                 **({"original": self.given.origin} if self.given else {})}
        save_net(net, self.folder / role, self.recipe.family, role, self.setting.size, about)


def begun(recipe: Recipe, folder: Path) -> Recipe:
    """The recipe, with the budget in the words of the run that the folder holds.

    Raises:
        UserError: it holds a run of another recipe, or something that is no run.
    """
    path = folder / "recipe.json"
    if path.exists():
        old, new = flat(read_recipe(folder)), flat(recipe.model_dump(mode="json"))
        if meant(old["budget"]) == meant(new["budget"]):
            new["budget"] = old["budget"]
            recipe = recipe.model_copy(update={"budget": old["budget"]})
        differ = [key for key in sorted(old.keys() | new.keys()) if old.get(key) != new.get(key)]
        if differ:
            first = ", ".join(f"{key} ({old.get(key)!r} there, {new.get(key)!r} now)" for key in differ[:4])
            raise UserError(f"{folder} holds a run with other options: {first}{' and more' if len(differ) > 4 else ''}; "
                            f"give the same ones to go on, or another --out")
    elif folder.exists() and not folder.is_dir():
        raise UserError(f"--out {folder}: is a file; expected a folder to make")
    elif folder.exists() and any(not p.name.startswith(".") for p in folder.iterdir()) and not (
            folder / "labels.txt").exists():
        raise UserError(f"--out {folder}: holds files that are no run; choose a new or an empty folder")
    return recipe


def check_origin(source: Path, folder: Path) -> None:
    """UserError where the run that a folder holds took nothing over, or from another run that is still there."""
    if not (folder / "recipe.json").exists():
        return
    before = read_json(folder / "run.json").get("from")
    if before is None or (Path(before) != source.resolve() and Path(before).exists()):
        began = f"from {before}" if before else "with nothing taken over"
        raise UserError(f"--from {source}: the run in {folder} began {began}; give the same to go on, or another --out")
