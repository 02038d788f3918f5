"""`benchmarks/stages.py` on a net that is as small as can be."""

import argparse

import stages

from ugc.engine.recipe import Recipe

TINY = {"data": {"path": "nowhere", "size": 32}, "family": "pix2pix-resnet", "base": 8, "batch": 2, "budget": "8x",
        "generator": {"blocks": 1, "widths": [1, 8], "depths": [0, 1]}, "patch": {"ndf": 8}, "device": "cpu",
        "precision": "fp32", "options": {"every": 2}, "distillation": {"backbone": "none", "l1": 1.0}}


def test_every_stage_has_a_line(capsys):
    recipe = Recipe.parse(TINY, "test").resolved()
    stages.measure(recipe, recipe.setting((3, 1)), argparse.Namespace(steps=1))
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:]] == ["original", "supernet", "distill"]
    macs = [float(line.split("step")[1].split()[0]) for line in lines[1:]]
    assert min(macs) > 0 and all("nan" not in line for line in lines)
