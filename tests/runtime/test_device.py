"""`tune_cpu` changes the memory allocator and the handling of denormals."""

import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource
import torch
from tanet.runtime.device import tune_cpu
tune_cpu()
faults = []
for _ in range(5):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(2**24)
    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
print(faults[-1])
print(torch.tensor([1e-40]).mul(1).item())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another libc's allocator is left as it is")
def test_tune_cpu_keeps_freed_memory_and_flushes_denormals():
    lines = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True).stdout
    faults, denormal = lines.split()
    assert int(faults) < 100  # the tensor has 16,384 pages
    assert float(denormal) == 0
