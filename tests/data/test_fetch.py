"""Public sets from a server of our own: whole or absent, the same as the first time, and what `ugc run` then reads."""

import io
import json
import re
import shlex
import shutil
import tarfile

import numpy as np
import pytest
from PIL import Image

from ugc.core.errors import UserError
from ugc.core.pins import pin_file
from ugc.data import fetch as module
from ugc.data.dataset import DataConfig, open_dataset
from ugc.data.fetch import SOURCES, fetch_set
from ugc.recipes.table import TABLE, parsed


def pair(seed):
    """A JPEG of 40 x 80: left dark, right light."""
    rng = np.random.default_rng(seed)
    both = np.concatenate([rng.integers(0, 100, (40, 40, 3)), rng.integers(150, 256, (40, 40, 3))], 1).astype(np.uint8)
    out = io.BytesIO()
    Image.fromarray(both).save(out, "JPEG", quality=95)
    return out.getvalue()


def archive(*extra, top="facades/", **splits):
    """A .tar.gz as the site packs them, of so many pairs a split."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        members = [(f"{top}{split}/{i + 1}.jpg", pair(i)) for split, count in splits.items() for i in range(count)]
        for name, body in members:
            info = tarfile.TarInfo(name)
            info.size = len(body)
            tar.addfile(info, io.BytesIO(body))
        for info in extra:
            tar.addfile(info)
    return out.getvalue()


@pytest.fixture
def site(server, monkeypatch):
    monkeypatch.setattr(module, "SITE", server.address)
    server.headers = {"ETag": '"one"'}
    server.data = archive(train=6, val=2, test=3)
    return server


def cached(home):
    return home / "archives" / "facades.tar.gz"


def shown(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_set_is_fetched_and_read(site, tmp_path, home):
    done = fetch_set("facades", tmp_path / "facades")
    assert done.counts == {"train": 6, "val": 2, "test": 3}
    assert shown(tmp_path) == ["facades"]
    assert shown(tmp_path / "facades") == [".fetched.json", "README.txt", "test", "train", "val"]
    dataset = open_dataset(DataConfig(path=str(tmp_path / "facades"), direction="BtoA"), 0)
    assert (len(dataset.train), len(dataset.test)) == (6, 3)
    record = dataset.train[0]
    source, target = (dataset.read(side, 40, 40, load=False) for side in (record.source, record.target))
    assert source.mean() > 128 > target.mean()
    assert "Tylecek" in dataset.attribution and "no pictures" not in " ".join(dataset.notes)
    assert "Tylecek" in (tmp_path / "facades/README.txt").read_text()


def test_the_same_again_does_nothing(site, tmp_path):
    fetch_set("facades", tmp_path / "facades")
    site.status = 500
    asked = len(site.asked)
    before = [path.stat().st_mtime_ns for path in sorted((tmp_path / "facades").rglob("*"))]
    done = fetch_set("facades", tmp_path / "facades")
    assert "nothing was done" in done.notes[0] and done.counts["train"] == 6
    assert len(site.asked) == asked
    assert [path.stat().st_mtime_ns for path in sorted((tmp_path / "facades").rglob("*"))] == before


def test_another_folder_comes_from_the_cache(site, tmp_path, home):
    fetch_set("facades", tmp_path / "one")
    asked = len(site.asked)
    fetch_set("facades", tmp_path / "deep/two")
    assert len(site.asked) == asked
    assert shown(tmp_path / "deep/two") == shown(tmp_path / "one")


def test_without_a_network_a_file_put_by_hand_will_do(site, tmp_path, home):
    site.status = 503
    with pytest.raises(UserError, match=r"answered 503.*get .* elsewhere and put it at (.*)") as error:
        fetch_set("facades", tmp_path / "facades")
    place = str(error.value).rpartition(" put it at ")[2]
    assert place == str(cached(home)) and shown(tmp_path) == []
    cached(home).write_bytes(site.data)
    assert fetch_set("facades", tmp_path / "facades").counts["train"] == 6


def test_the_first_digest_is_noted_and_said_and_later_ones_must_agree(site, tmp_path, home):
    done = fetch_set("facades", tmp_path / "one")
    note = json.loads(pin_file(cached(home)).read_text())
    assert note["size"] == len(site.data)
    assert any(note["sha256"] in sentence and "no digest" in sentence for sentence in done.notes)
    cached(home).unlink()
    assert not any("no digest" in sentence for sentence in fetch_set("facades", tmp_path / "two").notes)  # noted already
    cached(home).unlink()
    site.data, site.headers = archive(train=6, val=2, test=4), {"ETag": '"two"'}
    with pytest.raises(UserError, match=r"gave another file.*first download"):
        fetch_set("facades", tmp_path / "three")
    assert shown(tmp_path) == ["one", "two"]


def test_a_known_digest_counts_from_the_first_time(site, tmp_path, monkeypatch):
    known = module.Source("facades.tar.gz", "a", "b", "AtoB", {}, "terms", size=len(site.data), sha256="0" * 64)
    monkeypatch.setattr(module, "SOURCES", {"facades": known})
    with pytest.raises(UserError, match=r"sha256 .* instead of 0000"):
        fetch_set("facades", tmp_path / "facades")
    assert shown(tmp_path) == []


def test_a_spoilt_archive_is_not_noted_and_fetched_again(site, tmp_path, home):
    whole = site.data
    site.data = whole[:-1000] + bytes(100) + whole[-900:]
    with pytest.raises(UserError, match=r"is damaged.*removed, and the same command fetches it again"):
        fetch_set("facades", tmp_path / "facades")
    assert shown(tmp_path) == [] and not cached(home).exists() and not pin_file(cached(home)).exists()
    site.data = whole
    assert fetch_set("facades", tmp_path / "facades").counts["train"] == 6


def test_an_evil_archive_leaves_nothing(site, tmp_path):
    link = tarfile.TarInfo("facades/train/out")
    link.type, link.linkname = tarfile.SYMTYPE, "/"
    site.data = archive(link, train=6, val=2)
    with pytest.raises(UserError, match=r"a link.*refused"):
        fetch_set("facades", tmp_path / "facades")
    assert shown(tmp_path) == []


def test_a_stop_while_unpacking_leaves_no_folder(site, tmp_path, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("ugc.core.archive._write", stop)
    with pytest.raises(KeyboardInterrupt):
        fetch_set("facades", tmp_path / "facades")
    assert shown(tmp_path) == []
    monkeypatch.undo()
    monkeypatch.setattr(module, "SITE", site.address)


def test_what_a_kill_left_is_no_folder_and_is_cleared(site, tmp_path):
    (tmp_path / ".facades.part/facades/train").mkdir(parents=True)
    (tmp_path / ".facades.part/facades/train/old.jpg").write_bytes(b"half")
    fetch_set("facades", tmp_path / "facades")
    assert shown(tmp_path) == ["facades"] and not (tmp_path / "facades/train/old.jpg").exists()


def test_a_folder_that_holds_something_else_is_left_alone(site, tmp_path):
    (tmp_path / "facades").mkdir()
    (tmp_path / "facades/mine.txt").write_text("mine")
    with pytest.raises(UserError, match=r"exists already and is not facades; choose another --out"):
        fetch_set("facades", tmp_path / "facades")
    assert site.asked == [] and shown(tmp_path / "facades") == ["mine.txt"]
    (tmp_path / "empty").mkdir()
    assert fetch_set("facades", tmp_path / "empty").counts["train"] == 6
    with pytest.raises(UserError, match=r"is not maps"):
        fetch_set("maps", tmp_path / "empty")


def test_a_folder_that_has_lost_pictures_is_told(site, tmp_path):
    fetch_set("facades", tmp_path / "facades")
    (tmp_path / "facades/train/3.jpg").unlink()
    with pytest.raises(UserError, match=r"held train 6, val 2, test 3 .* now holds train 5, val 2, test 3; remove it"):
        fetch_set("facades", tmp_path / "facades")


def test_no_pairs_inside(site, tmp_path):
    site.data = archive(top="facades/pictures/", trainA=2)
    with pytest.raises(UserError, match=r"is no set of pairs side by side: it has no folder train"):
        fetch_set("facades", tmp_path / "facades")
    assert shown(tmp_path) == []


def test_counts_that_others_did_not_find_are_told(site, tmp_path):
    assert any("Others counted train 400, val 100, test 106" in note for note in fetch_set("facades", tmp_path / "f").notes)


def test_too_little_room_to_unpack(site, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    fetch_set("facades", tmp_path / "one")
    monkeypatch.setattr(module.shutil, "disk_usage", lambda path: usage._replace(free=10))
    with pytest.raises(UserError, match=r"cannot unpack facades: .* free; make room, or choose another --out"):
        fetch_set("facades", tmp_path / "two")
    assert shown(tmp_path) == ["one"]


def test_a_place_that_cannot_be_written_is_told_before_the_download(site, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot write .*file/facades"):
        fetch_set("facades", tmp_path / "file/facades")
    assert site.asked == []


# ---- the table ----

def test_the_table_and_the_recipes_agree():
    assert list(SOURCES) == ["edges2shoes", "edges2handbags", "facades", "maps", "night2day", "cityscapes-pix2pix"]
    for name, source in SOURCES.items():
        assert source.terms and source.file.endswith(".tar.gz") and source.counts["train"] > 100
        if source.recipe:
            assert parsed(source.recipe).data.direction == source.direction
        else:
            assert not any(recipe.startswith(f"{name}-") for recipe in TABLE)


# ---- the command ----

def test_the_command_that_it_advises_runs(site, ugc, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, top in (("facades", "facades/"), ("cityscapes-pix2pix", "cityscapes/")):
        site.data, out = archive(top=top, train=20, val=4), f"my {name}"
        told = ugc("data", "fetch", name, "--out", out)
        assert told.code == 0, told.err
        assert "train 20, val 4" in told.err and "the test set is val" in told.err
        assert "photo from label map is --direction BtoA" in told.err and "data: C" in told.err
        words = shlex.split(re.search(r"next: ugc (.*)", told.err)[1])
        dry = ugc(*words, "--base", 16, "--budget", "20x", "--device", "cpu", "--set", "distillation.backbone=none")
        assert dry.code == 0, dry.err
        assert "20" in dry.out + dry.err


def test_the_default_folder_is_its_name(site, ugc, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert ugc("data", "fetch", "facades").code == 0
    assert shown(tmp_path) == ["facades"]
    again = ugc("data", "fetch", "facades")
    assert again.code == 0 and "nothing was done" in again.err and "next: ugc run facades" in again.err


def test_a_wrong_name_is_told_its_neighbours(ugc):
    told = ugc("data", "fetch", "facade")
    assert told.code == 2 and "did you mean 'facades'" in told.err and len(told.err.splitlines()) == 1


def test_ctrl_c_is_status_130_and_goes_on(site, ugc, tmp_path, monkeypatch):
    def stop(self, most):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("ugc.core.remote.Answer.read", stop)
        assert ugc("data", "fetch", "facades", "--out", tmp_path / "f").code == 130
    assert shown(tmp_path) == []
    assert ugc("data", "fetch", "facades", "--out", tmp_path / "f").code == 0
