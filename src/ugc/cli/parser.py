"""The parser: its errors are one sentence, and names of other repositories are told their new ones."""

from __future__ import annotations

import argparse
from typing import NoReturn

# Names that users of this field's other repositories try, and what does that here. Named in errors, not accepted.
ELSEWHERE = {
    "--dataroot": "the folder is the first argument: ugc run FOLDER --out RUN",
    "--dataset_folder": "the folder is the first argument: ugc run FOLDER --out RUN",
    "--name": "use --out RUN", "--checkpoints_dir": "use --out RUN", "--log_dir": "use --out RUN",
    "--output_dir": "use --out RUN",
    "--netG": "use --family pix2pix-resnet or pix2pix-unet", "--model": "use --family and --method",
    "--netD": "use --set patch.strided=N", "--ngf": "use --base", "--ndf": "use --set patch.ndf=N",
    "--norm": "use --set generator.norm=..",
    "--label_nc": "classes are counted (--set data.classes=N)", "--no_instance": "take the folder of instance maps away",
    "--contain_dontcare_label": "255 is found (an id of its own)", "--label_dir": "name it FOLDER/train_label",
    "--image_dir": "name it FOLDER/train_img", "--instance_dir": "name it FOLDER/train_inst",
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
