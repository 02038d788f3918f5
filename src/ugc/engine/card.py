"""The model card `README.md` of a run's net: what it is, what it scored, on what terms. Made from the run's files alone.

The Hugging Face hub shows it, and reads the YAML at its head, where strings are quoted as in JSON. No path of the machine is
in it: a folder of pictures appears by its name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from ugc.core.encoding import Encoding, LabelEncoding
from ugc.core.files import write_text
from ugc.engine.page import DASH, si, three
from ugc.engine.record import NONE, Record, Row
from ugc.engine.tables import NAMES, digits, word
from ugc.export.terms import attribution
from ugc.metrics.protocols import TO_ORIGINAL, Metric, ordered, to_original, worse

_LABELS = " in {0, 1}"
FEW = 2048  # test images; below it distances between sets are mostly chance
COUNTS = ("params", "macs", "macs_paper")

HEAD = """\
---
license: other
license_name: terms-of-the-training-data
library_name: ugc
pipeline_tag: image-to-image
tags: [image-to-image, gan-compression, pix2pix, ugc, {family}]
metrics: [{metrics}]
model-index:
- name: {name}
  results:
  - task:
      type: image-to-image
    dataset:
      name: {data}
      type: {data_type}
      split: test
    metrics:
{results}
---
"""

BODY = """
# {title}

{what} It takes {inputs} and
gives an image of {outputs}, of the same size. For {size} pixels it takes {macs} multiply-adds; it has
{params} parameters.{ratio}

## Use

```sh
pip install ugc               # 'ugc[hub]' to load it by its name
```

```python
import ugc
g = ugc.load("{role}")         # this folder, or its name on the hub: "org/name"
{call}
```

`ugc translate {role} IN OUT` does the same for {one} or a folder of them. `ugc export {role} --format onnx` makes an
ONNX file for other runtimes. `g.net` is the torch module: `{shapes}` in [-1, 1], H and W multiples
of `g.net.stride`.

## Numbers

{table}

{protocol}

## How it was made

{made}

Architecture: `{arch}`

## Data and terms

{attribution}

ugc, the program, is Apache-2.0. What these weights may be used for depends on the data that they were trained on: look at
its terms before you pass them on, and name a licence at the head of this file where they let you.

## Limits

{limits}

## Reference

The method: Ren et al., *UGC: Unified GAN Compression for Efficient Image-to-Image Translation*, ICCV 2023. `ugc` is an
independent implementation of it.
"""


def write_card(folder: Path, role: str) -> None:
    """Write RUN/ROLE/README.md; nothing where the net was not saved, or not measured."""
    record = Record(folder)
    if record.nets.get(role) and any(metric.name in record.row(role) for metric in (*ordered(), *to_original())):
        write_text(folder / role / "README.md", card(record, role))


def card(record: Record, role: str) -> str:
    """The card's text, YAML and Markdown."""
    net, row = record.nets[role], record.row(role)
    measured = [metric for metric in (*ordered(), *to_original()) if metric.name in row]
    family, data = str(net.get("family")), str(record.run.get("dataset") or net.get("data") or "own pictures")
    config = net.get("config") or {}
    size = "x".join(map(str, net.get("size") or []))
    head = HEAD.format(
        family=family, metrics=", ".join(m.name for m in measured), data=_quoted(data),
        data_type=_quoted(re.sub(r"[^\w.-]+", "-", data)), name=_quoted(f"{data} {family} {role}"),
        results="\n".join(f"    - type: {m.name}\n      name: {_quoted(_name(m))}\n      value: {_number(row[m.name])}"
                          for m in measured))
    what = "A small generator, compressed with `ugc` (Unified GAN Compression)." if role == "student" else \
        f"A generator, the {NAMES.get(role, role)} of a run of `ugc` (Unified GAN Compression)."
    return head + BODY.format(
        title=f"{_code(data)}: {family}, {NAMES.get(role, role)}", what=what, role=role, size=size, arch=net.get("arch"),
        **_use(record.source, config.get("in_channels", 3)), outputs=_channels(config.get("out_channels", 3)),
        shapes=f"[N, {config.get('in_channels', 3)}, H, W]{_LABELS if record.source.kind == 'labels' else ''} -> "
               f"[N, {config.get('out_channels', 3)}, H, W]",
        macs=si(row["macs"]), params=f"{int(row['params']):,}", ratio=_ratio(record, role),
        table=_table(record, role, measured), protocol=_list(_protocol(record, measured)), made=_list(_made(record, net)),
        attribution=attribution(net).rstrip(". ") + ".",
        limits=_list(_limits(record, row, measured, size, str(config.get("norm")))))


