"""Answers to the test split as rows of numbers, beside `copy` and `floor`. `ugc run` and `ugc eval` measure by this file.

Where sources are label maps, `palette` (the map in its colours) stands in the place of `copy`, and `photos` is beside.

What imitates an original is measured against the original's pictures, too: `psnr_to_original` is `psnr` with such a
picture in the target's place. A test without targets has these numbers only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ugc.core.clock import Clock
from ugc.core.device import cpu_name
from ugc.core.encoding import Encoding
from ugc.core.errors import UserError
from ugc.core.files import atomic
from ugc.core.images import Array, from_unit
from ugc.core.log import progress, say
from ugc.data.pictures import write_picture
from ugc.data.stream import TestData
from ugc.engine.answers import BATCH, RUNS, Answers, CopyAnswers, NetAnswers, PaletteAnswers, Questions
from ugc.engine.miou import Jury, Pair
from ugc.export.saved import load_net
from ugc.metrics.bootstrap import LEVEL
from ugc.metrics.features import Features
from ugc.metrics.protocols import TO_ORIGINAL, ordered, to_original
from ugc.metrics.scoring import Score, floor, score, warnings
from ugc.metrics.tools import Tools, tools_at_hand

SAMPLES = 12


@dataclass(frozen=True)
class Imitated:
    """The test sources with somebody's pictures of them in the targets' place."""

    data: TestData
    by: Answers
    device: torch.device
    name = ""  # what nets draw has no colours of its own

    def __len__(self) -> int:
        return len(self.data)

    @property
    def depth(self) -> Any:
        return self.data.depth

    @property
    def encoding(self) -> Encoding:
        return self.data.encoding

    def batches(self, batch: int) -> Iterator[tuple[Tensor, Tensor]]:
        assert batch == BATCH  # as large as those of the answers
        answers = (answer for answer, _ in self.by.batches(self.data, self.device))
        return ((source, answer) for (source, _), answer in zip(self.data.batches(batch), answers))


def test(folders: Mapping[str, Path], data: TestData, device: torch.device, out: Path, seed: int,
         imitated: str | None = None, jury: Jury | None = None) -> dict[str, Any]:
    """Score saved nets on the test pairs: what `metrics.json` keeps.

    Args:
        folders: role -> folder of a saved net.
        out: where `samples/`, SAMPLES pictures that are drawn at random, are written for the report, and `scores.npz`, the
            metrics of each test image for comparisons in pairs: `keys` [N] and `ROLE/METRIC` [N].
        imitated: the role whose pictures the others were made to give; None where there is no such net.
        jury: who judges pictures of label maps.
    """
    answers: dict[str, Answers] = {role: NetAnswers(folder) for role, folder in folders.items()}
    result, _, each = measure(answers, data, device, tools_at_hand(device), seed, imitated=imitated, jury=jury)
    _samples({r: folders[r] for r in ("original", "student") if r in folders}, data, out / "samples", seed)
    arrays: dict[str, Any] = {"keys": np.array(data.keys), **each}
    with atomic(out / "scores.npz") as file:
        np.savez_compressed(file, **arrays)
    return result


def measure(answers: Mapping[str, Answers], data: TestData, device: torch.device, tools: Tools, seed: int,
            given: Mapping[str, Any] | None = None, imitated: str | None = None,
            jury: Jury | None = None) -> tuple[dict[str, Any], Features, dict[str, NDArray[np.float32]]]:
    """Score answers on the test images, and say aloud where there are few of them.

    Args:
        answers: role -> who answers.
        tools: what measures.
        seed: of the data's split, for the protocol.
        given: metric -> statistics of other real images.
        imitated, jury: as in `test`.

    Returns:
        `{"rows": {role: {metric: number}}, "intervals": .., "half": .., "protocol": {..}, "warnings": [..]}`, and the
        features of the targets. `intervals` and `half` have the form of `rows`, see `Score`. Third, `ROLE/METRIC` -> float32
        [N], the metrics of each image.

    Raises:
        UserError: answers that are not finite.
    """
    found = {role: Score({}) for role in answers}
    targets = Features({})
    if data.paired:
        of_targets, targets = scores(answers, data, device, tools, given, jury)
        found |= of_targets
    if imitated:
        others = {role: one for role, one in answers.items() if role != imitated}
        pictures, judge = Imitated(data, answers[imitated], device), None if data.paired else jury
        for role, one in scores(others, pictures, device, tools, jury=judge, truth=imitated)[0].items():
            found[role] = found.get(role, Score({})).beside(one, TO_ORIGINAL)
    for role, one in (jury.scores() if jury else {}).items():
        found[role] = one.beside(found.get(role, Score({})), "")
    for role, who in answers.items():
        found[role].row.update(who.cost((data.sources.shape[1], data.sources.shape[2])))
    words = warnings(len(data))
    for word in words:
        say(word)
    names = {name for one in found.values() for name in one.row}
    return {
        "rows": {role: one.row for role, one in found.items()},
        "intervals": {role: one.intervals for role, one in found.items() if one.intervals},
        "half": {role: one.half for role, one in found.items() if one.half},
        "protocol": {**_protocol(answers, data, tools, seed, names), **({"miou": jury.about()} if jury else {})},
        "warnings": words,
    }, targets, {f"{role}/{name}": each.float().numpy() for role, one in found.items() for name, each in one.each.items()}


def scores(answers: Mapping[str, Answers], asked: Questions, device: torch.device, tools: Tools,
           given: Mapping[str, Any] | None = None, jury: Jury | None = None,
           truth: str = "photos") -> tuple[dict[str, Score], Features]:
    """role -> score, of all answers, of `copy` (or `palette`) where channels allow it, and of `floor`; and the targets'
    features. The jury judges on the way, the targets under the role `truth`."""
    found: dict[str, Score] = {}
    first, target = next(asked.batches(BATCH))
    everyone = dict(answers)
    if CopyAnswers.fits(asked.encoding.view(first), target):
        everyone |= {"copy": CopyAnswers()} if asked.encoding.kind == "picture" else {"palette": PaletteAnswers()}
    with progress("test", len(asked) * (len(everyone) + 1)) as bar:
        def told(batches: Iterator[Pair], note: str) -> Iterator[Pair]:
            for pair in batches:
                if not pair[0].isfinite().all():
                    raise UserError(f"{note}: its answers are not finite numbers (NaN), so there is nothing to measure")
                yield pair
                bar.advance(len(pair[0]), note=note)

        def judged(pairs: Iterator[Pair], role: str, side: int = 0) -> Iterator[Pair]:
            return jury.watch(role, pairs, side) if jury else pairs

        pairs = judged(told(asked.batches(BATCH), "targets"), truth, side=1)
        targets = tools.collect(target.to(device) for _, target in pairs)
        for role, one in everyone.items():
            found[role] = score(judged(told(one.batches(asked, device), role), role), tools, targets, given, asked.name)
    found["floor"] = floor(targets, given)
    return found, targets


def _protocol(answers: Mapping[str, Answers], data: TestData, tools: Tools, seed: int, names: Set[str]) -> dict[str, Any]:
    """What a reader of the numbers must know."""
    return {
        "test_images": len(data), "floor_images": len(data) // 2, "size": list(data.sources.shape[1:3]), "seed": seed,
        **tools.provenance, "metrics": {m.name: m.text for m in (*ordered(), *to_original()) if m.name in names},
        "rounding": f"answers to {data.depth}, the sources' depth, as ugc translate writes them",
        **({"copy": "the source as the answer"} if data.encoding.kind == "picture" else
           {"palette": "the label map in its colours as the answer"}),
        "floor": "two halves of the test targets (or of the original's pictures) against each other",
        "half": "the answers of one half against the targets of the other: the floor's count",
        "intervals": f"{100 * LEVEL:.0f} %, by resampling test images; no seed of training is in it",
        "latency_ms": f"median of {RUNS}, batch 1, fp32, torch {torch.__version__}, {cpu_name()}, "
                      f"{torch.get_num_threads()} threads",
        "answers": {role: one.about() for role, one in answers.items()},
    }


@torch.no_grad()
def _samples(folders: Mapping[str, Path], data: TestData, out: Path, seed: int) -> None:
    """`000-source.png 000-target.png 000-original.png 000-student.png` and so on, drawn at random, not picked."""
    count = min(SAMPLES, len(data))
    chosen = sorted(Clock(seed).rng("samples").permutation(len(data))[:count])
    nets = {role: load_net(folder)[0] for role, folder in folders.items()}
    for i, index in enumerate(chosen):
        write_picture(out / f"{i:03d}-source.png", _visible(data.encoding.shown(data.sources[index])))
        if data.paired:
            write_picture(out / f"{i:03d}-target.png", _visible(data.targets[index]))
        for role, net in nets.items():
            picture = net(data.encoding.encode(data.sources[index:index + 1]))
            write_picture(out / f"{i:03d}-{role}.png", _visible(from_unit(picture, data.targets.dtype)[0]))


def _visible(picture: Array) -> Array:
    """[H, W, C]: of more than four channels the first three, for a PNG holds no more; 16-bit colours in 8 bits, for which
    Pillow is enough."""
    shown = picture[..., :3] if picture.shape[-1] > 4 else picture
    if shown.dtype == np.uint16 and shown.shape[-1] > 1:
        return ((shown.astype(np.uint32) + 128) // 257).astype(np.uint8)
    return shown
