"""Floor 0: settings, clock, images, files, log, registry, device."""

import errno
import json
import os
import resource
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ugc.core import files
from ugc.core.clock import Clock
from ugc.core.config import Config
from ugc.core.device import choose, exact
from ugc.core.errors import UserError, near, of_system, out_of_memory
from ugc.core.images import from_unit, rounded, to_channels, to_unit
from ugc.core.log import JsonLog, add_rows, keep_rows, progress, read_log
from ugc.core.registry import Registry

# Config


class Inner(Config):
    steps: int = 10
    rate: float = 0.5
    widths: tuple[int, ...] | None = None


class Outer(Config):
    seed: int = 0
    name: str = "run"
    train: Inner = Inner()
    maybe: Inner | None = None
    free: dict[str, Any] = {}


def test_settings():
    changed = Outer().with_settings(["seed=7", "train.rate=1e-3", "train.widths=[8, 16]", "name=a=b", "free.any=[1]"])
    assert (changed.seed, changed.train.rate, changed.train.widths) == (7, 1e-3, (8, 16))
    assert changed.name == "a=b" and changed.free == {"any": [1]} and changed.train.steps == 10
    assert changed.with_settings(["train.widths=null"]).train.widths is None
    assert Outer().seed == 0


@pytest.mark.parametrize("setting, words", [
    ("sed=7", "no option 'sed': did you mean 'seed'"), ("train.step=7", "no option 'train.step': did you mean 'steps'"),
    ("seed", "expected KEY=VALUE"), ("seed.x=1", "seed is 0 and has no options"), ("seed=high", "seed: .*got 'high'"),
    ("train.steps=1.5", "train.steps: .*got 1.5"), ("train={\"step\": 1}", "no option 'train.step': did you mean 'steps'"),
    ("trian.steps=1", "no option 'trian': did you mean 'train'")])
def test_wrong_settings_get_a_sentence(setting, words):
    with pytest.raises(UserError, match=words):
        Outer().with_settings([setting])


def test_parse():
    assert Outer.parse({"train": {"steps": 3}}, "recipe.json").train.steps == 3
    with pytest.raises(UserError, match=r"recipe.json: there is no option 'train.stps': did you mean 'steps'"):
        Outer.parse({"train": {"stps": 3}}, "recipe.json")
    with pytest.raises(UserError, match=r"no option 'maybe.stps': did you mean 'steps'"):
        Outer.parse({"maybe": {"stps": 3}}, "recipe.json")


def test_configs_are_frozen_and_survive_json():
    config = Outer().with_settings(["train.widths=[1,2]"])
    with pytest.raises(ValueError, match="frozen"):
        config.seed = 3
    assert Outer.parse(json.loads(json.dumps(config.model_dump(mode="json"))), "x") == config


def test_near():
    assert near("labls", ["labels", "seed"]) == "did you mean 'labels'? known: labels, seed"
    assert near("zzz", ["b", "a"]) == "known: a, b"


# Clock


def test_a_draw_is_a_function_of_seed_step_and_purpose():
    def draw(clock, purpose):
        return tuple(clock.rng(purpose).random(4)), tuple(torch.rand(4, generator=clock.torch(purpose)).tolist())

    assert draw(Clock(1, 2), "arch") == draw(Clock(1).at(2), "arch")
    draws = [draw(Clock(seed, step), purpose) for seed in range(3) for step in range(3) for purpose in ("arch", "crop")]
    assert len({d[0] for d in draws}) == len({d[1] for d in draws}) == 18


def test_draws_for_different_purposes_and_steps_are_independent():
    clocks = [Clock(0, step) for step in range(2000)]
    a, b = (np.array([c.rng(p).random() for c in clocks]) for p in ("arch", "crop"))
    later = np.array([c.at(c.step + 1).rng("arch").random() for c in clocks])
    other = np.array([Clock(1, c.step).rng("arch").random() for c in clocks])
    for x in (b, later, other):
        assert abs(np.corrcoef(a, x)[0, 1]) < 0.08
    assert abs(a.mean() - 0.5) < 0.03 and abs(a.std() - 12**-0.5) < 0.02


def test_the_clock_neither_reads_nor_moves_global_states():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first = torch.rand(3, generator=Clock(0).torch("x"))
    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(1)
    assert torch.equal(first, torch.rand(3, generator=Clock(0).torch("x")))


