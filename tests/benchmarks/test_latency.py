"""benchmarks/latency.py: what it compares, and where it says that time goes."""

import argparse
import json

import latency
import pytest

from ugc.nn.cost import total, trace

OPTIONS = argparse.Namespace(family="pix2pix-resnet", base=8, size=["16"], channels="1:1", budget="4x", set=[
    "generator.blocks=1", "generator.widths=[1,4,8]", "generator.depths=[0,1]"])


@pytest.fixture(scope="module")
def given():
    return latency.of_family(OPTIONS)


def test_the_original_is_the_published_net_and_the_student_within_the_budget(given):
    macs = {role: total(trace(net, None, (16, 16))).macs_paper for role, net in given.nets.items()}
    assert set(macs) == set(latency.ROLES) and macs["smallest"] < macs["student"] <= macs["original"] / 4
    assert macs["student"] < macs["deep_teacher"] <= macs["largest"]


def test_ratios_are_to_the_original_and_the_layers_hold_all_of_the_time(given):
    rows, opened = latency.compared(given, (16, 16), "torch", 1)
    first = {row["net"]: row for row in rows}["original"]
    assert first["x faster than original"] == first["x fewer macs"] == 1
    assert first["pictures/s"] * first["ms"] == pytest.approx(1000)
    net = given.nets["student"]
    layers = latency.by_layer(net, opened["student"], (16, 16))
    assert [sum(row[key] for row in layers) for key in ("% of time", "% of macs")] == pytest.approx([100, 100])
    assert sum(row["count"] for row in layers) == 1 + sum(x.cost.macs > 0 for x in trace(net, None, (16, 16)))
    assert any("conv" in row["operator"] for row in latency.by_operator(opened["student"]))


def test_its_command_keeps_every_table(monkeypatch, tmp_path, capsys):
    words = ["--family", OPTIONS.family, "--base", "8", "--size", "16", "--channels", "1:1", "--budget", "4x",
             "--rounds", "1", "--threads", "1", "--runtime", "torch", "--json", str(tmp_path / "a"),
             *(word for one in OPTIONS.set for word in ("--set", one))]
    monkeypatch.setattr("sys.argv", ["latency.py", *words])
    latency.main()
    kept = {path.name: json.loads(path.read_text()) for path in tmp_path.iterdir()}
    assert set(kept) == {f"a-latency-16-torch-{last}.json" for last in ("1", "layers", "operators")}
    assert "x faster than original" in capsys.readouterr().out
    monkeypatch.setattr("sys.argv", ["latency.py"])
    with pytest.raises(SystemExit):
        latency.main()
