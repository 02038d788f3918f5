"""The page: what is between the markers, what is kept, and that the same results give the same bytes."""

import json

import pytest
from PIL import Image
from plots import put, write_page
from sections import ratios

from ugc.core.errors import UserError

NAMES = ("step", "ceiling", "curves", "search", "latency", "data", "growth", "gpu")
MACHINE = {"device": "cpu (no chip, 1 threads), fp32", "torch": "0", "commit": "abc", "date": "2000-01-01"}


def rows():
    point = {"size": 64, "batch": 2, "base": 8, "processes": 1}
    stages = (("original", 1), ("supernet", 2))
    return point, [{"family": "f", "stage": stage, **point, "size": size, "seconds": size / k, "own MB": size * size,
                    "peak MB": 1.0, "commit": "def"} for stage, k in stages for size in (64, 128)]


@pytest.fixture
def page(tmp_path):
    """performance.md with every pair of markers, and results of growth."""
    point, steps = rows()
    (tmp_path / "results").mkdir()
    write(tmp_path / "results/growth.json", "growth", steps, unlabelled=[], point=point)
    path = tmp_path / "docs" / "performance.md"
    path.parent.mkdir()
    path.write_text("# Mine\n" + "".join(f"\n## {name}\n\nProse of {name}.\n\n<!-- results: {name} -->\n"
                                         f"<!-- end of results: {name} -->\n" for name in NAMES))
    return path


def write(path, name, some, **also):
    path.write_text(json.dumps({"benchmark": name, "machine": {**MACHINE, **also.pop("machine", {})}, **also, "rows": some}))


def test_what_is_outside_the_markers_is_kept_and_twice_is_once(page):
    before = page.read_text()
    assert write_page(page.parent.parent / "results", page) == ["growth"]
    once = page.read_text()
    plots = {path.name: path.read_bytes() for path in page.with_suffix("").iterdir()}
    assert write_page(page.parent.parent / "results", page) == ["growth"]
    assert page.read_text() == once != before
    assert plots == {path.name: path.read_bytes() for path in page.with_suffix("").iterdir()}
    for line in before.splitlines():
        assert line in once.splitlines()


def test_a_section_says_its_machine_and_shows_plots_that_are_there(page):
    write_page(page.parent.parent / "results", page)
    text = page.read_text()
    assert "cpu (no chip, 1 threads), fp32" in text and "commit def" in text  # the rows' own
    assert "![Time of a step against pixels a side](performance/growth-size-time.png)" in text
    with Image.open(page.with_suffix("") / "growth-size-time.png") as plot:
        assert plot.width == 1640
    assert "| size | f      | original | 64   | 128 | 0.50 | 1.00" in text  # exponents, in pixels


def test_results_that_are_gone_take_their_section_and_plots_along(page):
    before = page.read_text()
    write_page(page.parent.parent / "results", page)
    (page.parent.parent / "results/growth.json").unlink()
    assert write_page(page.parent.parent / "results", page) == []
    assert page.read_text() == before
    assert not list(page.with_suffix("").iterdir())


def test_a_gpu_has_a_section_of_its_own(page):
    point, steps = rows()
    write(page.parent.parent / "results/other.json", "growth", steps, unlabelled=[], point=point,
          machine={"device": "cuda (no chip), bf16"})
    assert write_page(page.parent.parent / "results", page) == ["growth", "gpu"]
    own = page.read_text().split("<!-- results: gpu -->")[1]
    assert "cuda (no chip)" in own and "performance/other-size-time.png" in own and "cpu" not in own


def test_a_step_and_a_loader_are_drawn(page):
    results = page.parent.parent / "results"
    step = {"median s": 1.0, "of peak": "61 %", "of plain": 0.5}
    write(results / "step.json", "step", [{"case": "pix2pix-unet 64 b8, stage 1", "version": "straightforward", **step},
                                          {"case": "pix2pix-unet 64 b8, stage 1", "version": "bf16", **step}])
    loader = {"data": "png 256", "state": "cold", "first pass, pictures/s": 10.0, "pictures/s": 20.0}
    write(results / "data.json", "data", [loader], training=[{"run": "demo", "stage": "original", "share": 0.01}])
    assert write_page(results, page) == ["step", "data", "growth"]
    assert {path.name for path in page.with_suffix("").iterdir()} >= {
        "step-64.png", "step-64-peak.png", "data-waiting.png", "data-loader.png"}


