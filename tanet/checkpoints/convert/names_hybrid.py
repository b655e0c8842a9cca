"""Tables of weight names of ECO and bLVNet-TAM, in the notation of weight_names.py."""

from tanet.checkpoints.convert.weight_names import Names

ECO_BLOCK = {"1": "conv1", "1_bn": "norm1", "2": "conv2", "bn": "norm", "down": "shortcut"}
ECO: Names = (
    *(
        (f"base_model.res{stage}{letter}_{theirs}.{{leaf}}", f"res{stage}.{block}.{ours}.{{leaf}}")
        for stage in (2, 3, 4, 5)
        for block, letter in enumerate("ab")
        for theirs, ours in ECO_BLOCK.items()
    ),
    ("base_model.inception_{mixed}_{p}", "layers2d.inception_{mixed}.{p}"),
    ("base_model.conv1_7x7{p}", "layers2d.conv1_7x7{p}"),
    ("base_model.conv2_3x3{p}", "layers2d.conv2_3x3{p}"),
    ("base_model.conv1.{leaf}", "conv1.{leaf}"),
    ("base_model.conv1_bn.{leaf}", "norm1.{leaf}"),
    ("new_fc.{leaf}", "head.{leaf}"),
    ("base_model.fc_final.{leaf}", "head.{leaf}"),
    ("base_model.fc8.{leaf}", "head.{leaf}"),
    ("base_model.fc.{leaf}", "head.{leaf}"),
)
BLVNET: Names = (
    ("baseline_model.tam.{leaf}", "temporal.{leaf}"),
    ("baseline_model.{p}.tam.weight", "{p}.temporal.weight"),
    ("new_fc.{leaf}", "head.{leaf}"),
    ("baseline_model.fc.{leaf}", "head.{leaf}"),
    ("baseline_model.{p}", "{p}"),
)
