"""The report: all of a run on one page that needs nothing else, also of a run that stopped, and safe with any names."""

from __future__ import annotations

import html
import importlib.util
import json
import re
import shutil
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from ugc.engine.curves import panel_of
from ugc.engine.drawing import layers, parse
from ugc.engine.page import Html, duration, flat, markup, plain, si, tag
from ugc.engine.plots import pareto_plot
from ugc.engine.report import write_report

Fake = Callable[..., Path]
VOID = {"img", "meta", "br", "use", "path", "rect"}


def _fake_run() -> Fake:
    spec = importlib.util.spec_from_file_location("fake_run", Path(__file__).with_name("fake_run.py"))
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["fake_run"] = module
    spec.loader.exec_module(module)
    made: Fake = module.fake_run
    return made


fake_run = _fake_run()


class Page(HTMLParser):
    """The elements of a page, its text, and whether every element is closed."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag, f"</{tag}> closes something else"

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))

    def all(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.elements if tag == name]

    @property
    def titles(self) -> list[str]:
        return [html.unescape(t) for t in re.findall(r"<h2>(.*?)</h2>", self.source)]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run with its report; tests that change it copy it."""
    run = fake_run(tmp_path_factory.mktemp("runs") / "finished")
    write_report(run)
    return run


@pytest.fixture(scope="module")
def page(finished: Path) -> Page:
    return Page(finished / "report.html")


def test_it_is_one_file_that_fetches_nothing(page: Page) -> None:
    assert page.open == []
    assert not {"script", "link", "iframe", "object", "base"} & {name for name, _ in page.elements}
    for _, attributes in page.elements:
        for key in ("src", "href", "xlink:href", "srcset", "data", "action"):
            value = attributes.get(key)
            assert value is None or value.startswith(("data:image/", "#")), (key, value)
    assert "@import" not in page.source and not re.search(r"url\((?!#)", page.source)
    assert "<metadata" not in page.source


def test_every_sample_and_the_training_grids_are_embedded(page: Page, finished: Path) -> None:
    samples = list((finished / "stages/test/samples").glob("*.png"))
    assert len(samples) == 48
    grids = 4 + 4 + 8  # of the ten of distill eight are kept
    assert len(page.all("img")) == len(samples) + grids
    assert all(image["alt"] and image["width"] for image in page.all("img"))
    assert "distill, 8 of 10" in page.text and "step 3,000" in page.text


def test_the_verdict_says_size_quality_and_what_a_copy_scores(page: Page) -> None:
    verdict = re.search(r'class="verdict">(.*?)</p>', page.source)
    assert verdict and re.sub("<.*?>", "", verdict.group(1)) == (
        "A student of 21.3 M MACs, 12.9 times fewer than the original (17.6 as the papers count), scores 12.1 dB PSNR "
        "against the original’s 12.4; copying the source scores 10.4.")


def test_all_numbers_of_metrics_json_are_in_the_tables(page: Page, finished: Path) -> None:
    rows = json.loads((finished / "metrics.json").read_text())["rows"]
    digits = {"psnr": 2, "ssim": 3, "l1": 3, "ink_iou": 3, "ink_grey": 2, "kd_efflite0": 1, "fd_efflite0": 1}
    cells = re.findall(r"<td[^>]*>(.*?)</td>", page.source)
    for row in rows.values():
        for key, value in row.items():
            if key in digits:
                assert f"{value:.{digits[key]}f}".replace("-", "−") in cells
            elif key in ("params", "macs", "macs_paper"):
                assert si(value) in cells
    floor = re.search(r"<tr[^>]*><th>floor</th>(.*?)</tr>", page.source)
    assert floor and floor.group(1).count("–") == 5, "what was not measured is a dash"
    assert "17.6" in cells, "macs_paper is 441 M / 25.1 M times fewer"
    assert "peak signal-to-noise ratio, peak 2, mean over images" in page.text, "the protocol is said"


def test_intervals_stand_under_distances_and_the_floors_count_below(finished: Path, tmp_path: Path) -> None:
    run = shutil.copytree(finished, tmp_path / "run")
    metrics = json.loads((run / "metrics.json").read_text())
    metrics["intervals"] = {"student": {"kd_efflite0": [127.2, 141.6]}, "floor": {"kd_efflite0": [-1.25, None]}}
    metrics["half"] = {"student": {"fd_efflite0": 190.4}, "floor": {"fd_efflite0": 13.9}, "copy": {"fd_efflite0": "?"}}
    metrics["protocol"]["floor_images"] = 1024
    (run / "metrics.json").write_text(json.dumps(metrics))
    page = Page(write_report(run))
    student = re.search(r"<tr[^>]*><th>student</th>(.*?)</tr>", page.source)
    assert student and ">133.7<" in student.group(1) and ">127.2 to 141.6<" in student.group(1)
    assert page.source.count('class="ends"') == 1, "what is no interval is left out"
    assert "FD (Lite0) of 1,024 images, as many as the floor is of: student 190.4, floor 13.9." in page.text


