"""A run: stages that read and write files of one folder. Running it again goes on from there.

    original -> supernet -> search -> distill -> test          (a method may need fewer)

    RUN/recipe.json env.json run.json labels.txt unlabelled.txt validation.txt test.txt
    RUN/stages/STAGE/    log.jsonl, grid-*.png, state* while it runs, done.json when it is done
    RUN/original/ supernet/ largest/ deep_teacher/ wide_teacher/ student/    saved nets
    RUN/metrics.json report.html
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any

from ugc.core import processes
from ugc.core.clock import Clock
from ugc.core.device import cpu_name, prepare_cpu
from ugc.core.errors import UserError, near
from ugc.core.files import read_json, write_json
from ugc.core.log import Bar, Spent, progress, say
from ugc.data.stream import test_data
from ugc.engine import evaluate
from ugc.engine.card import write_card
from ugc.engine.checkpoint import Checkpoints
from ugc.engine.job import Job
from ugc.engine.latency import result
from ugc.engine.loop import Stopped, train
from ugc.engine.miou import jury_for
from ugc.engine.pictures import sample_grid
from ugc.engine.plots import pareto_plot
from ugc.engine.record import NETS
from ugc.engine.report import write_report
from ugc.engine.stop import alone
from ugc.export.saved import load_tensors, save_tensors
from ugc.methods.method import Phase, Selection
from ugc.methods.original import Gan
from ugc.methods.selection import Scoreboard, SelectionConfig, SupernetScore, planned, select
from ugc.methods.trial import TrialBoard, Trials
from ugc.nn.shrink import recalibrate
from ugc.search.budget import short
from ugc.search.pareto import front


class Run(Job):
    """The stages of a job."""

    def go(self, until: str | None = None) -> None:
        """Run every stage that is not done, up to and with `until`."""
        prepare_cpu()
        names = self.wanted(until)
        try:
            with alone(self.folder) if processes.lead() else nullcontext():
                with processes.group(self.setting.device.device):
                    if processes.lead():
                        self.begin()
                    processes.wait()
                    self.same_times()
                    self.work([name for name in names if name != "test"])
                if processes.lead():  # the others are done
                    self.work([name for name in names if name == "test"])
                    self.tell()
        except Stopped:
            raise
        except KeyboardInterrupt:
            say("stopped; what is done is kept: run the same command again to go on")
            raise
        say(f"report: {self.folder / 'report.html'}")

    def wanted(self, until: str | None) -> list[str]:
        """The stages up to and with `until`, done or not.

        Raises:
            UserError: the run has no such stage.
        """
        names = list(self.stages)
        if until is not None and until not in names:
            raise UserError(f"--until {until!r}: this run has no such stage: {near(until, names)}")
        return names[: names.index(until) + 1 if until else None]

    def work(self, names: Sequence[str]) -> None:
        """Run those of these stages that are not done."""
        for name in names:
            done = self.done(name)
            processes.wait()  # all have looked
            if done:
                say(f"{name}: done")
                continue
            if name == "search":
                self.search()
            elif name == "test":
                self.test()
            else:
                self.train(name)
            if processes.lead():
                write_report(self.folder)
            processes.wait()

    def tell(self) -> None:
        """Write the report, where a kill after a stage's end left it older than that."""
        page = self.folder / "report.html"
        ends = [path.stat().st_mtime for path in self.folder.glob("stages/*/done.json")]
        if not page.exists() or page.stat().st_mtime < max(ends, default=0.0):
            write_report(self.folder)

    # ---- training stages ----

    def train(self, name: str) -> None:
        """Train one stage, then save its nets, batch norm recalibrated."""
        with processes.one_first():  # a backbone may be downloaded
            phase: Phase = Gan(self.setting) if name == "original" else self.method.phase(name, self.inherited(name))
        if about := phase.about():
            for topic in about.values():
                say(topic["text"])
        if about and processes.lead():
            write_json(self.folder / "run.json", {**read_json(self.folder / "run.json"), **about})
        folder = self.stage(name)
        done = train(phase, self.stream, folder, name, steps=self.steps(name), seed=self.recipe.seed,
              rate=self.recipe.optimiser.rate, log_every=self.recipe.log_every, grids=self.recipe.grids,
              grid=partial(sample_grid, stream=self.stream, unlabelled=self.method.sees_unlabelled(name)))
        if processes.lead():
            self.keep(phase, name, done)

    def keep(self, phase: Phase, stage: str, done: dict[str, Any]) -> None:
        """Save what a trained stage leaves; `done.json` comes last."""
        folder = self.stage(stage)
        for role, trained in phase.nets().items():
            net = trained.baked()
            if role != "supernet":  # whose own statistics are never read
                recalibrate(net, self.calibration(stage).split(16))
            self.save(net, role)
        for what, tensors in phase.left().items():
            save_tensors(tensors, folder / f"{what}.safetensors")
        write_json(folder / "done.json", done)
        Checkpoints(folder).clear()

    def inherited(self, name: str) -> dict[str, Any]:
        """What earlier stages left for a stage, and the given original."""
        left: dict[str, Any] = {"original": self.net("original")} if self.given else {}
        if name == "supernet":
            return left
        left["selection"] = self.selection()
        if "supernet" in self.stages:
            left["supernet"] = self.net("supernet")
            left |= {path.stem: load_tensors(path) for path in sorted(self.stage("supernet").glob("*.safetensors"))}
        return left

    # ---- search ----

    def search(self) -> None:
        """Choose G*, the deep and the wide teacher; leave `choice.json`, `pareto.json` and its plot. UGC Sec. 3.2."""
        config: SelectionConfig = self.recipe.search
        spent = Spent(self.stage("search") / "seconds.json")
        plain = self.stream.calibration(config.recalibrate, self.method.sees_unlabelled("search"))
        score = SupernetScore(self.net("supernet"), self.stream.validation()[: config.validation], plain,
                              self.setting.l_od(), config.score, self.setting.device,
                              self.net("original") if self.method.imitates else None)
        folder, teachers = self.stage("search"), self.method.teachers
        with progress("search", planned(config, len(self.cost.space.ladder()), teachers)) as bar:
            board = Scoreboard(folder / "candidates.jsonl", self.cost, score, bar, spent.keep)
            tried = self.trials(score, bar, spent) if config.trials else None
            try:
                chosen, notes = select(board, self.budget, config, Clock(self.recipe.seed), teachers, tried)
            finally:
                spent.keep(now=True)
        if not processes.lead():
            return
        self.write_choice(chosen, notes, board.rows)
        rows = list(board.rows.values())
        write_json(folder / "pareto.json", {"rows": rows, "front": front(rows), "chosen": board.rows[chosen.student.text]})
        pareto_plot(folder / "pareto.json")
        write_json(folder / "done.json", {"scored": len(rows), "seconds": round(spent.seconds, 1)})
        spent.path.unlink(missing_ok=True)

    def trials(self, score: SupernetScore, bar: Bar, spent: Spent) -> TrialBoard:
        """What becomes of nets of the supernet after a trial each."""
        config, teacher = self.recipe.search, self.net("original" if self.method.imitates else "largest")
        trials = Trials(self.setting, score.supernet, teacher, self.stream, self.recipe.seed, config.recalibrate,
                        self.method.sees_unlabelled("search"))
        return TrialBoard(self.stage("search") / "trials.jsonl", trials, score.of, config.trial, bar, spent.keep)

    def write_choice(self, chosen: Selection, notes: tuple[str, ...], rows: dict[str, Any]) -> None:
        """`choice.json`: the three architectures, their costs and scores, and what was clipped."""
        choice: dict[str, Any] = {"notes": list(notes)}
        for role, arch in chosen.archs.items():
            choice[role] = {"arch": arch.text, **vars(self.cost(arch)), "score": rows.get(arch.text, {}).get("score")}
            timed = f", {choice[role]['latency_ms']:.4g} ms" if "latency_ms" in choice[role] else ""
            say(f"{role}: {short(choice[role]['macs_paper'])} macs_paper, {short(choice[role]['macs'])} macs, "
                f"{short(choice[role]['params'])} params{timed}: {arch.text}")
        for note in notes:
            say(note)
        write_json(self.stage("search") / "choice.json", choice)

    def selection(self) -> Selection:
        """What the search chose, or what the method fixes by rule."""
        by_rule = self.method.select_by_rule(self.budget, self.cost)
        if by_rule is not None:
            if processes.lead():
                self.write_choice(by_rule, (), {})
            return by_rule
        return self.searched()

    # ---- test ----

    def test(self) -> None:
        """Read the test split, once; write `metrics.json` and sample pictures."""
        folders = {role: self.folder / role for role in NETS if (self.folder / role / "config.json").exists()}
        began = time.monotonic()
        data = test_data(self.dataset, self.recipe.data)
        device = self.setting.device.device
        jury, note = jury_for(self.dataset, data, device)
        metrics = evaluate.test(folders, data, device, self.stage("test"), self.recipe.seed,
                                imitated="original" if self.method.imitates else None, jury=jury)
        notes = [note] if note else []
        if self.timing and "student" in folders:
            try:
                metrics["latency"] = result(folders, self.timing, self.budget.limit, self.cost)
                say(f"budget {self.budget.text}: {metrics['latency']['text']}")
            except UserError as error:  # all else has been measured
                notes.append(f"The saved nets were not timed: {error}.")
            if self.timing.about["machine"] != cpu_name():
                notes.append(f"The budget {self.budget.text} is of {self.timing.text}; this machine is {cpu_name()}.")
        for one in notes:
            say(one)
            metrics["warnings"].append(one)
        if "original" not in folders:  # left out of this run: its cost is known all the same
            metrics["rows"] = {"original": vars(self.original_cost), **metrics["rows"]}
        write_json(self.folder / "metrics.json", metrics)
        write_card(self.folder, self.method.result())
        seconds = round(time.monotonic() - began, 1)
        write_json(self.stage("test") / "done.json", {"test_images": len(data), "seconds": seconds,
                                                         "warnings": metrics["warnings"]})
