"""`ugc eval`: measure answers to the test images."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from ugc.core.errors import UserError

HELP = "measure a saved net, an ONNX file or a folder of pictures"
DESCRIPTION = ("Measure answers to the test images of DATA: PSNR, SSIM, L1, distances with their intervals, beside a copy "
               "of the source and the floor (real against real).")


def declare(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("student", metavar="STUDENT_OR_FOLDER", help="a saved net such as RUN/student, an .onnx file of ugc "
                        "export, or a folder of pictures named as the test sources")
    parser.add_argument("data", metavar="DATA", help="a folder or a built-in data set, as in ugc run")
    parser.add_argument("--against", metavar="ORIGINAL", help="another net, file or folder, shown beside")
    parser.add_argument("--size", help="256 or 256x512 (height x width); default: that of the net or of the pictures")
    parser.add_argument("--direction", choices=("AtoB", "BtoA"))
    parser.add_argument("--seed", type=int, help="of the split, where DATA has no test or val; default: the run's, else 0")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--fid", action="store_true", help="FID and KID: downloads Inception (96 MB) if it is not at hand")
    parser.add_argument("--lpips", action="store_true", help="LPIPS: downloads VGG-16 (553 MB) if it is not at hand")
    parser.add_argument("--miou", action="store_true", help="mIoU of label maps, else a sentence that says what is missing")
    parser.add_argument("--stats", metavar="FILE.npz", help="also the Frechet distance to these statistics (mu, sigma)")
    parser.add_argument("--save-stats", metavar="FILE.npz", help="write the statistics (mu, sigma) of the test targets")
    parser.add_argument("--json", action="store_true", help="the numbers and their protocol as JSON")


def execute(options: argparse.Namespace) -> None:
    from ugc.engine.compare import Asked, compare, table

    def path(text: str | None) -> Path | None:
        return Path(text) if text else None

    if (options.seed or 0) < 0:
        raise UserError(f"--seed {options.seed}: expected 0 or more")
    fields = {key: getattr(options, key) for key in ("size", "direction", "seed") if getattr(options, key) is not None}
    result = compare(Asked(Path(options.student), options.data, path(options.against), fields, options.device, options.fid,
                           options.lpips, options.miou, path(options.stats), path(options.save_stats)))
    print(json.dumps(result, allow_nan=False) if options.json else table(result))
