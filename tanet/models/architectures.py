"""Architectures by name: the settings of each network, and the input that it is made for."""

from dataclasses import dataclass, field, replace

from tanet.errors import UserError
from tanet.recipes.input_spec import IMAGENET, InputSpec, normalisation_of
from tanet.recipes.network2d import Network2D
from tanet.recipes.network_settings import NetworkSettings
from tanet.recipes.networks3d import InceptionI3D
from tanet.recipes.networks_hybrid import ECO, BLVNet, CPNet, RegionGraphNet
from tanet.recipes.published2d import (
    GST_50,
    TRN_BN_INCEPTION,
    TSN_BN_INCEPTION,
    TSN_FLOW_BN_INCEPTION,
    TSN_INCEPTION_V3,
)
from tanet.recipes.published3d import (
    ARTNET_18,
    C2D,
    I3D,
    I3D_MMACTION2,
    I3D_PYSLOWFAST,
    I3D_TABLE6,
    IP_CSN_50,
    IP_CSN_152,
    IR_CSN_50,
    IR_CSN_101,
    IR_CSN_152,
    MC3_18,
    NL_I3D,
    NON_LOCAL,
    R2PLUS1D_18,
    R2PLUS1D_34,
    R2PLUS1D_34_MMACTION2,
    R3D_18,
    R101,
    S3D_G,
    S3D_HOWTO100M,
    S3D_TORCHVISION,
    SLOWFAST,
    SLOWFAST_8X8,
    SLOWFAST_16X8,
    SLOWFAST_NL,
    SLOWFAST_R101,
    SLOWONLY,
    X3D_L,
    X3D_M,
    X3D_S,
    X3D_XL,
    X3D_XS,
)


@dataclass(frozen=True)
class Architecture:
    """Settings of a network, and the input specification that it is published with."""

    settings: NetworkSettings
    input_spec: InputSpec = field(default=IMAGENET)


def _clip(
    settings: NetworkSettings, *, step: int, resize: int = 256, size: int = 224, width: int = 0
) -> Architecture:
    """Return the architecture of a network for clips with a fixed distance between frames."""
    spec = replace(normalisation_of(settings), frame_step=step, resize=resize, resize_width=width, size=size)
    return Architecture(settings, spec)


def _small(settings: NetworkSettings, *, step: int, width: int = 171) -> Architecture:
    """Return the architecture of a network for crops of 112² from frames that are 128 pixels high."""
    return _clip(settings, step=step, resize=128, width=width, size=112)