def test_curves_are_drawn_by_family_and_the_farthest_loss_is_named(page):
    rows = [{"case": "f, stage 1", "loss": loss, "bf16 to fp32": far, "seed to seed": "2.00 %", "of that": share,
             "commit": "xyz"}
            for loss, far, share in (("D", "+1.00 %", 0.5), ("G.gan", "-3.00 %", 1.5))]
    lines = {"fp32": [3.0, 2.0, 1.0], "bf16": [3.0, 2.1, 1.1], "fp32, seed 1": [3.2, 2.5, 1.2]}
    write(page.parent.parent / "results/curves.json", "curves", rows, steps=9, curves={"f": {"stage 1, D": lines}})
    assert write_page(page.parent.parent / "results", page) == ["curves", "growth"]
    text = page.read_text()
    assert "in 1 of 2 losses; farthest in f, stage 1, G.gan: -3.00 %, seeds 2.00 %." in text and "commit xyz" in text
    with Image.open(page.with_suffix("") / "curves-f.png") as plot:
        assert plot.width == 1640


def test_a_search_is_drawn_as_how_often_slower_the_other_ways_are(page, monkeypatch):
    drawn = {}
    monkeypatch.setattr("sections.bars", lambda path, groups, *given, **named: drawn.update(groups) or path)
    times = {"lineage, Lite0": 12.5, "ours, fp32": 1.0}
    ways = [{"case": "unet", "way": way, "times ours": ratio} for way, ratio in times.items()]
    write(page.parent.parent / "results/search.json", "search", ways, cost=[{"table": 5}])
    assert write_page(page.parent.parent / "results", page) == ["search", "growth"]
    assert drawn == {"unet": {"lineage, Lite0": 12.5}}
    assert "| table |" in page.read_text()


def test_the_files_of_one_call_of_latency_are_one_section(page, monkeypatch):
    drawn = {}
    monkeypatch.setattr("sections.bars", lambda path, groups, *given, **named: drawn.update({path.name: groups}) or path)
    results = page.parent.parent / "results"
    for threads, times in ((1, 3.0), (2, 2.0)):
        nets = [{"size": "64x64", "runtime": "torch", "threads": threads, "net": net, "x faster than original": faster,
                 "x fewer macs": 12.0} for net, faster in (("original", 1.0), ("student", times))]
        write(results / f"demo-latency-64-torch-{threads}.json", f"latency-64-torch-{threads}", nets)
    write(results / "demo-latency-64-torch-layers.json", "latency-64-torch-layers", [{"layers": "conv", "us": 1.0}])
    write(results / "demo-latency-check-torch.json", "latency-check-torch", [{"off, %": 4.0}], worst=4.0, median=3.0)
    assert write_page(results, page) == ["latency", "growth"]
    assert drawn == {"demo-ratio.png": {"64x64, torch, 1 thread": {"fewer multiply-adds": 12.0, "faster": 3.0},
                                        "64x64, torch, 2 threads": {"fewer multiply-adds": 12.0, "faster": 2.0}}}
    text = page.read_text()
    assert "<summary>64-torch-layers</summary>" in text
    assert "<summary>check-torch: worst 4.0 %, median 3.0 %</summary>" in text


def test_results_of_another_benchmark_are_left_alone(page):
    write(page.parent.parent / "results/other.json", "stages", [{"ms": 12.5}])
    assert write_page(page.parent.parent / "results", page) == ["growth"]


def test_ratios_are_of_the_first_row():
    _, steps = rows()
    found = ratios({("f", "original"): steps[:2]}, "size", "own MB")
    assert found == {"f": {"original": [(64, 1.0), (128, 4.0)]}}


@pytest.mark.parametrize("text", ["", "<!-- results: a -->", "<!-- end of results: a --><!-- results: a -->",
                                  "<!-- results: a --><!-- end of results: a -->" * 2])
def test_markers_must_be_one_pair(text):
    with pytest.raises(UserError, match="results: a"):
        put(text, "a", "new")


def test_a_file_that_is_no_result_is_named(page):
    (page.parent.parent / "results/odd.json").write_text("[1]")
    before = page.read_text()
    with pytest.raises(UserError, match="holds no results"):
        write_page(page.parent.parent / "results", page)
    assert page.read_text() == before
