"""The machine and its processes: devices, ranks, interrupts, process pools, atomic files."""