# Images


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_every_value_survives_the_round_trip(dtype):
    values = np.arange(np.iinfo(dtype).max + 1, dtype=dtype).reshape(1, 16, -1, 1)
    images = to_unit(values)
    assert images.dtype == torch.float32 and images.shape == (1, 1, 16, values.size // 16)
    assert (images.min(), images.max()) == (-1, 1)
    back = from_unit(images, dtype)
    assert back.dtype == dtype and np.array_equal(back, values)


def test_images_are_nchw_and_clipped():
    array = np.zeros((2, 3, 5, 4), np.uint8)
    array[1, 2, 4, 3] = 255
    images = to_unit(array)
    assert images.shape == (2, 4, 3, 5) and images[1, 3, 2, 4] == 1 and images.sum() == 2 - images.numel()
    assert images.is_contiguous() and torch.equal(images, to_unit(torch.from_numpy(array)))
    out = from_unit(torch.tensor([-3.0, -1.0, 0.0, 1.0, 3.0]).view(1, 1, 1, 5))
    assert out.ravel().tolist() == [0, 0, 128, 255, 255]
    floats = np.linspace(-1, 1, 12, dtype=np.float32).reshape(1, 2, 2, 3)
    assert np.array_equal(to_unit(floats).permute(0, 2, 3, 1).numpy(), floats)
    assert np.array_equal(from_unit(torch.full((1, 1, 1, 1), 0.25).bfloat16()), [[[[159]]]])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_rounded_is_what_a_file_holds(dtype):
    images = torch.rand(2, 3, 9, 7, generator=torch.Generator().manual_seed(0)) * 2.4 - 1.2
    held = rounded(images, dtype)
    assert torch.equal(held, to_unit(from_unit(images, dtype)))
    assert torch.equal(rounded(held, dtype), held) and not torch.equal(held, images.clamp(-1, 1))


def test_channels():
    grey, colour = torch.tensor([[[[0.5]]]]), torch.tensor([1.0, 0.0, -1.0]).view(1, 3, 1, 1)
    assert to_channels(grey, 3).flatten().tolist() == [0.5, 0.5, 0.5] and to_channels(colour, 3) is colour
    assert to_channels(colour, 1).item() == pytest.approx(0.299 - 0.114)
    assert to_channels(torch.ones(1, 3, 2, 2), 1).flatten().tolist() == pytest.approx([1] * 4)
    assert to_channels(torch.arange(4.0).view(1, 4, 1, 1), 3).flatten().tolist() == [0, 1, 2]
    assert to_channels(torch.arange(3.0).view(1, 3, 1, 1), 5).flatten().tolist() == [0, 1, 2, 2, 2]


# Files


def test_atomic_replaces_whole_or_not_at_all(tmp_path):
    path = tmp_path / "new" / "a.bin"
    with pytest.raises(KeyboardInterrupt), files.atomic(path) as file:
        file.write(b"half")
        raise KeyboardInterrupt
    assert list(path.parent.iterdir()) == []
    with files.atomic(path) as file:
        file.write(b"one")
        assert not path.exists()
    with pytest.raises(ValueError, match="stop"), files.atomic(path) as file:
        file.write(b"other")
        raise ValueError("stop")
    assert path.read_bytes() == b"one" and list(path.parent.iterdir()) == [path]


def test_a_full_disk_is_named(tmp_path, monkeypatch):
    """Where nothing more fits: /dev/full, and a rename that is refused."""
    with pytest.raises(OSError, match="No space left") as error:
        files.append(Path("/dev/full"), "x" * 10_000)
    assert error.value.filename == "/dev/full"

    def refuse(*_):
        raise OSError(errno.EDQUOT, "Disk quota exceeded")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(OSError, match="quota") as error:
        files.write_text(tmp_path / "a", "x")
    assert error.value.filename == str(tmp_path / "a") and not list(tmp_path.iterdir())
    assert of_system(error.value) == f"{tmp_path / 'a'}: Disk quota exceeded; make room and run the same command again"


def test_what_is_appended_is_whole_or_absent(tmp_path):
    path = tmp_path / "log"
    files.append(path, "one\n")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        with pytest.raises(OSError, match="too large"):
            files.append(path, "x" * 20_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_text() == "one\n"


def test_errors_of_the_system_are_sentences_and_others_are_not(tmp_path):
    with pytest.raises(shutil.Error) as error:
        (tmp_path / "a").mkdir()
        (tmp_path / "a" / "gone").symlink_to("nowhere")
        shutil.copytree(tmp_path / "a", tmp_path / "b")
    assert of_system(error.value).startswith(f"{tmp_path / 'b/gone'}: cannot be copied")
    assert of_system(OSError("broken stream")) is None
    assert out_of_memory(MemoryError()) and out_of_memory(RuntimeError("CUDA out of memory. Tried ..."))
    assert out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory")) and not out_of_memory(RuntimeError("x"))


def test_damaged_json_is_named(tmp_path):
    for content in (b"{", b"\xff", b"[" * 100_000, b""):
        (tmp_path / "a").write_bytes(content)
        with pytest.raises(UserError, match="a is damaged: it holds no JSON") as error:
            files.read_json(tmp_path / "a")
        assert "\n" not in str(error.value)


def test_atomic_files_have_the_users_permissions(tmp_path):
    mask = os.umask(0o027)
    try:
        files.write_text(tmp_path / "a", "x")
    finally:
        os.umask(mask)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640


def test_json_is_valid_or_an_error(tmp_path):
    path = tmp_path / "a.json"
    files.write_json(path, {"b": [1, "ß"], "a": None})
    assert files.read_json(path) == {"b": [1, "ß"], "a": None} and path.read_text().endswith("}\n")
    with pytest.raises(ValueError, match="JSON"):
        files.write_json(path, {"x": float("nan")})
    assert files.read_json(path)["a"] is None


def test_digests(tmp_path, monkeypatch):
    (tmp_path / "a").write_bytes(b"abc" * 1000)
    assert files.sha256(tmp_path / "a", block=7) == files.sha256(tmp_path / "a")
    (tmp_path / "a").write_bytes(b"abc")
    assert files.sha256(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert files.digest({"a": 1, "b": 2}) == files.digest({"b": 2, "a": 1}) != files.digest({"a": 2, "b": 1})
    monkeypatch.setenv("UGC_HOME", str(tmp_path))
    assert files.home() == tmp_path


# Log


def test_the_log_is_cut_where_a_run_goes_on(tmp_path):
    path = tmp_path / "stage" / "log.jsonl"
    log = JsonLog(path)
    for step in range(5):
        log.write(step, {"G": step / 3, "D": float("nan")})
    with open(path, "a") as file:
        file.write('{"step": 5, "G"')  # killed while it wrote
    rows = read_log(path)
    assert [row["step"] for row in rows] == [0, 1, 2, 3, 4] and rows[1] == {"step": 1, "G": 0.333333, "D": None}
    JsonLog(path, resume_step=3).write(3, {"G": 9.0})
    assert [(row["step"], row["G"]) for row in read_log(path)] == [(0, 0.0), (1, 0.333333), (2, 0.666667), (3, 9.0)]
    assert JsonLog(path).path == path and read_log(path) == [] and read_log(tmp_path / "none") == []


def test_rows_are_kept_without_the_line_that_a_kill_left(tmp_path, monkeypatch):
    path = tmp_path / "search" / "rows.jsonl"
    keep_rows(path, [])
    add_rows(path, [{"arch": "a"}, {"arch": "b", "score": float("inf")}])
    with open(path, "a") as file:
        file.write('{"arch": "c')
    keep_rows(path, read_log(path))
    add_rows(path, [{"arch": "d"}])
    assert [row["arch"] for row in read_log(path)] == ["a", "b", "d"] and read_log(path)[1]["score"] == float("inf")
    monkeypatch.setattr("ugc.core.log.lead", lambda: False)  # another process reads, and writes nothing
    add_rows(path, [{"arch": "e"}])
    keep_rows(path, [])
    assert len(read_log(path)) == 3


def test_progress_without_a_terminal_says_tenths(capsys):
    with progress("stage", 20, done=10) as bar:
        for _ in range(10):
            bar.advance(note="loss 1")
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("stage:")]
    assert len(lines) <= 10 and bar.done == 20


# Registry


def test_a_registry_is_filled_by_the_files_of_its_package(tmp_path, monkeypatch):
    package = tmp_path / "shop_for_tests"
    package.mkdir()
    (package / "__init__.py").write_text("from ugc.core.registry import Registry\nSHOP = Registry('ware', __name__)\n")
    for name in ("pear", "apple"):
        (package / f"{name}.py").write_text(
            f"from shop_for_tests import SHOP\n\n\n@SHOP.register('{name}')\ndef thing():\n    return '{name}'\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    from shop_for_tests import SHOP

    assert list(SHOP) == ["apple", "pear"] and SHOP["pear"]() == "pear" and "plum" not in SHOP
    assert [(name, thing()) for name, thing in SHOP.items()] == [("apple", "apple"), ("pear", "pear")]
    with pytest.raises(UserError, match=r"unknown ware 'aple': did you mean 'apple'.*known: apple, pear"):
        SHOP["aple"]


def test_two_things_of_one_name_are_a_mistake():
    shop: Registry[object] = Registry("ware", "ugc.core")
    thing = shop.register("a")(object())
    assert shop.register("a")(thing) is thing
    with pytest.raises(ValueError, match="two things of kind ware are named 'a'"):
        shop.register("a")(object())


# Device


def test_devices():
    device = choose("cpu", "fp32")
    assert device.device.type == "cpu" and device.scaler() is None and device.text.startswith("cpu (")
    assert choose("cpu").precision in ("fp32", "bf16")
    x = torch.ones(2, 2)
    with device.autocast():
        assert (x @ x).dtype == torch.float32
    with choose("cpu", "bf16").autocast():
        assert (x @ x).dtype == torch.bfloat16
        with exact(torch.device("cpu")):
            assert (x @ x).dtype == torch.float32


@pytest.mark.parametrize("device, precision, words", [
    ("gpu", "auto", "expected auto, cpu, cuda"), ("cpu", "fp8", "expected one of auto, fp32"),
    ("cpu", "fp16", "needs CUDA")])
def test_wrong_devices_get_a_sentence(device, precision, words):
    with pytest.raises(UserError, match=words):
        choose(device, precision)


def test_what_cannot_be_begun_names_the_file_itself(tmp_path, monkeypatch):
    """And not the temporary one, which nobody has heard of."""
    def refuse(dir, prefix):
        raise PermissionError(13, "Permission denied", f"{dir}/{prefix}ssnvskqp")

    monkeypatch.setattr("ugc.core.files.tempfile.mkstemp", refuse)
    with pytest.raises(PermissionError) as caught:
        files.write_text(tmp_path / "0.png", "")
    assert caught.value.filename == str(tmp_path / "0.png")
