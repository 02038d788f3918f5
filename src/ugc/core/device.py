"""The only file that knows devices and precisions: `auto` -> device, dtype, autocast, loss scaler."""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import torch

from ugc.core.errors import UserError
from ugc.core.rank import local_rank, size

MMAP_MAX, TRIM_THRESHOLD = -4, -1  # mallopt(3)
KERNELS = 8192  # about 100 MB where a supernet fills them
PRECISIONS = ("auto", "fp32", "bf16", "fp16")


@dataclass(frozen=True)
class Device:
    """Where and how precisely a run computes."""

    device: torch.device
    precision: str  # fp32 | bf16 | fp16

    def autocast(self) -> AbstractContextManager[object]:
        """The forward passes of generators and discriminators run inside; losses leave it (see `nn.exact`)."""
        if self.precision == "fp32":
            return contextlib.nullcontext()
        dtype = torch.bfloat16 if self.precision == "bf16" else torch.float16
        return torch.autocast(self.device.type, dtype=dtype)

    def laid_out(self, x: torch.Tensor) -> torch.Tensor:
        """x [N, C, H, W] in the layout in which what a net does to it is quickest; its values are the same.

        channels_last on a CPU, in bf16 and where no gradient is asked. (In float32 its gradients of weights take up to 3.5
        times as long; figures in docs/lab-book.md.)
        """
        if self.device.type != "cpu" or x.dim() != 4 or (self.precision == "fp32" and torch.is_grad_enabled()):
            return x
        return to_channels_last(x)

    def settle(self, net: torch.nn.Module) -> None:
        """Lay the weights of a net that learns or is asked often as its layers' kernels take them, with the same values.

        channels_last on a CPU in bf16, where its pictures are laid so: else a convolution moves its weights in every pass.
        """
        if self.device.type == "cpu" and self.precision != "fp32":
            net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def scaler(self) -> torch.amp.GradScaler | None:
        """A loss scaler for fp16, else None."""
        return torch.amp.GradScaler(self.device.type) if self.precision == "fp16" else None

    @property
    def text(self) -> str:
        name = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else cpu_name()
        threads = f", {torch.get_num_threads()} threads" if self.device.type == "cpu" else ""
        return f"{self.device} ({name}{threads}), {self.precision}"


def in_channels_last(x: torch.Tensor) -> bool:
    """Whether the channels of a pixel of x [N, C, H, W] lie side by side, and not those of a row; of one pixel, never."""
    lie = x.is_contiguous(memory_format=torch.channels_last)
    return lie and x.stride(1) == 1 and x.shape[2] * x.shape[3] > 1


def to_channels_last(x: torch.Tensor) -> torch.Tensor:
    """x [N, C, H, W] in channels_last. One channel lies the same in both layouts: there the strides say which is meant."""
    _, c, h, w = x.shape
    return x.contiguous(memory_format=torch.channels_last) if c > 1 else x.contiguous().as_strided(x.shape, (h * w, 1, w, 1))


def exact(device: torch.device) -> AbstractContextManager[object]:
    """Autocast off: losses, SSIM and Gram matrices are fp32. `meta`, where nothing is computed, and old MPS have none."""
    has = device.type != "meta" and torch.amp.is_autocast_available(device.type)
    return torch.autocast(device.type, enabled=False) if has else contextlib.nullcontext()


def free_memory(device: torch.device) -> int:
    """Bytes that are free for data on the device (on the host: half of what is available)."""
    return available_memory(device) // (1 if device.type == "cuda" else 2)


def available_memory(device: torch.device) -> int:
    """Bytes that nobody uses, on the device or on the host; 4 GiB where the system does not say."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 4 << 30


def ready(device: torch.device) -> None:
    """Wait until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def prepare_cpu() -> bool:
    """Let this process keep the memory that it frees and the kernels that it makes; whether it keeps memory.

    A training step frees and takes the same gigabytes again and again, and every page that the system hands out anew is
    cleared first (mended with glibc only). A supernet shows oneDNN new shapes in every step, each of which wants a kernel
    made for it; of these it keeps 1,024. To be called once, before the tensors.
    """
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", str(KERNELS))  # read when the first kernel is made
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(MMAP_MAX, 0)) and bool(mallopt(TRIM_THRESHOLD, -1))  # no block of its own; never trimmed


def cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def cpu_has_bf16() -> bool:
    """Whether this CPU multiplies bf16 in hardware (elsewhere bf16 is slower than fp32)."""
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags


def cuda_has_bf16(device: str) -> bool:
    """Whether this GPU does: of NVIDIA's from compute capability 8 on; torch also counts those that emulate it."""
    return torch.version.hip is not None or torch.cuda.get_device_capability(device) >= (8, 0)


def choose(device: str = "auto", precision: str = "auto") -> Device:
    """Resolve the two options.

    `auto` device: cuda, else mps, else cpu. `auto` precision: bf16 where the chip has it, else fp32.

    Raises:
        UserError: an unknown name, or a device or precision that this machine lacks.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    kind, _, number = device.partition(":")
    if kind not in ("cpu", "cuda", "mps") or (":" in device and not number.isdecimal()):
        raise UserError(f"--device {device!r}: expected auto, cpu, cuda, cuda:N or mps")
    if kind == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda: torch sees no CUDA device here; use --device cpu or auto")
    if kind == "mps" and not torch.backends.mps.is_available():
        raise UserError("--device mps: torch sees no Apple GPU here; use --device cpu or auto")
    if precision not in PRECISIONS:
        raise UserError(f"--precision {precision!r}: expected one of {', '.join(PRECISIONS)}")
    if device == "cuda" and size() > 1:  # every process has a GPU of its own
        device = f"cuda:{local_rank()}"
    if precision == "auto":
        has = cuda_has_bf16(device) if kind == "cuda" else kind == "cpu" and cpu_has_bf16()
        precision = "bf16" if has else "fp32"
    if precision == "fp16" and kind != "cuda":
        raise UserError(f"--precision fp16 needs CUDA, not {kind}; use bf16 or fp32")
    return Device(torch.device(device), precision)
