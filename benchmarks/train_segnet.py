"""The segmenter of `miou_segnet_streets`: trained once on streets of a seed of its own, checked on another's, frozen.

    python benchmarks/train_segnet.py src/ugc/metrics/segnet_streets.safetensors

Frames are drawn once and kept in the cache: stopped there, it goes on from there. Training takes minutes on one core and
begins anew. The file's digest then goes into `metrics/segnet_streets.py`, by hand. Needs `pip install 'ugc[streets]'`.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save
from torch import Tensor

from ugc.core.clock import Clock
from ugc.core.files import atomic, home, sha256
from ugc.core.images import Array, to_unit
from ugc.core.log import progress, say
from ugc.core.palettes import IGNORED
from ugc.data.street_render import renderer
from ugc.metrics.segmentation import confusion, numbers
from ugc.metrics.segnet_streets import IDS, make
from ugc.nn.segnet import SegNet

SEED, CHECK = 7919, 7920  # of streets that no data set has
SIZE = (256, 512)
CROP = (128, 256)
BATCH = 8
RATE = 4e-3
CHECKED = 48


def frames(seed: int, count: int) -> Array:
    """Streets 0 to count - 1 of that seed: uint8 [count, H, W, 4], photo and label ids."""
    folder = home() / "segnet" / f"streets-{seed}"
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{i:05d}.npy" for i in range(count)]
    missing = [i for i, path in enumerate(paths) if not path.exists()]
    if missing:
        with renderer(SIZE) as draw, progress(f"streets of seed {seed}", len(missing)) as bar:
            for i in missing:
                frame = draw.frame(seed, i)
                with atomic(paths[i]) as file:
                    np.save(file, np.concatenate([frame.photo, frame.labels[..., None]], 2))
                bar.advance()
    return np.stack([np.load(path) for path in paths])


def batches(data: Array, steps: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Crops of CROP out of streets at half to full size: pictures [B, 3, h, w] in [-1, 1] and label ids [B, h, w].

    Half are the whole street; flipped or not; brightness, contrast and colour vary as generators' do.
    """
    for step in range(steps):
        rng = Clock(SEED).at(step).rng("segnet")
        some = torch.from_numpy(data[rng.integers(0, len(data), BATCH)])
        scale = 0.5 if rng.random() < 0.5 else rng.uniform(0.5, 1.0)
        size = (round(SIZE[0] * scale), round(SIZE[1] * scale))
        photos = F.interpolate(to_unit(some[..., :3]), size, mode="bilinear", antialias=True)
        labels = F.interpolate(some[..., 3][:, None].float(), size, mode="nearest-exact")[:, 0].long()
        top, left = (int(rng.integers(0, have - want + 1)) for have, want in zip(size, CROP))
        photos, labels = (x[..., top:top + CROP[0], left:left + CROP[1]] for x in (photos, labels))
        flip = torch.from_numpy(rng.random(BATCH) < 0.5)
        photos[flip], labels[flip] = photos[flip].flip(-1), labels[flip].flip(-1)
        gain = torch.from_numpy(rng.uniform(0.7, 1.3, (BATCH, 1, 1, 1)) * rng.uniform(0.92, 1.08, (BATCH, 3, 1, 1)))
        shift = torch.from_numpy(rng.uniform(-0.25, 0.25, (BATCH, 1, 1, 1)))
        grain = torch.from_numpy(rng.normal(0, 0.02, photos.shape))
        yield (photos * gain + shift + grain).clamp(-1, 1).float(), labels


def train(data: Array, steps: int) -> SegNet:
    """Adam on weighted cross-entropy, the rate rising for a twentieth of the steps and falling as a cosine."""
    torch.manual_seed(SEED)
    one = make()
    net = one.net.train()  # not channels_last: there torch 2.13 has no right gradient of a dilated bf16 convolution on a CPU
    truth = one.truth(torch.from_numpy(data[..., 3]))
    counts = torch.stack([(truth == k).sum() for k in range(one.classes)])
    weights = (counts / counts.sum()).pow(-0.3)
    weights /= weights.mean()
    optimiser = torch.optim.AdamW(net.parameters(), RATE, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, steps, pct_start=0.05)
    with progress("segnet", steps) as bar:
        for photos, labels in batches(data, steps):
            with torch.autocast("cpu", torch.bfloat16):
                scores: Tensor = net(photos)
            loss = F.cross_entropy(scores.float(), one.truth(labels).long(), weights, ignore_index=IGNORED)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            bar.advance(note=f"loss {float(loss.detach()):.3f}")
    return net.eval()


@torch.no_grad()
def check(net: SegNet, data: Array, size: tuple[int, int]) -> dict[str, float]:
    """Its numbers on streets that it has not seen, at a size."""
    one, tables = make(net), []
    for frame in torch.from_numpy(data).split(BATCH):
        photos = F.interpolate(to_unit(frame[..., :3]), size, mode="bilinear", antialias=True)
        labels = F.interpolate(frame[..., 3][:, None].float(), size, mode="nearest-exact")[:, 0]
        tables.append(confusion(one.truth(labels), one.found(photos, size), one.classes))
    return numbers(torch.cat(tables))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("out", type=Path, help="the .safetensors file")
    parser.add_argument("--streets", type=int, default=480)
    parser.add_argument("--steps", type=int, default=1100)
    options = parser.parse_args()
    held, data = frames(CHECK, CHECKED), frames(SEED, options.streets)
    net = train(data, options.steps)
    tensors = {key: value.half().contiguous() if value.is_floating_point() else value
               for key, value in net.state_dict().items()}
    about = {"streets": str(options.streets), "seed": str(SEED), "steps": str(options.steps), "batch": str(BATCH),
             "crop": "x".join(map(str, CROP)), "classes": " ".join(map(str, IDS))}
    with atomic(options.out) as file:
        file.write(save(tensors, about))
    net.load_state_dict({key: value.float() if value.is_floating_point() else value for key, value in tensors.items()})
    for size in (CROP, SIZE):
        said = ", ".join(f"{kind} {value:.1f}" for kind, value in check(net, held, size).items())
        say(f"{CHECKED} streets of seed {CHECK} at {size[0]}x{size[1]}: {said}")
    say(f"{options.out}: {options.out.stat().st_size:,} bytes, sha256 {sha256(options.out)}")


if __name__ == "__main__":
    main()
