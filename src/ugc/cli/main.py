"""`ugc`: run, show, data, translate, recipes. Importing this file takes no torch, so `--help` answers at once."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import NoReturn

from ugc.core.errors import UserError
from ugc.version import __version__

# Names that users of this field's other repositories try, and what does that here. Named in errors, not accepted.
ELSEWHERE = {
    "--dataroot": "the folder is the first argument: ugc run FOLDER --out RUN",
    "--dataset_folder": "the folder is the first argument: ugc run FOLDER --out RUN",
    "--name": "use --out RUN", "--checkpoints_dir": "use --out RUN", "--log_dir": "use --out RUN",
    "--output_dir": "use --out RUN",
    "--netG": "use --family pix2pix-resnet or pix2pix-unet", "--model": "use --family and --method",
    "--netD": "use --set patch.strided=N", "--ngf": "use --base", "--ndf": "use --set patch.ndf=N",
    "--norm": "use --set generator.norm=..",
    "--input_nc": "channels are read from the pictures (--set data.source_channels=N)",
    "--output_nc": "channels are read from the pictures (--set data.target_channels=N)",
    "--load_size": "use --set data.load=286", "--loadSize": "use --set data.load=286", "--crop_size": "use --size",
    "--fineSize": "use --size", "--resolution": "use --size", "--no_flip": "use --set data.flip=false",
    "--batch_size": "use --set batch=N", "--batchSize": "use --set batch=N", "--train_batch_size": "use --set batch=N",
    "--which_direction": "use --direction", "--gan_mode": "use --set objective.gan=hinge",
    "--lr": "use --set optimiser.lr=2e-4",
    "--beta1": "use --set optimiser.betas=[0.5,0.999]", "--lr_policy": "use --set optimiser.schedule=linear",
    "--n_epochs": "use --steps", "--nepochs": "use --steps", "--niter": "use --steps", "--max_train_steps": "use --steps",
    "--n_epochs_decay": "use --set optimiser.schedule=linear", "--nepochs_decay": "use --set optimiser.schedule=linear",
    "--gpu_ids": "use --device cuda:0", "--continue_train": "run the same command again",
    "--resume": "run the same command again", "--resume_from_checkpoint": "run the same command again",
    "--meta_path": "use --labels FILE.meta", "--config_str": "use ugc show FAMILY --arch TEXT",
    "--restore_teacher_G_path": "use --original DIR", "--AGD_weights": "use --set distillation.ssim=10 and its neighbours",
    "--mixed_precision": "use --precision", "--num_threads": "nothing: pictures are decoded once and kept",
    "--lambda_L1": "use --set objective.lambda_recon=100", "--lambda_recon": "use --set objective.lambda_recon=100",
}


class Parser(argparse.ArgumentParser):
    """Errors are one sentence and exit status 2; old names are told their new ones."""

    def error(self, message: str) -> NoReturn:
        for word in message.replace("=", " ").split():
            if word in ELSEWHERE:
                message = f"there is no {word} here: {ELSEWHERE[word]}"
                break
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


def parser() -> Parser:
    """The whole command line."""
    top = Parser(prog="ugc", allow_abbrev=False, description="Unified GAN Compression: from a folder with few pairs and a "
                 "budget to a small image-to-image generator.")
    top.add_argument("--version", action="version", version=f"ugc {__version__}")
    verbs = top.add_subparsers(dest="verb", metavar="VERB", required=True, parser_class=Parser)

    run = verbs.add_parser("run", allow_abbrev=False, help="original, supernet, search, distillation, test, report",
                           description="The main job. The same command again goes on where it stopped.")
    run.add_argument("what", metavar="DATA_OR_RECIPE", nargs="?", help="a folder, a built-in data set or a recipe's name")
    run.add_argument("--out", required=True, metavar="RUN", help="the run folder")
    run.add_argument("--family", help="pix2pix-resnet or pix2pix-unet")
    run.add_argument("--base", type=int, help="full base width; 64 is the papers'")
    run.add_argument("--size", help="crop size: 256 or 256x512 (height x width)")
    run.add_argument("--labels", help="fraction of the targets to use, such as 0.25, or a .meta file")
    run.add_argument("--budget", help="40x, macs=1.5G, macs_paper=1.5G, params=0.15M")
    run.add_argument("--method", help="ugc or original")
    run.add_argument("--original", help="train (default), none, or the folder of a saved net")
    run.add_argument("--from", dest="source", metavar="RUN", help="take over another run's original and supernet")
    run.add_argument("--steps", type=int, help="steps of each training stage")
    run.add_argument("--seed", type=int)
    run.add_argument("--direction", choices=("AtoB", "BtoA"))
    run.add_argument("--device", help="auto, cpu, cuda, cuda:N or mps")
    run.add_argument("--precision", choices=("auto", "fp32", "bf16", "fp16"))
    run.add_argument("--set", action="append", default=[], metavar="a.b=c", help="any field of the recipe")
    run.add_argument("--until", metavar="STAGE", help="stop after original, supernet, search, distill or test")
    run.add_argument("--dry-run", action="store_true", help="print stages, sizes, budget and memory, and stop")

    show = verbs.add_parser("show", allow_abbrev=False, help="what a net costs, by layer and in all")
    show.add_argument("family", metavar="FAMILY")
    show.add_argument("--base", type=int, default=64)
    show.add_argument("--size", default="256x256", metavar="HxW")
    show.add_argument("--channels", default="3:3", metavar="IN:OUT")
    show.add_argument("--arch", default="original", help="original, largest, smallest, random:SEED or an arch's text")
    show.add_argument("--set", action="append", default=[], metavar="a=c", help="any field of the family's config")
    show.add_argument("--json", action="store_true")

    data = verbs.add_parser("data", allow_abbrev=False, help="write a data set as a folder")
    sets = data.add_subparsers(dest="set_name", metavar="SET", required=True, parser_class=Parser)
    glyphs = sets.add_parser("sans2serif", allow_abbrev=False, help="the built-in set: Noto Sans SC to Noto Serif SC")
    fonts = sets.add_parser("fonts", allow_abbrev=False, help="any two fonts: characters of one from the other's")
    fonts.add_argument("--source", required=True, metavar="A.otf")
    fonts.add_argument("--target", required=True, metavar="B.otf")
    for side in ("source", "target"):
        fonts.add_argument(f"--weight-{side}", type=float, help="weight of a variable font, such as 400")
        fonts.add_argument(f"--index-{side}", type=int, default=0, help="which font of a collection (.ttc)")
    for one in (glyphs, fonts):
        one.add_argument("--size", default="256")
        one.add_argument("--out", required=True, metavar="DIR")

    translate = verbs.add_parser("translate", allow_abbrev=False, help="run a saved net on pictures")
    translate.add_argument("student", metavar="STUDENT", help="a saved net, such as RUN/student")
    translate.add_argument("input", metavar="INPUT", help="a picture, a folder or a glob")
    translate.add_argument("output", metavar="OUTPUT", help="a picture or a folder")
    translate.add_argument("--device", default="auto")

    verbs.add_parser("recipes", allow_abbrev=False, help="list the recipes")
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit status (2 for what the user can mend, 130 when interrupted)."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    top = parser()
    for word in words:  # before the parser, which tells of a missing --out first
        if (name := word.partition("=")[0]) in ELSEWHERE:
            top.error(name)
    options = top.parse_args(words)
    try:
        from ugc.cli import verbs

        getattr(verbs, options.verb)(options)
    except UserError as error:
        print(f"ugc: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
