"""The distances by name: which features, which formula. The names of the literature are for the literature's network."""

from __future__ import annotations

from functools import partial

from ugc.metrics.features import BODY, HEAD, POOL3
from ugc.metrics.frechet import Gaussian, frechet_distance, frechet_interval
from ugc.metrics.kernel import kernel_distance, kernel_interval, whole
from ugc.metrics.protocols import METRICS, Metric

kernel = partial(Metric, better="lower", unit="", statistics=whole, number=kernel_distance, interval=kernel_interval)
frechet = partial(Metric, better="lower", unit="", statistics=Gaussian.of, number=frechet_distance,
                  interval=frechet_interval)

for metric in (
    kernel("kd_efflite0", text="kernel distance x 1,000, EfficientNet-Lite0 1,280", space=HEAD),
    frechet("fd_efflite0", text="Frechet distance, EfficientNet-Lite0 320", space=BODY),
    kernel("kid", text="kernel distance x 1,000, Inception 2015-12-05 pool3, whole sets", space=POOL3),
    frechet("fid", text="Frechet distance, Inception 2015-12-05 pool3", space=POOL3),
):
    METRICS.register(metric.name)(metric)