def test_a_student_that_a_copy_beats_is_not_praised(finished: Path, tmp_path: Path) -> None:
    run = shutil.copytree(finished, tmp_path / "run")
    metrics = json.loads((run / "metrics.json").read_text())
    metrics["rows"]["copy"]["psnr"] = 12.6
    (run / "metrics.json").write_text(json.dumps(metrics))
    assert "that is no better than copying the source, which scores 12.6." in Page(write_report(run)).text


def test_of_label_maps_miou_comes_first_between_its_ceiling_and_floor(finished: Path, tmp_path: Path) -> None:
    run = shutil.copytree(finished, tmp_path / "run")
    metrics = json.loads((run / "metrics.json").read_text())
    rows = metrics["rows"]
    rows["palette"], rows["photos"] = rows.pop("copy"), {}
    for name, value in (("student", 51.24), ("original", 58.71), ("palette", 20.33), ("photos", 83.5)):
        rows[name] |= {"miou_segnet_streets": value, "pixel_accuracy_segnet_streets": value + 10}
    metrics.setdefault("intervals", {})["student"] = {"miou_segnet_streets": [49.1, 53.2]}
    (run / "metrics.json").write_text(json.dumps(metrics))
    page = Page(write_report(run))
    verdict = re.search(r'class="verdict">(.*?)</p>', page.source)
    assert verdict and re.sub("<.*?>", "", verdict.group(1)).endswith(
        "scores 51.2 % mIoU against the original’s 58.7; the label map in its colours scores 20.3, and the photos "
        "themselves 83.5.")
    heads = re.findall(r"<th[^>]*>(mIoU|pixel accuracy|PSNR)", page.source)
    assert heads == ["mIoU", "pixel accuracy", "PSNR"] and "49.1 to 53.2" in page.text
    assert ("mIoU lies between label map in its colours 20.3 (the floor) and the photos themselves 83.5 (the ceiling: "
            "as the segmenter errs on real ones).") in page.text
    assert "The label map in its colours is the source as the answer" in page.text
    assert "trained on rendered streets" in page.text, "the protocol is said"
    names = re.findall(r"<tr[^>]*><th>(student|label map in its colours|the photos themselves|floor)</th>", page.source)
    assert names[:4] == ["student", "label map in its colours", "the photos themselves", "floor"]


def test_recipe_labels_environment_and_attribution_are_there(page: Page) -> None:
    for words in ("distillation.l1", "25 % of the pairs", "at most 36.8 M macs_paper", "512 labelled pairs", "U+4E4A",
                  "The wide teacher has no inserted block.", "SIL Open Font License", "2.13.0", "14 min 03 s",
                  "All 448 nets", "448 nets scored, 48 s", "1 − SSIM × 10, L1 × 100", "cdcdcd"):
        assert words in page.text, words
    assert "secret" not in page.text, "of a path on somebody's machine only the last name is shown"


def test_the_same_files_give_the_same_bytes(finished: Path, tmp_path: Path) -> None:
    run = shutil.copytree(finished, tmp_path / "elsewhere")
    assert write_report(run).read_bytes() == (finished / "report.html").read_bytes()
    first = pareto_plot(run / "stages/search/pareto.json")
    assert first == run / "stages/search/pareto.svg"
    before = first.read_bytes()
    pareto_plot(run / "stages/search/pareto.json")
    assert first.read_bytes() == before and b"deep teacher</text>" in before and b"dc:date" not in before


