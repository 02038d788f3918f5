"""The ONNX file: standard operators of a named opset, free sizes, readable by its runtime alone."""

import json
import re
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from PIL import Image

from ugc.core.encoding import LabelEncoding
from ugc.export.onnx import OPSET, TRIED
from ugc.export.saved import save_net
from ugc.export.translator import load
from ugc.models.generator import shrink

README = Path(__file__).parents[2] / "README.md"
OLD = tuple(int(n) for n in torch.__version__.split("+")[0].split(".")[:2]) < (2, 13)
new = pytest.mark.skipif(OLD, reason=f"the exporter was tried with torch {TRIED}")


@pytest.fixture(scope="module")
def saved(setting_of, tmp_path_factory):
    setting = setting_of("pix2pix-resnet", in_channels=3)
    net = setting.family(setting.config).init(torch.Generator().manual_seed(0))
    folder = tmp_path_factory.mktemp("net")
    save_net(shrink(net, net.space.uniform(2, 1)), folder, "pix2pix-resnet", "student", (32, 32), {})
    return folder


@pytest.fixture(scope="module")
def told(saved, ugc):
    return ugc("export", saved, "--format", "onnx")


@new
def test_from_the_command_line(saved, told):
    """The default place and name; the difference and the opset are said."""
    assert told.code == 0, told.err
    path = saved / "model.onnx"
    assert f"{path.stat().st_size:,} bytes" in told.err and f"opset {OPSET}" in told.err
    meta = onnxruntime.InferenceSession(path).get_modelmeta().custom_metadata_map
    assert meta["opset"] == str(OPSET) and meta["arch"] in told.err
    assert f"largest difference from torch {meta['largest_difference']} " in told.err
    assert "licence" in meta and "attribution" in meta and float(meta["largest_difference"]) < 1e-5
    assert json.loads(meta["checked_sizes"]) == [[1, 32, 32], [2, 25, 41], [1, 3, 33]]


@new
def test_the_graph(saved, told):
    model = onnx.load(saved / "model.onnx")
    onnx.checker.check_model(model, full_check=True)
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", OPSET)]
    assert {node.domain for node in model.graph.node} == {""} and not model.functions
    shapes = {value.name: [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
              for value in (*model.graph.input, *model.graph.output)}
    assert shapes == {"image": ["batch", 3, "height", "width"], "image_out": ["batch", 1, "height", "width"]}
    assert not any(node.metadata_props or node.doc_string for node in model.graph.node)
    assert sorted(path.name for path in saved.iterdir()) == ["config.json", "model.onnx", "model.safetensors"]


@new
@pytest.mark.parametrize("mode, wanted", [("RGB", (1, 1, 45, 70)), ("L", None)])
def test_as_the_readme_runs_it(saved, told, mode, wanted):
    """A net of 3 channels takes what the README makes of a colour picture, and refuses a grey one by itself."""
    code = next(block for block in re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
                if "onnxruntime" in block)
    names = {"pil": Image.new("RGB", (70, 45), (10, 200, 90)).convert(mode)}
    code = code.replace("runs/demo/student/model.onnx", str(saved / "model.onnx"))
    if wanted:
        exec(code, names)
        assert names["out"].shape == wanted
    else:
        with pytest.raises(Exception, match="invalid dimensions"):
            exec(code, names)


@pytest.mark.parametrize("error", [lambda: TypeError("export() got an unexpected keyword"), pytest.param(
    lambda: torch.onnx.OnnxExporterError("no decomposition\nand more"), marks=new)], ids=["an old one", "a new one"])
def test_a_torch_that_cannot_is_told(saved, ugc, monkeypatch, error):
    def export(*args, **kwargs):
        raise error()

    monkeypatch.setattr(torch.onnx, "export", export)
    told = ugc("export", saved, "--out", saved / "old.onnx")
    assert told.code == 2 and len(told.err.strip().splitlines()) == 1
    assert str(error()).splitlines()[0] in told.last and f"tried with torch {TRIED}" in told.last
    assert not (saved / "old.onnx").exists()


# ---- label maps ----

CITY = LabelEncoding(classes=35, edges=True, palette="cityscapes")


@pytest.fixture(scope="module")
def of_labels(setting_of, ugc, tmp_path_factory):
    """A net of Cityscapes' label maps, and its file of ids."""
    setting = setting_of("pix2pix-resnet", in_channels=CITY.channels, out_channels=3)
    net = setting.family(setting.config).init(torch.Generator().manual_seed(0))
    folder = tmp_path_factory.mktemp("labels")
    save_net(shrink(net, net.space.uniform(2, 0)), folder, "pix2pix-resnet", "student", (32, 64),
             {"source": CITY.model_dump(mode="json")})
    told = ugc("export", folder)
    assert told.code == 0, told.err
    return folder


@new
def test_a_file_of_ids_says_what_it_takes(of_labels):
    session = onnxruntime.InferenceSession(of_labels / "model.onnx")
    assert [(one.name, one.type, one.shape) for one in session.get_inputs()] == [
        (name, "tensor(int32)", ["batch", "height", "width"]) for name in ("label", "instance")]
    assert [(one.name, one.shape) for one in session.get_outputs()] == [("image_out", ["batch", 3, "height", "width"])]
    meta = session.get_modelmeta().custom_metadata_map
    assert LabelEncoding.parse(json.loads(meta["source"]), "source") == CITY and meta["labels"] == "ids"
    model = onnx.load(of_labels / "model.onnx")
    onnx.checker.check_model(model, full_check=True)
    assert "class ids 0 to 34" in model.graph.input[0].doc_string


@new
def test_a_file_of_ids_as_the_readme_runs_it(of_labels):
    code = next(block for block in re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
                if "onnxruntime" in block and "instance" in block)
    rng = np.random.default_rng(0)
    label = Image.fromarray(rng.integers(0, 35, (45, 70)).astype(np.uint8))
    instance = Image.fromarray(rng.integers(0, 33000, (9, 14)).repeat(5, 0).repeat(5, 1).astype(np.uint16))
    names = {"label": label, "instance": instance}
    exec(code.replace("runs/streets/student", str(of_labels)), names)
    wanted = np.asarray(load(of_labels, "cpu")(label, instance)) / 255
    assert np.abs(names["out"][0].transpose(1, 2, 0) - wanted).max() < 0.5 / 255 + 1e-4
