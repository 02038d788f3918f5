"""Exponents of known laws, which cases there are, and that what is measured is not measured again."""

import json
import sys

import pytest
from apart import CaseError
from growth import POINT, along, cases, exponent, exponents, main

from ugc.core.errors import UserError


def law(**changes):
    """A row whose time is 3 pixels^1.5 width^2 / processes and whose memory is batch^0.5."""
    case = {"family": "f", "stage": "s", **POINT, **changes}
    seconds = 3 * (case["size"] ** 2) ** 1.5 * case["base"] ** 2 / case["processes"]
    return {**case, "seconds": seconds, "own MB": case["batch"] ** 0.5}


def test_the_exponent_of_a_power_law_is_its_power():
    x = [1, 2, 8, 100]
    assert exponent(x, [5 * a**1.7 for a in x]) == pytest.approx(1.7)
    assert exponent(x, [5.0] * 4) == pytest.approx(0)


def test_the_exponent_is_that_of_the_line_through_the_middle():
    assert exponent([1, 4, 16], [1, 8, 16]) == pytest.approx(1.0)  # slopes 1.5 and 0.5


def test_exponents_count_pixels_images_width_and_processes():
    axes = {"size": (64, 256), "batch": (1, 8), "base": (16, 64), "processes": (1, 2)}
    rows = [law(**{axis: value}) for axis, values in axes.items() for value in values]
    rows.append(law(size=512, batch=8))  # off every axis
    found = {row["axis"]: row for row in exponents(rows, axes, POINT)}
    assert [found[axis]["time"] for axis in axes] == pytest.approx([1.5, 0, 2, -1])
    assert [found[axis]["memory"] for axis in axes] == pytest.approx([0, 0.5, 0, 0])
    assert (found["size"]["from"], found["size"]["to"]) == (64, 256)


def test_one_value_of_an_axis_has_no_exponent():
    assert exponents([law(), law()], ["size"], POINT) == []


def test_the_cases_are_the_point_and_one_axis_at_a_time():
    found = list(cases(["f"], ["s"], {"size": (64, 128), "batch": (1, 2)}, POINT))
    assert [(case["size"], case["batch"]) for case in found] == [(64, 2), (128, 2), (128, 1)]
    assert [row["size"] for row in along(found, "size", POINT)["f", "s"]] == [64, 128]


# ---- the command, with a measurement that costs nothing ----


@pytest.fixture
def growth(monkeypatch, tmp_path):
    """growth(words) runs the command; what was measured is in `growth.asked`, and a case of batch `growth.bad` fails."""

    def apart(script, case, threads, processes=1, **environment):
        if "folder" in case:
            run.asked.append("unlabelled")
            return {"open s": 1.0, "decode s": 2.0, "batch ms": 3.0, "peak MB": 4.0}
        run.asked.append((case["case"]["size"], case["case"]["batch"], threads))
        if case["case"]["batch"] == run.bad:
            raise CaseError("killed")
        return law(**case["case"])

    def run(*words):
        run.asked = []
        options = ["--families", "f", "--stages", "s", "--size", "64,128", "--base", "32", "--processes", "1",
                   "--set", "device=cpu", "--set", "precision=fp32", "--out", str(run.out), *words]
        monkeypatch.setattr(sys, "argv", ["growth.py", *options])
        main()

    monkeypatch.setattr("growth.apart", apart)
    run.out, run.bad = tmp_path / "results" / "growth.json", 0
    return run


def test_what_is_there_is_not_measured_again(growth, capsys):
    growth("--batch", "2", "--unlabelled", "70")
    assert len(growth.asked) == 4  # two sizes; cold and warm
    growth("--batch", "2,4", "--unlabelled", "70")
    assert growth.asked == [(128, 4, growth.asked[0][2])]
    kept = json.loads(growth.out.read_text())
    assert [(row["size"], row["batch"]) for row in kept["rows"]] == [(64, 2), (128, 2), (128, 4)]
    assert [row["unlabelled"] for row in kept["unlabelled"]] == [70]
    assert "1.5" in capsys.readouterr().out  # of pixels


def test_a_case_that_fails_is_tried_again_and_the_others_are_kept(growth):
    growth.bad = 4
    with pytest.raises(SystemExit, match="1 cases failed"):
        growth("--batch", "1,4", "--unlabelled", "")
    growth.bad = 0
    growth("--batch", "1,4", "--unlabelled", "")
    assert [asked[:2] for asked in growth.asked] == [(128, 4)]


def test_rows_of_other_settings_are_not_mixed(growth):
    growth("--batch", "2", "--unlabelled", "")
    with pytest.raises(UserError, match="give another --out"):
        growth("--batch", "2", "--unlabelled", "", "--set", "optimiser.lr=1e-4")
    about = json.loads(growth.out.read_text())
    about["machine"]["device"] = "cpu (another)"
    growth.out.write_text(json.dumps(about))
    with pytest.raises(UserError, match="cpu \\(another\\)"):
        growth("--batch", "2", "--unlabelled", "")
