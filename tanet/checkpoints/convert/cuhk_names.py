"""Names of CUHK's Inception-v3, which come from TensorFlow: mixed_4_tower_conv_1 is Mixed_6b.branch7x7_2."""

STEM = ("Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3", "Conv2d_3b_1x1", "Conv2d_4a_3x3")
GRID_35 = {
    "conv": "branch1x1",
    "tower_conv": "branch5x5_1",
    "tower_conv_1": "branch5x5_2",
    "tower_1_conv": "branch3x3dbl_1",
    "tower_1_conv_1": "branch3x3dbl_2",
    "tower_1_conv_2": "branch3x3dbl_3",
    "tower_2_conv": "branch_pool",
}
GRID_35_REDUCE = {
    "conv": "branch3x3",
    "tower_conv": "branch3x3dbl_1",
    "tower_conv_1": "branch3x3dbl_2",
    "tower_conv_2": "branch3x3dbl_3",
}
GRID_17 = {
    "conv": "branch1x1",
    "tower_conv": "branch7x7_1",
    "tower_conv_1": "branch7x7_2",
    "tower_conv_2": "branch7x7_3",
    "tower_1_conv": "branch7x7dbl_1",
    "tower_1_conv_1": "branch7x7dbl_2",
    "tower_1_conv_2": "branch7x7dbl_3",
    "tower_1_conv_3": "branch7x7dbl_4",
    "tower_1_conv_4": "branch7x7dbl_5",
    "tower_2_conv": "branch_pool",
}
GRID_17_REDUCE = {
    "tower_conv": "branch3x3_1",
    "tower_conv_1": "branch3x3_2",
    "tower_1_conv": "branch7x7x3_1",
    "tower_1_conv_1": "branch7x7x3_2",
    "tower_1_conv_2": "branch7x7x3_3",
    "tower_1_conv_3": "branch7x7x3_4",
}
GRID_8 = {
    "conv": "branch1x1",
    "tower_conv": "branch3x3_1",
    "tower_mixed_conv": "branch3x3_2a",
    "tower_mixed_conv_1": "branch3x3_2b",
    "tower_1_conv": "branch3x3dbl_1",
    "tower_1_conv_1": "branch3x3dbl_2",
    "tower_1_mixed_conv": "branch3x3dbl_3a",
    "tower_1_mixed_conv_1": "branch3x3dbl_3b",
    "tower_2_conv": "branch_pool",
}
MIXED = {
    **dict.fromkeys(("5b", "5c", "5d"), GRID_35),
    "6a": GRID_35_REDUCE,
    **dict.fromkeys(("6b", "6c", "6d", "6e"), GRID_17),
    "7a": GRID_17_REDUCE,
    **dict.fromkeys(("7b", "7c"), GRID_8),
}


def _pairs() -> dict[str, str]:
    """Return CUHK's name of each convolution and its name in torchvision."""
    found = {f"conv_{number}" if number else "conv": name for number, name in enumerate(STEM)}
    for number, (block, names) in enumerate(MIXED.items()):
        prefix = f"mixed_{number}" if number else "mixed"
        found |= {f"{prefix}_{theirs}": f"Mixed_{block}.{ours}" for theirs, ours in names.items()}
    return found


CONVOLUTIONS = _pairs()
"""CUHK's name of a convolution → its name in `inception_v3_cuhk`."""
