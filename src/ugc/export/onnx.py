"""ONNX: a graph of standard operators; batch, height and width are free. Run in onnxruntime before it is written."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version

import torch

from ugc.core.errors import UserError
from ugc.core.images import Array
from ugc.export.formats import FORMATS, Format, PictureNet, Run, first_line

OPSET = 20
INPUT, OUTPUT = "image", "image_out"
TRIED = "2.13.0 and 2.15.0"  # versions of torch; older ones have another exporter
EXAMPLE = (2, 37, 45)  # N, H, W to trace with: a batch of 1 would be taken for a constant


@FORMATS.register("onnx")
class Onnx(Format):
    """`image` [N, C, H, W] float32 in [0, 1] -> `image_out` [N, C', H, W]."""

    suffix = ".onnx"
    extra = "onnx"
    needs = ("onnx", "onnxscript", "onnxruntime")

    def convert(self, net: PictureNet) -> bytes:
        count, height, width = EXAMPLE
        image = torch.rand(count, net.net.config.in_channels, height, width, generator=torch.Generator().manual_seed(0))
        free = {0: torch.export.Dim("batch"), 2: torch.export.Dim("height"), 3: torch.export.Dim("width")}
        try:
            with _quiet():
                program = torch.onnx.export(net, (image,), dynamo=True, opset_version=OPSET, external_data=False,
                                            input_names=[INPUT], output_names=[OUTPUT],
                                            dynamic_shapes={"image": free}, verbose=False)
        except (torch.onnx.OnnxExporterError, TypeError) as error:
            raise UserError(f"torch {torch.__version__} made no ONNX graph of this net ({first_line(error)}); the exporter "
                            f"was tried with torch {TRIED}: install one of these, or a newer one") from error
        assert program is not None
        model = program.model_proto
        graph = model.graph
        # The exporter keeps a Python stack trace of every node, with this machine's paths.
        for part in (*graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
            part.ClearField("metadata_props")
            part.ClearField("doc_string")
        graph.ClearField("metadata_props")
        sides = [dim.dim_param for dim in graph.input[0].type.tensor_type.shape.dim]
        for axis in (0, 2, 3):  # min(height, padded height) is height
            graph.output[0].type.tensor_type.shape.dim[axis].dim_param = sides[axis]
        graph.input[0].doc_string = "float32 [N, C, H, W] in [0, 1]; any N, H, W from 1 on"
        graph.output[0].doc_string = "float32 [N, C', H, W] in [0, 1]"
        data: bytes = model.SerializeToString(deterministic=True)
        return data

    def runtime(self, data: bytes) -> Run:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = torch.get_num_threads()
        session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])

        def run(image: Array) -> Array:
            out: Array = session.run([OUTPUT], {INPUT: image})[0]
            return out

        return run

    def stamp(self, data: bytes, about: dict[str, str]) -> bytes:
        import onnx

        model = onnx.load_from_string(data)
        onnx.helper.set_model_props(model, about)
        onnx.checker.check_model(model)
        stamped: bytes = model.SerializeToString(deterministic=True)
        return stamped

    def about(self, data: bytes) -> dict[str, str]:
        import onnx

        return {entry.key: entry.value for entry in onnx.load_from_string(data).metadata_props}

    def versions(self) -> dict[str, str]:
        return {"opset": str(OPSET), **{name: version(name) for name in self.needs}}


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporter warns of torchvision, which it does not need, and of its own parts."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)