def _ratio(record: Record, role: str) -> str:
    ours, theirs = record.row(role).get("macs_paper"), record.row("original").get("macs_paper")
    if role == "original" or not ours or not theirs:
        return ""
    return f"\nThe original that it is compared with takes {three(theirs / ours)} times as many (`macs_paper`)."


def _name(metric: Metric) -> str:
    return ", ".join(filter(None, (_word(metric), metric.unit)))


def _word(metric: Metric) -> str:
    return word(metric.name) + (" to the original" if metric.name.endswith(TO_ORIGINAL) else "")


def _table(record: Record, role: str, measured: Sequence[Metric]) -> str:
    """Rows original, this net, copy, floor, and those of label maps: quality, then cost."""
    arrows = {"higher": "↑", "lower": "↓", "one": "(1 is best)"}
    lines = [["", *(f"{_name(m)} {arrows[m.better]}" for m in measured), *COUNTS], ["---", *["---:"] * (len(measured) + 3)]]
    for name in dict.fromkeys(("original", role, "copy", "palette", "photos", "floor")):
        if row := record.row(name):
            label = f"**{NAMES.get(name, name)}**" if name == role else NAMES.get(name, name)
            quality = [f"{row[m.name]:,.{digits(m.name, 3)}f}" if m.name in row else DASH for m in measured]
            lines.append([label, *quality, *(f"{int(row[key]):,}" if key in row else DASH for key in COUNTS)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _protocol(record: Record, measured: Sequence[Metric]) -> Iterable[str]:
    """How the numbers came about, one line each."""
    about = record.metrics.get("protocol") or {}
    texts = about.get("metrics") or {}
    size = "x".join(map(str, about.get("size") or []))
    yield f"{about.get('test_images', 0):,} test images at {size}, read once, at the end; one run, seed {about.get('seed')}"
    yield from (f"{_word(m)} (`{m.name}`): {texts.get(m.name, m.text)}" for m in measured)
    for one in (about, about.get("inception") or {}, about.get("lpips") or {}):
        if one.get("extractor"):
            yield f"features: {one['extractor']}, weights sha256 `{str(one.get('weights_sha256'))[:16]}`"
    if judge := about.get("miou"):
        yield f"segmenter: {judge.get('name')}, weights sha256 `{str(judge.get('weights_sha256'))[:16]}`"
    yield from (f"{name}: {about[name]}" for name in ("copy", "palette", "floor") if about.get(name))
    yield ("`macs`: multiply-adds of the convolutions, as carried out; `macs_paper`: as the papers count, transposed "
           "convolutions on their output grid")


def _made(record: Record, net: Row) -> Iterable[str]:
    """Method, data, budget, steps, losses, versions: what is known of them."""
    recipe, run, ran = record.recipe, record.run, record.ran
    counts, budget = run.get("counts") or {}, run.get("budget") or {}
    seen = "the original's pictures of" if run.get("imitates") else f"{counts.get('labelled', 0):,} labelled pairs"
    alone = "" if run.get("imitates") else " and"
    also = f"{alone} {counts.get('unlabelled', 0):,} sources without a target" if run.get("sees_unlabelled", True) else ""
    yield f"method `{recipe.get('method')}`, {seen}{also}, {net.get('direction') or 'AtoB'}"
    if timed := record.metrics.get("latency"):
        yield f"budget {_code(str(budget.get('text')))}: {timed.get('text')}"
    elif budget:
        unit = f"ms in {budget['on']}" if budget.get("on") else budget.get("key")
        yield f"budget {_code(str(budget.get('text')))}: at most {si(budget.get('limit', 0))} {unit}"
    taken = " · ".join(f"{stage} {steps:,}" for stage, steps in record.taken.items())
    if taken:
        yield f"steps: {taken}; batch {recipe.get('batch')}"
    for topic in ("objective", "distillation", "warm_start"):
        if text := (run.get(topic) or {}).get("text"):
            yield str(text)
    yield ", ".join(filter(None, (
        f"ugc {net.get('ugc')}", f"commit {ran['commit']}" if ran.get("commit", NONE) != NONE else "",
        f"torch {ran['versions.torch']}" if "versions.torch" in ran else "", ran.get("device", ""),
        f"begun {ran['started'][:10]}" if "started" in ran else "", f"recipe {net.get('recipe')}")))


def _limits(record: Record, row: Row, measured: Sequence[Metric], size: str, norm: str) -> Iterable[str]:
    """What a reader should not expect."""
    yield "One run with one seed is one sample; small differences are not findings."
    copy = record.row("copy") or record.row("palette")
    what = "the source" if record.row("copy") else "the label map in its colours"
    less = [_name(m) for m in measured if m.name in copy and worse(m, row[m.name], copy[m.name])]
    if less:
        yield f"By {' and '.join(less)}, handing back {what} scores better than this net."
    yield "Feature distances see blur and hardly place; PSNR, SSIM and L1 see place and forgive blur. Read them together."
    count = (record.metrics.get("protocol") or {}).get("test_images", 0)
    if count < FEW:
        yield f"{count:,} test images are few: distances between sets ({FEW:,} and more) are mostly chance here."
    yield f"It was trained at {size}. On sizes far from that, and on other kinds of pictures, it may draw anything."
    if norm == "instance":
        yield ("A picture of one single colour has no defined answer: instance norm divides by its contrast, which is none, "
               "and what comes out is amplified rounding, another one in each runtime.")


def _use(source: Encoding, channels: int) -> dict[str, str]:
    """What goes in, in words and in Python."""
    if not isinstance(source, LabelEncoding):
        return {"inputs": f"an image of {_channels(channels)}", "one": "an image",
                "call": 'g(pil).save("out.png")         # a PIL image of any size'}
    arguments = "label, instance" if source.edges else "label"
    known = f"{source.classes} classes{' (255: unknown)' if source.unknown else ''}"
    return {"inputs": f"a label map of {known}{' and an instance map' if source.edges else ''}", "one": "a label map",
            "call": f'g({arguments}).save("out.png")         # PIL images of ids, or arrays [H, W], of any size'}


def _channels(count: int) -> str:
    return {1: "1 channel (grey)", 3: "3 channels (RGB)"}.get(count, f"{count} channels")


def _number(value: float) -> str:
    """A float of YAML 1.1, which takes `1e-05` for a word and `1.0e-05` for a number."""
    return re.sub(r"^(-?\d+)e", r"\1.0e", f"{value:.6g}")


def _quoted(text: str) -> str:
    """A string of YAML, which knows no pairs of surrogates: whoever is beyond them stands as it is or by its number."""
    return f'"{"".join(map(_escaped, text))}"'


def _escaped(one: str) -> str:
    if one.isprintable() or one < "\U00010000":
        return json.dumps(one, ensure_ascii=not one.isprintable())[1:-1]
    return f"\\U{ord(one):08x}"


def _code(text: str) -> str:
    return "`" + " ".join(text.replace("`", "'").split()) + "`"


def _list(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)
