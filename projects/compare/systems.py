"""Narrow variants of the systems of the paper's Tables 4 and 6, to train from scratch on synthetic videos.

For clips of 80², the networks have 0.1 to 1.2 G multiply-adds; S3D-G (2.3 G) and ECO (6.2 G) have no narrow
variant. `slowfast` and `slowfast tam` differ as in section 4.4 of the paper: a 1×1×1 convolution and a TAM
in the place of each 3×1×1 convolution.
"""

from dataclasses import replace

from tanet.recipes.network2d import Network2D
from tanet.recipes.network_settings import NetworkSettings
from tanet.recipes.networks3d import X3D, SlowFast
from tanet.recipes.networks3d_factored import CSN, S3D, VideoResNet
from tanet.recipes.networks_hybrid import ECO

TWO_EACH = (2, 2, 2, 2)
PLAIN = Network2D(backbone="resnet18_w16", temporal="none", frames=8, dropout=0.0)
SLOWFAST = SlowFast(
    frames=32,
    speed_ratio=4,
    width=32,
    blocks=TWO_EACH,
    fast_blocks=TWO_EACH,
    temporal_blocks=TWO_EACH,
    head_window=0,
    dropout=0.0,
)
SYSTEMS: dict[str, NetworkSettings] = {
    "tsn": PLAIN,
    "trn-multiscale": replace(PLAIN, consensus="trn-multiscale"),
    "tsm": replace(PLAIN, temporal="tsm"),
    "teinet": replace(PLAIN, temporal="tei"),
    "gst": replace(PLAIN, temporal="gst"),
    "i3d": replace(PLAIN, temporal="i3d"),
    "tanet": replace(PLAIN, temporal="tam"),
    "tanet static": replace(PLAIN, temporal="tam", static_kernel="shift"),
    "tanet 16f": replace(PLAIN, temporal="tam", frames=16),
    "r2plus1d": VideoResNet(frames=16, width=8, blocks=TWO_EACH, dropout=0.0),
    "s3d-g": S3D(frames=16, gates="plain", head_window="all", dropout=0.0),
    "ip-csn": CSN(frames=16, width=16, blocks=TWO_EACH, dropout=0.0),
    "x3d": X3D(frames=16, width_factor=1.0, depth_factor=1.0, head_window=0, dropout=0.0),
    "eco-lite": ECO(frames=16, dropout=0.0, dropout_2d=0.0),
    "slowfast": SLOWFAST,
    "slowfast tam": replace(SLOWFAST, temporal="tam"),
    "slowfast tam static": replace(SLOWFAST, temporal="tam", static_kernel="shift"),
}
"""Name → network."""
