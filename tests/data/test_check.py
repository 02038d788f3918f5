"""`ugc data check` finds everything at once, and ends as a run on the folder would."""

import json
import os

import numpy as np
import pytest
from PIL import Image

from ugc.data.check import SHOWN


def checked(ugc, folder):
    """(exit status, the JSON, the last line on stderr); the table says the same."""
    told, table = ugc("data", "check", folder, "--json"), ugc("data", "check", folder)
    found = json.loads(told.out)
    assert (table.code, found["starts"]) == (told.code, told.code == 0)
    if told.code:
        assert told.last == table.last == f"ugc: {found['error']}"
    for problem in found["problems"]:
        assert problem["count"] == len(problem["where"]) and f"{problem['kind']}: {problem['count']}" in table.out
    return told.code, found, table.out


def problems(found):
    return {p["kind"].split(" (")[0]: p["where"] for p in found["problems"]}


def test_a_sound_folder(ugc, tiny_data):
    code, found, table = checked(ugc, tiny_data)
    assert code == 0 and found["problems"] == [] and found["error"] is None and "can train" in table
    assert {key: found[key] for key in ("pairs", "unlabelled", "test", "test_from", "layout")} == {
        "pairs": 8, "unlabelled": 12, "test": 4, "test_from": "test", "layout": "trainA trainB testA testB"}
    side = {"sizes": {"40x40": 24}, "channels": {"3": 24}, "bits": {"8": 24}}
    assert found["source"] == {"pictures": 24, **side}
    assert found["target"] == {"pictures": 12, **{key: dict.fromkeys(count, 12) for key, count in side.items()}}


def test_all_that_is_wrong_is_listed(ugc, pairs_in, tiny, tmp_path):
    data = pairs_in(tmp_path / "data")
    (data / "trainA/05.png").write_text("text")
    (data / "trainB/06.png").write_bytes(b"")
    cut = data / "testA/00.png"
    cut.write_bytes(cut.read_bytes()[:64])
    Image.open(data / "trainB/07.png").resize((40, 60)).save(data / "trainB/07.png")
    Image.open(data / "trainB/03.png").resize((80, 80)).save(data / "trainB/03.png")
    (data / "trainB/04.png").rename(data / "trainB/x4.png")
    (data / "testB/02.png").unlink()
    Image.open(data / "trainA/01.png").convert("RGB").save(data / "testA/03.png", compress_level=0)
    Image.open(data / "trainB/02.png").save(data / "testB/01.webp", lossless=True)
    (data / "testB/01.png").unlink()
    code, found, _ = checked(ugc, data)
    assert code == 2
    wrong = problems(found)
    assert [line.split()[0] for line in wrong.pop("unreadable files")] == ["trainA/05.png", "trainB/06.png", "testA/00.png"]
    assert wrong == {
        "pairs of different proportions": ["trainA/07.png of 40x40 and trainB/07.png of 60x40"],
        "pairs of different sizes": ["trainA/03.png of 40x40 and trainB/03.png of 80x80"],
        "targets without a source": ["trainB/x4.png"],
        "test sources without a target": ["testA/02.png"],
        "the same source in train and test": ["testA/03.png is trainA/01.png"],
        "the same target in train and test": ["testB/01.webp is trainB/02.png"]}
    assert (found["pairs"], found["unlabelled"], found["test"]) == (7, 13, 3)
    told = ugc("run", data, "--out", tmp_path / "run", *tiny)
    assert told.code == 2 and told.last == f"ugc: {found['error']}"


def test_what_is_ignored_is_named(ugc, pairs_in, tmp_path):
    data = pairs_in(tmp_path / "data", pairs=8, alone=0)
    (data / "trainA/05.png").rename(data / "trainA/05.heic")
    (data / "trainB/05.png").rename(data / "trainB/05.gif")
    (data / "trainA/no\udce9.txt").write_text("")
    (data / "trainA/.hidden").write_text("")
    (data / "testA/00.png").unlink()
    (data / "testA/00.png").symlink_to(data / "gone.png")
    os.mkfifo(data / "trainA/pipe.png")
    (data / "trainA/dir.png").mkdir()
    (data / "trainA/more").symlink_to(data / "testA")
    code, found, table = checked(ugc, data)
    assert code == 0 and found["pairs"] == 7 and found["other_files"] == 4 and found["test"] == 3
    assert problems(found) == {
        "unreadable files": ["trainA/dir.png is a folder", "trainA/pipe.png is no file (a pipe, a device)",
                             "testA/00.png is a link to nothing"],
        "targets without a source": ["testB/00.png"],
        "other files": ["trainA/05.heic", "trainA/more/ (a link to a folder)", "'trainA/no\\udce9.txt'", "trainB/05.gif"]}
    for i in range(SHOWN):
        (data / f"trainB/{i}.gif").write_text("")
    _, found, table = checked(ugc, data)
    assert found["other_files"] == SHOWN + 4 and "and 4 more" in table


