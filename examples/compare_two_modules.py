"""Compare two temporal modules in the same 2D network: parameters, operations and time.

python examples/compare_two_modules.py tsm tam
"""

import sys

import tanet
from tanet.profiling.flops import count_cost
from tanet.profiling.latency import measure_latency
from tanet.recipes.recipe import Network2D

for temporal in sys.argv[1:]:
    model = Network2D(backbone="resnet18", temporal=temporal, frames=8)
    network = tanet.build(model, classes=174)
    cost = count_cost(network, size=64).total
    latency = measure_latency(network, size=64, batch=1, precision="float32")
    print(
        f"{temporal}: {cost.parameters:,} parameters, {cost.macs / 1e9:.2f} G multiply-adds, "
        f"{1000 * latency.p50:.0f} ms a clip"
    )
