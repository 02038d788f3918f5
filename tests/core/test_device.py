"""What a process keeps of the memory that it frees."""

import subprocess
import sys

import pytest

FAULTS = """
import resource, sys
import torch
from ugc.core.device import keep_freed_memory
if sys.argv[1] == "keep" and not keep_freed_memory():
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
