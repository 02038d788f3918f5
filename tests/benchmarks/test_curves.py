"""The loss curves: what is held equal is equal, what is told comes from the kept losses, and the command goes on."""

import json
import sys

import curves
import numpy as np
import pytest

from ugc.core.errors import UserError

SMALL = ("base=8", "batch=2", "data.size=32", "data.labels=1.0", "budget=8x", "search.validation=4", "device=cpu")


@pytest.fixture
def settings(ugc_home, tiny_data):
    return [*SMALL, f"data.path={tiny_data}"]


@pytest.fixture
def family(settings, tmp_path):
    """family(name, steps) in a folder of its own."""
    def make(name, steps=2):
        folder = tmp_path / f"{name}-{len(list(tmp_path.iterdir()))}"
        return curves.Family(curves.recipe_of(name, settings), steps, folder)
    return make


@pytest.mark.parametrize("name", curves.FAMILIES)
def test_equal_seeds_are_equal_and_bf16_begins_where_fp32_does(name, family):
    rows = list(family(name).runs(0, curves.PRECISIONS))
    again, other = list(family(name).runs(0, ("fp32",))), list(family(name).runs(1, ("fp32",)))
    of = {(row["stage"], row["precision"]): row["losses"] for row in rows}
    for stage, mine, theirs in zip(curves.STAGES, again, other):
        fp32, bf16 = of[stage, "fp32"], of[stage, "bf16"]
        assert fp32 == mine["losses"]
        assert fp32 != bf16 and fp32.keys() == bf16.keys() == theirs["losses"].keys()
        for parts in curves.TERMS[stage].values():
            values = [curves.term(losses, parts) for losses in (fp32, bf16, theirs["losses"])]
            assert values[0].shape == (2,) and values[0][0] == pytest.approx(values[1][0], rel=0.05, abs=0.05)
            assert values[0][0] != values[2][0]


def test_every_part_is_in_one_term(family):
    for row in family("pix2pix-unet", 1).runs(0, ("fp32",)):
        terms = curves.TERMS[row["stage"]].values()
        assert all(sum(part.startswith(parts) for parts in terms) == 1 for part in row["losses"])


def run_of(precision, seed, **losses):
    return {"family": "f", "stage": "supernet", "precision": precision, "seed": seed, "commit": "c", "losses": losses}


def test_distances_are_of_means_over_the_last_third(monkeypatch):
    monkeypatch.setattr(curves, "TERMS", {"supernet": {"both": ("G/r.",)}})
    first = run_of("fp32", 4, **{"G/r.l1": [9, 9, 9, 9, 1, 3], "G/r.ssim": [0, 0, 0, 0, 1, 1], "G/s.l1": [5] * 6})
    bf16 = run_of("bf16", 4, **{"G/r.l1": [0, 0, 0, 0, 2, 1]})
    seeds = [run_of("fp32", seed, **{"G/r.l1": [0, 0, 0, 0, value, value]}) for seed, value in ((5, 2.0), (6, 5.0))]
    [row] = curves.compared([*seeds, bf16, first])
    assert (row["fp32"], row["bf16"], row["commit"]) == (3.0, 1.5, "c")
    assert (row["bf16 to fp32"], row["seed to seed"], row["of that"]) == ("-50.00 %", "100.00 %", 0.5)


def test_a_loss_that_crosses_zero_has_a_unit(monkeypatch):
    monkeypatch.setattr(curves, "TERMS", {"supernet": {"gan": ("G/gan",)}})
    rows = [run_of(precision, seed, **{"G/gan": [0] * 4 + values})
            for precision, seed, values in (("fp32", 0, [-1, 1]), ("bf16", 0, [-0.5, 1]), ("fp32", 1, [1, 1]))]
    [row] = curves.compared(rows)
    assert (row["bf16 to fp32"], row["seed to seed"]) == ("+25.00 %", "100.00 %")


@pytest.fixture
def command(settings, tmp_path, monkeypatch):
    """command(steps, *words) on a UNet; `command.out`, its result, and `command.trained`, how many runs it made."""
    plain = curves.trained

    def trained(*given):
        run.trained += 1
        return plain(*given)

    def run(steps, *words):
        run.trained = 0
        given = [word for setting in settings for word in ("--set", setting)]
        monkeypatch.setattr(sys, "argv", ["curves.py", "--family", "pix2pix-unet", "--steps", str(steps),
                                          "--out", str(run.out), *given, *words])
        curves.main()

    run.out = tmp_path / "results" / "curves.json"
    monkeypatch.setattr(curves, "trained", trained)
    return run


def test_the_table_and_the_curves_come_from_the_kept_losses(command):
    command(3, "--seeds", "0", "1")
    result, kept = json.loads(command.out.read_text()), command.out.with_suffix(".jsonl")
    rows = [json.loads(line) for line in kept.read_text().splitlines()]
    assert command.trained == len(rows) == 6
    of = {(row["stage"], row["precision"], row["seed"]): row["losses"] for row in rows}
    told = {(row["case"], row["loss"]): row for row in result["rows"]}
    assert len(told) == 9
    fp32 = of["supernet", "fp32", 0]["G/recon"]
    assert len(fp32) == 3 and told["pix2pix-unet, stage 1", "G.recon"]["fp32"] == fp32[-1]
    drawn = result["curves"]["pix2pix-unet"]
    assert list(drawn["stage 1, G.recon"]) == ["fp32", "bf16", "fp32, seed 1"] and len(drawn) == 6
    assert drawn["stage 1, G.recon"]["bf16"] == of["supernet", "bf16", 0]["G/recon"]
    student = np.sum([values for name, values in of["distill", "bf16", 0].items() if name.startswith("student")], axis=0)
    assert drawn["stage 2, L_OD of the student"]["bf16"] == pytest.approx(student, rel=1e-5)


def test_it_goes_on_where_it_was_stopped(command):
    command(1, "--seeds", "0", "1")
    kept = command.out.with_suffix(".jsonl")
    whole = kept.read_text()
    command(1, "--seeds", "0", "1")
    assert command.trained == 0 and kept.read_text() == whole
    kept.write_text(whole[:-20])  # a kill in the middle of the last line
    command(1, "--seeds", "0", "1")
    assert command.trained == 2
    command(1, "--seeds", "0", "1", "2")
    assert command.trained == 2 and "fp32, seed 2" in command.out.read_text()
    with pytest.raises(UserError, match="give another --out"):
        command(2, "--seeds", "0", "1")


def test_one_seed_tells_no_chance(command, capsys):
    with pytest.raises(SystemExit):
        command(1, "--seeds", "0")
    assert "--seeds needs two" in capsys.readouterr().err