ARCHITECTURES: dict[str, Architecture] = {
    **{
        name: Architecture(settings, normalisation_of(settings))
        for name, settings in {
            "c2d-resnet50": Network2D(temporal="none"),
            "c2d-resnet101": Network2D(backbone="resnet101", temporal="none"),
            "c2d-pool-resnet50": Network2D(temporal="pool"),
            "c2d-tconv-resnet50": Network2D(temporal="tconv"),
            "i3d-resnet50": Network2D(temporal="i3d"),
            "nonlocal-resnet50": Network2D(temporal="nonlocal"),
            "tsm-resnet50": Network2D(temporal="tsm"),
            "teinet-resnet50": Network2D(temporal="tei"),
            "tam-ibm-resnet50": Network2D(temporal="tam-ibm"),
            "tanet-r-resnet50": Network2D(temporal="tanet-r"),
            "tanet-resnet18": Network2D(backbone="resnet18"),
            "tanet-resnet34": Network2D(backbone="resnet34"),
            "tanet-resnet50": Network2D(backbone="resnet50"),
            "tanet-resnet101": Network2D(backbone="resnet101"),
            "tanet-resnet152": Network2D(backbone="resnet152"),
            "tanet-resnext50": Network2D(backbone="resnext50_32x4d"),
            "tanet-mobilenet-v2": Network2D(backbone="mobilenet_v2"),
            "tanet-shufflenet-v2": Network2D(backbone="shufflenet_v2_x1_0"),
            "tanet-inception-v3": Network2D(backbone="inception_v3"),
            "tsm-mobilenet-v2": Network2D(backbone="mobilenet_v2", temporal="tsm"),
            "c2d-mobilenet-v2": Network2D(backbone="mobilenet_v2", temporal="none"),
            "tsn-bn-inception": replace(TSN_BN_INCEPTION, frames=3),
            "tsn-inception-v3-cuhk": TSN_INCEPTION_V3,
            "tsm-bn-inception": replace(TSN_BN_INCEPTION, temporal="tsm", position="input"),
            "tsm-resnet101": Network2D(backbone="resnet101", temporal="tsm", blocks="alternate"),
            "c2d-flow-resnet50": Network2D(flows=5, temporal="none"),
            "tsn-flow-bn-inception": replace(TSN_FLOW_BN_INCEPTION, frames=3),
            "tsm-flow-resnet50": Network2D(flows=5, temporal="tsm"),
            "tsm-nl-resnet50": Network2D(temporal="tsm", non_local="softmax"),
            "tsm-nl-dot-resnet50": Network2D(temporal="tsm", non_local="dot"),
            "tsm-nl-gaussian-resnet50": Network2D(temporal="tsm", non_local="gaussian"),
            "trn-bn-inception": replace(TSN_BN_INCEPTION, consensus="trn"),
            "trn-multiscale-bn-inception": TRN_BN_INCEPTION,
            "trn-multiscale-inception-v3": replace(TRN_BN_INCEPTION, backbone="inception_v3_cuhk"),
            "trn-multiscale-resnet50": Network2D(temporal="none", consensus="trn-multiscale", dropout=0.8),
            "gst-resnet50": GST_50,
            "gst-large-resnet50": replace(GST_50, gst_groups=1),
            "stm-resnet50": Network2D(temporal="stm"),
            "tada-resnet50": Network2D(temporal="tada"),
            "blresnet50": Network2D(backbone="blresnet50", temporal="none"),
            "blresnet101": Network2D(backbone="blresnet101", temporal="none"),
            "eco-lite": ECO(),
            "eco": ECO(variant="full", dropout=0.3),
            "eco-c3d-resnet18": ECO(variant="c3d"),
            "blvnet-tam-50": BLVNet(),
            "blvnet-tam-50-16x2": BLVNet(frames=32),
            "blvnet-tam-50-24x2": BLVNet(frames=48),
            "blvnet-tam-101": BLVNet(depth=101),
            "cpnet-resnet18": CPNet(depth=18, frames=12),
            "cpnet-resnet34": CPNet(frames=12),
        }.items()
    },
    "i3d-inception": _clip(InceptionI3D(), step=1),
    "i3d-flow-inception": _clip(InceptionI3D(flows=1), step=1),
    "c2d-r50": _clip(C2D, step=8),
    "c2d-nopool-r50": _clip(replace(C2D, pool2="none"), step=8),
    "i3d-r50": _clip(I3D, step=2),
    "i3d-r50-128f": _clip(replace(I3D, frames=128), step=1),
    "i3d-r50-8x8": _clip(I3D_PYSLOWFAST, step=8),
    "i3d-r50-mmaction2": _clip(I3D_MMACTION2, step=2),
    "i3d-r50-heavy": _clip(
        replace(I3D_MMACTION2, temporal_blocks=("all",) * 4, stem_stride=1, pool1="space"), step=2
    ),
    "i3d-r50-table6": _clip(I3D_TABLE6, step=2),
    "nl-i3d-r50": _clip(NL_I3D, step=2),
    "nl-i3d-r50-128f": _clip(replace(I3D, frames=128, non_local=NON_LOCAL), step=1),
    "nl-i3d-r50-8x8": _clip(replace(I3D_PYSLOWFAST, non_local=NON_LOCAL), step=8),
    "nl-i3d-r50-mmaction2": _clip(
        replace(I3D_MMACTION2, non_local=NON_LOCAL, attention_style="mmaction2"), step=2
    ),
    "nl-i3d-r50-mmaction2-dot": _clip(
        replace(I3D_MMACTION2, non_local=NON_LOCAL, attention_style="mmaction2", attention="dot"), step=2
    ),
    "nl-i3d-r50-table6": _clip(replace(I3D_TABLE6, non_local=NON_LOCAL), step=2),
    "nl-i3d-gcn-r50": _clip(RegionGraphNet(), step=2),
    "i3d-gcn-r50": _clip(RegionGraphNet(non_local=False), step=2),
    "tam-i3d-r50": _clip(replace(I3D, temporal="tam"), step=2),
    "slowonly-r50": _clip(SLOWONLY, step=8),
    "slowonly-r50-4x16": _clip(replace(SLOWONLY, frames=4), step=16),
    "slowonly-r101": _clip(replace(SLOWONLY, blocks=R101), step=8),
    "tam-slowonly-r50": _clip(replace(SLOWONLY, temporal="tam"), step=8),
    "slowfast-r50-4x16": _clip(SLOWFAST, step=2),
    "slowfast-r50-8x8": _clip(SLOWFAST_8X8, step=2),
    "slowfast-r101-8x8": _clip(SLOWFAST_R101, step=2),
    "slowfast-r101-16x8": _clip(SLOWFAST_16X8, step=2),
    "slowfast-r101-50-8x8": _clip(replace(SLOWFAST_16X8, frames=32), step=2),
    "slowfast-r101-r50-4x16": _clip(
        replace(SLOWFAST, blocks=SLOWFAST_R101.blocks, temporal_blocks=SLOWFAST_R101.blocks), step=2
    ),
    "slowfast-nl-r50-4x16": _clip(replace(SLOWFAST, non_local=NON_LOCAL), step=2),
    "slowfast-nl-r101-16x8": _clip(SLOWFAST_NL, step=2),
    "tam-slowfast-r50-4x16": _clip(replace(SLOWFAST, temporal="tam"), step=2),
    "tam-slowfast-r50-8x8": _clip(replace(SLOWFAST_8X8, temporal="tam"), step=2),
    "tam-slowfast-r101-16x8": _clip(replace(SLOWFAST_16X8, temporal="tam"), step=2),
    "x3d-xs": _clip(X3D_XS, step=12, resize=182, size=160),
    "x3d-s": _clip(X3D_S, step=6, resize=182, size=160),
    "x3d-m": _clip(X3D_M, step=5),
    "x3d-l": _clip(X3D_L, step=5, resize=356, size=312),
    "x3d-xl": _clip(X3D_XL, step=5, resize=356, size=312),
    "s3d": _clip(S3D_TORCHVISION, step=1),
    "s3d-128f": _clip(replace(S3D_TORCHVISION, frames=128), step=2, width=256),
    "s3d-g": _clip(S3D_G, step=1),
    "s3d-g-howto100m": _clip(S3D_HOWTO100M, step=1),
    "s3d-g-howto100m-cells": _clip(replace(S3D_HOWTO100M, stem="cells"), step=1),
    "r2plus1d-34": _small(R2PLUS1D_34, step=2),
    "r2plus1d-34-8f": _small(replace(R2PLUS1D_34, frames=8), step=2),
    "r2plus1d-34-mmaction2": _clip(R2PLUS1D_34_MMACTION2, step=2),
    "r2plus1d-34-8x8-mmaction2": _clip(replace(R2PLUS1D_34_MMACTION2, frames=8), step=8),
    "r2plus1d-18": _small(R2PLUS1D_18, step=2),
    "r3d-18": _small(R3D_18, step=2),
    "mc3-18": _small(MC3_18, step=2),
    "ip-csn-50": _clip(IP_CSN_50, step=2),
    "ip-csn-152": _clip(IP_CSN_152, step=2),
    "ir-csn-50": _clip(IR_CSN_50, step=2),
    "ir-csn-101": _clip(IR_CSN_101, step=2),
    "ir-csn-152": _clip(IR_CSN_152, step=2),
    "artnet-r18": _small(ARTNET_18, step=1, width=170),
}
"""Architectures by name. A recipe may also combine other settings, such as any 2D network with any module."""


def list_models() -> list[str]:
    """List the names that `create_model` accepts."""
    return list(ARCHITECTURES)


def find_architecture(name: str) -> Architecture:
    """Return the architecture with this name.

    Raises:
        UserError: the name is unknown. The message lists the known names.
    """
    if name not in ARCHITECTURES:
        raise UserError(f"unknown model '{name}': choose from {', '.join(ARCHITECTURES)}")
    return ARCHITECTURES[name]
