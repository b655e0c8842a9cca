"""Unknown devices are explained; `tune_cpu` changes the memory allocator and the handling of denormals."""

import platform
import subprocess
import sys

import pytest
import torch

from tanet.errors import UserError
from tanet.runtime.device import pick_device, usable_devices

FAULTS = """
import resource
import torch
{start}
faults = []
for _ in range(20):  # until the heap has a hole of this size
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(2**24)
    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
print(faults[-1])
print(torch.tensor([1e-40]).mul(1).item())
"""


@pytest.mark.parametrize("name", ["gpu", "cuda:77", "cpu:x", "meta", "Cuda"])
def test_error_lists_devices_of_this_machine(name):
    with pytest.raises(UserError) as error:
        pick_device(name)
    choices = ", ".join(("auto", *usable_devices()))
    assert str(error.value) == f"device '{name}' cannot be used: choose from {choices} on this machine"


def test_listed_devices_can_be_picked(monkeypatch):
    assert usable_devices()[0] == "cpu"
    for name in usable_devices():
        assert pick_device(name) == torch.device(name)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert usable_devices()[:4] == ("cpu", "cuda", "cuda:0", "cuda:1")


def test_error_of_broken_gpu_gives_its_cause(monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("CUDA error: the driver is too old\nand more")

    monkeypatch.setattr("tanet.runtime.device.usable_devices", lambda: ("cpu", "cuda", "cuda:0"))
    monkeypatch.setattr(torch, "empty", broken)
    with pytest.raises(UserError, match=r"device 'cuda' cannot be used: CUDA error: the driver is too old$"):
        pick_device("cuda")


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another libc's allocator is left as it is")
@pytest.mark.parametrize(
    "start",
    [
        "from tanet.runtime.device import tune_cpu; tune_cpu()",
        "import tanet; tanet.create_model('c2d-mobilenet-v2')",
    ],
)
def test_commands_and_networks_keep_freed_memory(start):
    code = FAULTS.format(start=start)
    lines = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    faults, denormal = lines.split()
    assert int(faults) < 100  # the tensor has 16,384 pages
    assert (float(denormal) == 0) == ("tune_cpu" in start)  # only a command flushes them
