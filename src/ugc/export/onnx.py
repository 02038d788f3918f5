"""ONNX: a graph of standard operators; batch, height and width are free. Run in onnxruntime before it is written."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from ugc.core.errors import UserError
from ugc.core.images import Array
from ugc.export.formats import FORMATS, Format, Run, first_line
from ugc.export.wrapped import WrappedNet

OPSET = 20
OUTPUT = "image_out"
TRIED = "2.13.0 and 2.15.0"  # versions of torch; older ones have another exporter
EXAMPLE = (2, 37, 45)  # N, H, W to trace with, beyond what is padded: a batch of 1 would be taken for a constant


@FORMATS.register("onnx")
class Onnx(Format):
    """The inputs of the wrapped net by name -> `image_out` [N, C', H, W] float32 in [0, 1].

    Maps of ids are int32 without an axis of channels: `np.asarray(pil, np.int32)[None]`, and in a browser an Int32Array
    (int64 would want BigInts).
    """

    suffix = ".onnx"
    extra = "onnx"
    needs = ("onnx", "onnxscript", "onnxruntime")

    def convert(self, net: WrappedNet) -> bytes:
        count, height, width = EXAMPLE
        least = net.net.least
        example = net.noise(count, height + least, width + least, 0)
        free = {name: torch.export.Dim(name) for name in ("batch", "height", "width")}
        shapes = tuple({axis: free[name] for axis, name in one.axes.items()} for one in net.inputs)
        try:
            with _quiet():
                program = torch.onnx.export(net, example, dynamo=True, opset_version=OPSET, external_data=False,
                                            input_names=[one.name for one in net.inputs], output_names=[OUTPUT],
                                            dynamic_shapes=shapes, verbose=False)
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
        for axis, name in {0: "batch", 2: "height", 3: "width"}.items():  # min(height, padded height) is height
            graph.output[0].type.tensor_type.shape.dim[axis].dim_param = name
        for part, one in zip(graph.input, net.inputs, strict=True):
            part.doc_string = f"{one.text}; any N, H, W from 1 on"
        graph.output[0].doc_string = "float32 [N, C', H, W] in [0, 1]"
        data: bytes = model.SerializeToString(deterministic=True)
        return data

    def runtime(self, data: bytes) -> Run:
        session = session_of(data)
        names = [one.name for one in session.get_inputs()]

        def run(*inputs: Array) -> Array:
            out: Array = session.run([OUTPUT], dict(zip(names, inputs, strict=True)))[0]
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


def session_of(data: bytes, profile: Path | None = None) -> Any:
    """The file in onnxruntime, on the CPU with as many threads as torch has here.

    Args:
        profile: what the name of the profile, which `end_profiling` writes and names, begins with; None writes none.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = torch.get_num_threads()
    if profile:
        options.enable_profiling, options.profile_file_prefix = True, str(profile)
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


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
