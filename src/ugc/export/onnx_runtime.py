"""onnxruntime as a clock sees it: the file of `ugc export --format onnx`, its layers by the runtime's own profiler."""

from __future__ import annotations

import json
import statistics
import tempfile
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from ugc.core.encoding import Encoding
from ugc.core.errors import UserError
from ugc.core.images import Array
from ugc.export.formats import first_line
from ugc.export.onnx import Onnx, session_of
from ugc.export.runtimes import LAYERED, RUNTIMES, WARM, Opened, Runtime, times_of
from ugc.export.wrapped import wrapped
from ugc.models.generator import Generator
from ugc.nn.cost import LayerCost, trace
from ugc.nn.latency import LANES, timed_layers

LEAST = 0.1  # of what a profile shows of a node, at least so much is its own


@RUNTIMES.register("onnxruntime")
class OnnxRuntime(Runtime):
    """The exported file of the net, padding and cropping in it, on the CPU."""

    def version(self) -> str:
        Onnx().check_packages()
        return f"onnxruntime {version('onnxruntime')}, exported by torch {version('torch')}"

    def open(self, net: Generator, encoding: Encoding, size: tuple[int, int]) -> Opened:
        whole = wrapped(net.to("cpu"), encoding)
        data = Onnx().convert(whole)
        inputs = {one.name: x.numpy() for one, x in zip(whole.inputs, whole.noise(1, *size, 0), strict=True)}
        try:
            return OpenedOnnx(data, inputs, timed_layers(trace(net, None, size)))
        except Exception as error:  # onnxruntime has errors of its own
            raise UserError(f"onnxruntime cannot run this net ({first_line(error)}); a latency in torch is asked for with "
                            "--budget latency=10ms@torch") from error


class OpenedOnnx(Opened):
    def __init__(self, data: bytes, inputs: dict[str, Array], layers: list[LayerCost]) -> None:
        self.data, self.inputs, self.expected = data, inputs, layers
        self.session = session_of(data)
        self.run()

    def run(self) -> None:
        self.session.run(None, self.inputs)

    def layers(self, whole: float) -> list[float]:
        passes = self.profile()
        shown = [1e-6 * statistics.median_grouped(durations) for durations in
                 zip(*([node["dur"] for node in nodes] for nodes in passes[WARM:]), strict=True)]
        return by_layer(passes[0], unwatched(shown, whole), self.expected)

    def profile(self) -> list[list[dict[str, Any]]]:
        """The nodes of each pass in order, as the runtime's profiler writes them: `dur` in microseconds, `args`."""
        with tempfile.TemporaryDirectory() as folder:
            session = session_of(self.data, profile=Path(folder) / "times")
            passes = WARM + len(times_of(lambda: session.run(None, self.inputs), most=LAYERED))
            events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
        nodes = [event for event in events if event.get("cat") == "Node" and event["name"].endswith("_kernel_time")]
        each = len(nodes) // passes
        return [nodes[i * each : (i + 1) * each] for i in range(passes)]


def unwatched(shown: Sequence[float], whole: float) -> list[float]:
    """Seconds of each node when nobody looks, from those that a profile shows, and those of a picture without one.

        time_i = max(shown_i - c, LEAST x shown_i)        c >= 0 so that the sum of all is `whole`

    The profiler takes as long for a node that moves four numbers as for a convolution, 3 to 4 us, which is most of what it
    shows of a tiny net. Taken off as a share of each node's time, or of each layer's, it would be wrong wherever a layer
    has more nodes than another, such as those that put channels into another order.
    """
    d = np.sort(np.array(shown))
    low, high = np.concatenate([[0.0], np.cumsum(d)[:-1]]), np.cumsum(d[::-1])[::-1]  # before each, and from it on
    costs = (LEAST * low + high - whole) / np.arange(len(d), 0, -1)  # c, if it is those before that are at their least
    right = costs <= (1 - LEAST) * d
    c = max(float(costs[right.argmax()] if right.any() else d[-1]), 0.0)
    own = [max(one - c, LEAST * one) for one in shown]
    return [one * min(1.0, whole / sum(own)) for one in own]


def by_layer(nodes: Sequence[dict[str, Any]], seconds: Sequence[float], layers: Sequence[LayerCost]) -> list[float]:
    """Seconds of each layer out of those of each node: its convolution's, and of all nodes since the one before.

    A convolution is told by its output: as many pixels as the layer has, and its channels, which may be rounded up to
    whole registers. What ties is in the order of the net.

    Raises:
        UserError: the runtime ran other convolutions.
    """
    left, found, gone = list(range(len(layers))), [0.0] * len(layers), 0.0
    for node, took in zip(nodes, seconds, strict=True):
        gone += took
        if "Conv" not in node["args"]["op_name"]:
            continue
        _, channels, height, width = next(iter(node["args"]["output_type_shape"][0].values()))
        fits = [i for i in left if layers[i].grid_out == height * width and 0 <= channels - layers[i].width < LANES]
        if not fits:
            break
        left.remove(fits[0])
        found[fits[0]], gone = gone, 0.0
    else:
        if not left:
            return found
    raise UserError("onnxruntime ran other convolutions than this net has, so they cannot be timed one by one; a latency in "
                    "torch is asked for with --budget latency=10ms@torch")
