"""How pictures are laid out on a device, and what a process keeps of the memory that it frees and the kernels it makes."""

import os
import subprocess
import sys

import pytest
import torch

from ugc.core.device import Device, choose, exact

FAULTS = """
import resource, sys
import torch
from ugc.core.device import prepare_cpu
if sys.argv[1] == "keep" and not prepare_cpu():
    sys.exit("no glibc")
def faults(times):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(times):
        torch.ones(16 << 20)  # 64 MiB, freed at once
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults(20)
print(faults(20))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator")
def test_freed_memory_is_used_again_without_asking_the_system():
    plain, kept = (subprocess.run([sys.executable, "-c", FAULTS, how], capture_output=True, text=True, check=True).stdout
                   for how in ("plain", "keep"))
    assert int(kept) < int(plain) / 10  # that is, fewer than in two rounds of twenty


@pytest.mark.parametrize("channels", [1, 3])
def test_a_picture_is_laid_out_as_is_quickest_on_a_cpu(channels):
    """In bf16 channels_last always, in fp32 where no gradient is asked; of one channel the strides say so."""
    x = torch.randn(2, channels, 5, 4, requires_grad=True)
    conv = torch.nn.Conv2d(channels, 4, 3)
    cases = (("fp32", True, False), ("fp32", False, True), ("bf16", True, True), ("bf16", False, True))
    for precision, asked, last in cases:
        device = Device(torch.device("cpu"), precision)
        with torch.set_grad_enabled(asked):
            y = device.laid_out(x)
            assert torch.equal(y, x)
            assert (y.stride() == (20 * channels, 1, 4 * channels, channels)) == last
            assert conv(y).is_contiguous(memory_format=torch.channels_last) == last
    (gradient,) = torch.autograd.grad(Device(torch.device("cpu"), "bf16").laid_out(x).square().sum(), x)
    assert torch.equal(gradient, 2 * x)
    assert Device(torch.device("cpu"), "bf16").laid_out(x[0]) is not None  # what is no batch of pictures stays


def test_a_net_is_settled_as_its_pictures_are():
    """channels_last in bf16 on a CPU: the same values, in another order of memory; elsewhere as it was."""
    for device, precision, last in (("cpu", "bf16", True), ("cpu", "fp32", False), ("meta", "bf16", False)):
        net = torch.nn.Conv2d(3, 4, 2)
        before, weight = net.weight.detach().clone(), net.weight
        Device(torch.device(device), precision).settle(net)
        assert net.weight is weight and torch.equal(net.weight, before)
        assert net.weight.is_contiguous(memory_format=torch.channels_last) == last


def test_onednn_keeps_more_kernels_unless_it_was_told(monkeypatch):
    monkeypatch.delenv("ONEDNN_PRIMITIVE_CACHE_CAPACITY", raising=False)
    name, said = "ONEDNN_PRIMITIVE_CACHE_CAPACITY", []
    script = f"import os; from ugc.core.device import prepare_cpu; prepare_cpu(); print(os.environ['{name}'])"
    for told in ({}, {name: "7"}):
        env = {**os.environ, **told}
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=env)
        said.append(done.stdout.strip())
    assert said == ["8192", "7"]


@pytest.mark.parametrize("capability, precision", [((7, 5), "fp32"), ((8, 0), "bf16"), ((9, 0), "bf16")])
def test_auto_takes_bf16_of_gpus_that_have_it(monkeypatch, capability, precision):
    """torch says that older ones have it, too: they emulate it."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: {"cuda": capability}.get(device, (6, 1)))
    assert choose("cuda", "auto").precision == precision and choose("cuda:1", "auto").precision == "fp32"


def test_an_old_torch_without_autocast_for_a_device(monkeypatch):
    monkeypatch.setattr(torch.amp, "is_autocast_available", lambda kind: kind != "mps")
    with exact(torch.device("mps")), exact(torch.device("cpu")):
        assert not torch.is_autocast_enabled("cpu")
