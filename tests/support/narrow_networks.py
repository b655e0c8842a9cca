"""Settings of 3D networks that are so narrow that a test can train them: frames of 32 × 32 pixels."""

from dataclasses import replace

from torch import nn

from tanet.recipes.networks3d import X3D, InceptionI3D, ResNet3D, SlowFast
from tanet.recipes.networks3d_factored import CSN, S3D, ARTNet, VideoResNet

ONE_EACH = (1, 1, 1, 1)
RESNET3D = ResNet3D(frames=4, width=8, blocks=ONE_EACH)
NON_LOCAL = ("res3.0", "res4.0")
SLOWFAST = SlowFast(
    frames=8, speed_ratio=4, width=16, blocks=ONE_EACH, fast_blocks=ONE_EACH, temporal_blocks=ONE_EACH
)
I3D = replace(
    RESNET3D,
    frames=8,
    temporal_blocks=("all", "even", "even", "odd"),
    stem_kernel=5,
    stem_stride=2,
    pool1="unpadded",
    pool2="2x1x1",
)

NARROW = {
    "slowonly": RESNET3D,
    "i3d": I3D,
    "i3d-mmaction2": replace(I3D, pool1="skip", head_window=0),
    "i3d-table6": replace(I3D, stem_stride=1, pool1="space", pool2="3x1x1", res5_stride=1),
    "nl-i3d": replace(I3D, non_local=NON_LOCAL),
    "nl-dot": replace(RESNET3D, non_local=NON_LOCAL, attention="dot"),
    "nl-mmaction2": replace(RESNET3D, non_local=NON_LOCAL, attention_style="mmaction2"),
    "tam-slowonly": replace(RESNET3D, temporal="tam"),
    "tam-i3d": replace(I3D, temporal="tam"),
    "slowfast": SLOWFAST,
    "slowfast-mmaction2": replace(SLOWFAST, lateral_norm=False, slow_frames="stride", head_window=0),
    "slowfast-nl": replace(SLOWFAST, non_local=NON_LOCAL),
    "tam-slowfast": replace(SLOWFAST, temporal="tam", width=32),
    "x3d": X3D(frames=4, width_factor=0.5, depth_factor=0.5),
    "i3d-inception": InceptionI3D(frames=9),
    "s3d-g": S3D(frames=8, gates="bias", stem="cells", pool_padding="end"),
    "r2plus1d": VideoResNet(frames=4, width=8, blocks=ONE_EACH),
    "r2plus1d-mmaction2": VideoResNet(frames=4, width=8, blocks=ONE_EACH, style="mmaction2"),
    "mc3": VideoResNet(frames=4, width=8, blocks=ONE_EACH, convolutions="mixed"),
    "ip-csn": CSN(frames=4, width=8, blocks=ONE_EACH),
    "ir-csn": CSN(frames=4, width=8, blocks=ONE_EACH, interaction="reduced"),
    "artnet": ARTNet(frames=4, width=8),
}
SIZE = 32


def randomize_norms(module: nn.Module) -> nn.Module:
    """Give each BatchNorm random weights and statistics, as after training. Return the module in float64."""
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm1d | nn.BatchNorm3d):
            assert norm.running_mean is not None
            assert norm.running_var is not None
            nn.init.uniform_(norm.weight, 0.5, 1.5)
            nn.init.normal_(norm.bias)
            nn.init.normal_(norm.running_mean, std=0.1)
            nn.init.uniform_(norm.running_var, 0.5, 1.5)
    return module.double().eval()