def no_picture(data):
    (data / "trainA/05.png").write_text("text")


def cut_source(data):
    cut(data / "trainA/05.png")


def cut_target(data):
    cut(data / "trainB/05.png")


def cut(path):
    path.write_bytes(path.read_bytes()[:64])


def other_shape(data):
    Image.open(data / "trainB/03.png").resize((80, 40)).save(data / "trainB/03.png")


def no_pair(data):
    for path in (data / "trainB").iterdir():
        path.rename(path.with_stem(f"x{path.stem}"))


def one_side(data):
    for path in (data / "trainB").iterdir():
        path.unlink()


def same_stem(data):
    Image.new("RGB", (8, 8)).save(data / "trainA/00.webp")


@pytest.mark.parametrize("spoil", [no_picture, cut_source, cut_target, other_shape, no_pair, one_side, same_stem])
def test_it_ends_with_the_sentence_of_a_run(spoil, ugc, ugc_home, pairs_in, tiny, tmp_path):
    data = pairs_in(tmp_path / "data", pairs=6, alone=0)
    spoil(data)
    told = ugc("data", "check", data)
    run = ugc("run", data, "--out", tmp_path / "run", *tiny, "--until", "original")
    assert told.code == run.code == 2 and told.last == run.last


def test_what_training_does_not_read_only_warns(ugc, pairs_in, tmp_path):
    """A target without a source, and val where there is test, are read by nobody."""
    data = pairs_in(tmp_path / "data")
    for name in ("trainB/alone.png", "valA/0.png", "valB/0.png"):
        (data / name).parent.mkdir(exist_ok=True)
        (data / name).write_text("text")
    code, found, _ = checked(ugc, data)
    assert code == 0 and len(problems(found)["unreadable files"]) == 3


def test_long_lists_are_cut_for_people_only(ugc, pairs_in, tmp_path):
    data = pairs_in(tmp_path / "data", pairs=8, alone=0)
    for i in range(SHOWN + 3):
        Image.new("RGB", (8, 8)).save(data / "trainB" / f"more {i}.png")
    _, found, table = checked(ugc, data)
    assert len(problems(found)["targets without a source"]) == SHOWN + 3
    assert "and 3 more" in table and table.count("trainB/more ") == SHOWN


def test_twins_where_the_test_is_drawn(ugc, tmp_path):
    """Side by side, no test: equal halves in two pairs; and one pair wider than high is not."""
    rng = np.random.default_rng(0)
    pixels = [rng.integers(0, 256, (8, 16, 3), dtype=np.uint8) for _ in range(6)]
    pixels[4][:, :8] = pixels[1][:, :8]
    for i, picture in enumerate(pixels):
        Image.fromarray(picture).save(tmp_path / f"{i}.png")
    code, found, _ = checked(ugc, tmp_path)
    assert code == 0 and problems(found) == {"the same source twice": ["1.png is 4.png"]}
    assert (found["pairs"], found["test"], found["source"]["sizes"]) == (5, 1, {"8x8": 6})
    Image.new("RGB", (8, 8)).save(tmp_path / "7.png")
    code, found, _ = checked(ugc, tmp_path)
    assert code == 2 and problems(found)["not two halves side by side"] == ["7.png is 8x8"]


def test_no_layout_and_no_folder(ugc, tmp_path):
    code, found, _ = checked(ugc, tmp_path)
    assert code == 2 and found["layout"] is None and "found nothing" in found["error"]
    told = ugc("data", "check", tmp_path / "none")
    assert told.code == 2 and "is no folder" in told.last and not told.out
