"""Settings of the published 3D networks. Architectures by name and the recipes share these values."""

from dataclasses import replace

from tanet.recipes.networks3d import X3D, ResNet3D, SlowFast
from tanet.recipes.networks3d_factored import CSN, S3D, ARTNet, VideoResNet

NON_LOCAL = ("res3.1", "res3.3", "res4.1", "res4.3", "res4.5")
"""Blocks of ResNet-50 that are followed by a non-local block: every second one of res3 and res4."""

I3D = ResNet3D(
    frames=32,
    temporal_blocks=("all", "even", "even", "odd"),
    stem_kernel=5,
    stem_stride=2,
    pool1="unpadded",
    pool2="2x1x1",
)
"""I3D with ResNet-50, in the form of video-nonlocal-net, the code of the non-local paper."""
NL_I3D = replace(I3D, non_local=NON_LOCAL)
I3D_PYSLOWFAST = replace(I3D, frames=8, stem_stride=1, pool1="space")
C2D = replace(I3D_PYSLOWFAST, temporal_blocks=("none",) * 4, stem_kernel=1)
I3D_MMACTION2 = replace(I3D, pool1="skip", head_window=0)
I3D_TABLE6 = replace(I3D, stem_stride=1, pool1="space", pool2="3x1x1", res5_stride=1, head_window=14)
"""As in the TAM paper's Table 6 (Wang and Gupta, ECCV 2018): res5 keeps the resolution of res4."""

SLOWONLY = ResNet3D()

R101 = (3, 4, 23, 3)
"""Numbers of blocks in ResNet-101."""
SLOWFAST = SlowFast()
SLOWFAST_8X8 = replace(SLOWFAST, speed_ratio=4, lateral_kernel=7)
SLOWFAST_R101 = replace(SLOWFAST, speed_ratio=4, blocks=R101, fast_blocks=R101, temporal_blocks=R101)
SLOWFAST_16X8 = replace(SLOWFAST_R101, frames=64, temporal_blocks=(3, 4, 6, 3))
SLOWFAST_NL = replace(SLOWFAST_16X8, non_local=("res4.6", "res4.13", "res4.20"))

X3D_M = X3D()
X3D_S = replace(X3D_M, frames=13, head_window=5)
X3D_XS = replace(X3D_S, frames=4)
X3D_L = replace(X3D_M, depth_factor=5.0, head_window=10)
X3D_XL = replace(X3D_L, width_factor=2.9)

S3D_TORCHVISION = S3D()
S3D_KYLEMIN = replace(S3D_TORCHVISION, head_window="2")
S3D_G = replace(S3D_KYLEMIN, gates="plain")
S3D_HOWTO100M = S3D(
    gates="bias", stem="3x7x7", norm_eps=1e-5, pool_padding="end", head_window="all", dropout=0.0
)
R2PLUS1D_34 = VideoResNet()
R2PLUS1D_18 = VideoResNet(frames=16, blocks=(2, 2, 2, 2), style="torchvision", norm_eps=1e-5)
R3D_18 = replace(R2PLUS1D_18, convolutions="3d")
MC3_18 = replace(R2PLUS1D_18, convolutions="mixed")
R2PLUS1D_34_MMACTION2 = replace(R2PLUS1D_34, style="mmaction2", dropout=0.5)
IP_CSN_152 = CSN()
IP_CSN_50 = replace(IP_CSN_152, blocks=(3, 4, 6, 3), frames=8)
IR_CSN_152 = replace(IP_CSN_152, interaction="reduced")
IR_CSN_50 = replace(IP_CSN_50, interaction="reduced", frames=32)
IR_CSN_101 = CSN(interaction="reduced", blocks=R101, norm_eps=1e-5, head_window=7, dropout=0.5)
ARTNET_18 = ARTNet()