@pytest.mark.parametrize(("until", "there", "absent"), [
    ("nothing", ["Training"], ["Test images", "The numbers", "The architecture", "Quality against cost"]),
    ("supernet", ["Training"], ["Test images", "The numbers", "The architecture", "Quality against cost"]),
    ("search", ["Training", "The architecture", "Quality against cost"], ["Test images", "The numbers"]),
    ("distill", ["Training", "The architecture", "Quality against cost"], ["Test images", "The numbers"]),
])
def test_a_run_that_stopped_shows_what_it_has_and_says_so(
    tmp_path: Path, until: str, there: list[str], absent: list[str]
) -> None:
    page = Page(write_report(fake_run(tmp_path, until=until)))
    assert set(there) <= set(page.titles) and not set(absent) & set(page.titles)
    assert "This run has not finished" in page.text and page.open == []
    if until == "search":
        assert "original, supernet and search are done, distill and test are not" in page.text
        assert "stopped at step 1,000 of 3,000" in page.text and "There is no student yet." in page.text
    if until == "distill":
        assert "It has not been measured on the test images yet." in page.text


def test_without_an_original_its_column_goes_and_its_cost_stays(tmp_path: Path) -> None:
    page = Page(write_report(fake_run(tmp_path, original=False)))
    text = re.sub(" +([,;])", r"\1", page.text)
    assert "12.9 times fewer than the original (17.6 as the papers count), scores 12.1 dB PSNR; copying" in text
    assert len([i for i in page.all("img") if "of test image" in (i["alt"] or "")]) == 36
    assert not any((i["alt"] or "").startswith("original of") for i in page.all("img"))


def test_names_with_markup_are_text(tmp_path: Path) -> None:
    page = Page(write_report(fake_run(tmp_path, unet=True, ugly=True)))
    assert page.open == [] and not page.all("script")
    assert "<script>alert('note')</script> & more" in page.text
    assert "<b>folder</b>/a very long name" in page.text and "<b>folder" not in page.source
    assert len(page.all("rect")) > 40, "the UNet is drawn"


def test_an_empty_folder_and_broken_files_still_give_a_page(tmp_path: Path) -> None:
    assert "There is no student yet." in Page(write_report(tmp_path)).text
    (tmp_path / "recipe.json").write_text("{not json")
    (tmp_path / "metrics.json").write_text("[]")
    assert "no stage has ended yet" in Page(write_report(tmp_path)).text


def test_big_grids_are_made_lighter_and_small_pictures_stay_exact(finished: Path, tmp_path: Path) -> None:
    run = shutil.copytree(finished, tmp_path / "run")
    grid = run / "stages/distill/grid-00003000.png"
    Image.effect_noise((2000, 700), 80).save(grid)
    source = write_report(run).read_text()
    assert source.count("data:image/jpeg") == 1 and "pixelated" in source
    assert len(source) < 2_500_000


def test_layers_of_all_families() -> None:
    resnet = layers(parse("stem=8,down1=6,down2=4,mid1=5,mid2=6,mid3=7,up1=3,up2=2,d.down1=1,d.down2=0,d.up1=2,d.up2=0"), {})
    assert [(x.name, x.channels, x.inserted, x.repeats) for x in resnet] == [
        ("stem", 8, None, 1), ("down1", 12, 1, 1), ("down2", 16, 0, 1), ("mid1", 20, None, 3), ("mid2", 24, None, 3),
        ("mid3", 28, None, 3), ("up1", 6, 2, 1), ("up2", 2, 0, 1)]
    assert resnet[3].stream == 16
    each = layers(parse("stem=8,down1=6,down2=4,mid1=5,mid2=6,up1=3,up2=2"), {"blocks": 2, "groups": 2})
    assert [(x.name, x.channels, x.repeats) for x in each[3:5]] == [("mid1", 20, 1), ("mid2", 24, 1)]
    unet = layers(parse("w1=3,w2=4,w4=5,d.down1=1,d.down2=0,d.up3=2,d.up2=1"), {})
    assert [(x.name, x.channels, x.inserted) for x in unet] == [
        ("down1", 3, 1), ("down2", 8, 0), ("down3", 20, None), ("up3", 8, 2), ("up2", 3, 1)]
    deep = layers(parse("stem=8,down1=6,down2=4,down3=3,down4=2,up1=5,up2=4,up3=3,up4=2,d.down1=0,d.down2=0,d.down3=0,"
                        "d.down4=1,d.up1=2,d.up2=0,d.up3=0,d.up4=0"), {"blocks": 9})
    assert [(x.name, x.channels, x.inserted, x.repeats, x.stream) for x in deep] == [
        ("stem", 8, None, 1, 0), ("down1", 12, 0, 1, 0), ("down2", 16, 0, 1, 0), ("down3", 24, 0, 1, 0),
        ("down4", 32, 1, 1, 0), ("body", 32, None, 9, 32), ("up1", 40, 2, 1, 0), ("up2", 16, 0, 1, 0),
        ("up3", 6, 0, 1, 0), ("up4", 2, 0, 1, 0)]
    spade = layers(parse("fc=1,head=2,middle0=3,middle1=1,up0=5,up1=6,up2=7,up3=8,d.middle0=2,d.middle1=0,d.up0=0,d.up1=1,"
                         "d.up2=0,d.up3=0"), {})
    assert [(x.name, x.channels, x.inserted) for x in spade] == [
        ("fc", 16, None), ("head", 32, None), ("middle0", 48, 2), ("middle1", 16, 0), ("up0", 40, 0), ("up1", 24, 1),
        ("up2", 14, 0), ("up3", 8, 0)]
    assert [x.name for x in layers({"a": 3, "d.a": 1, "b": 2}, {})] == ["a", "b"]


@pytest.mark.parametrize(("key", "panel"), [
    ("student/A.deep.ssim", ("student, 1 − SSIM", "A deep")), ("D_wide/gan", ("discriminator, adversarial", "wide")),
    ("D/gan", ("discriminator, adversarial", "D")), ("deep/recon", ("teachers, L1 to the target", "deep")),
    ("G/s.style", ("generator, style", "s")), ("G/gan", ("generator, adversarial", "adversarial")), ("x", ("x", "x"))])
def test_which_panel_a_curve_is_in(key: str, panel: tuple[str, str]) -> None:
    assert panel_of(key) == panel


@pytest.mark.parametrize(("value", "words"), [
    (0, "0"), (512, "512"), (21_300_000, "21.3 M"), (999_600, "1.00 M"), (56.8e9, "56.8 G"), (1234, "1.23 k")])
def test_numbers_as_people_read_them(value: float, words: str) -> None:
    assert si(value) == words


def test_helpers() -> None:
    assert [duration(s) for s in (4.4, 200, 7500)] == ["4 s", "3 min 20 s", "2 h 05 min"]
    nested: dict[str, Any] = {"a": {"b": [1, None], "c": {}}, "d": "/home/me/set", "e": True}
    assert flat(nested) == [("a.b", "[1, null]"), ("a.c", "{}"), ("d", "…/set"), ("e", "true")]
    assert plain("C:\\me\\set") == "…/set"
    assert tag("p", "1 < 2", Html("<b>x</b>"), title='"') == '<p title="&quot;">1 &lt; 2<b>x</b></p>'
    assert markup(["a", None, ["b"]]) == "ab"


def change(path: Path, **fields: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def test_of_all_sessions_it_says_where_they_ran(tmp_path: Path) -> None:
    run = fake_run(tmp_path / "run")
    one = json.loads((run / "env.json").read_text())
    versions = {**one["versions"], "torch": "2.14.0"}
    other = {**one, "commit": "4567def", "versions": versions, "started": "2026-11-24T10:00:00Z"}
    change(run / "env.json", sessions=[one, other, one])
    text = " ".join(Page(write_report(run)).words)
    assert "0123abc, then 4567def" in text and "2.13.0, then 2.14.0" in text and "2026-11-24" not in text
    assert "torch 2.13.0, then torch" not in text and "cpu (a processor, 2 threads), bf16, then" not in text


def test_what_was_taken_over_is_marked_and_no_time_of_this_run(tmp_path: Path) -> None:
    run = fake_run(tmp_path / "run")
    before = Page(write_report(run)).words
    change(run / "run.json", **{"from": "/home/somebody/runs/first"})
    after = Page(write_report(run)).words
    taken = [word for word in after if word.endswith("taken over")]
    assert len(taken) == 2 and not any(word.endswith("taken over") for word in before)
    whole, rest = (words[words.index("in all") + 1] for words in (before, after))
    assert whole != rest
    done = {path.parent.name: json.loads(path.read_text()).get("seconds", 0) for path in run.glob("stages/*/done.json")}
    assert whole == duration(sum(done.values()))
    assert rest == duration(sum(value for stage, value in done.items() if stage not in ("original", "supernet")))


def test_steps_are_those_that_the_method_makes_of_the_recipes(tmp_path: Path) -> None:
    """Without NAS stage 2 takes both stages' steps."""
    run = fake_run(tmp_path / "run", until="search")
    change(run / "run.json", steps={"original": 3000, "supernet": 2500, "distill": 5500})
    text = " ".join(Page(write_report(run)).words)
    assert re.search(r"stopped at step [\d,]+ of 5,500", text) and "distill 5,500" in text
