"""Random weights under the names of other projects, written without the name tables of tanet."""

from collections.abc import Iterator

import torch
from torch.nn import functional as F

Shapes = dict[str, tuple[int, ...]]
R50, R101 = (3, 4, 6, 3), (3, 4, 23, 3)


def blocks(depths, width, expansion) -> Iterator[tuple[str, int, int, int, bool]]:
    """Yield (layerS.i, C in, C inside, C out, whether the shortcut has a convolution) for each block."""
    inputs = width
    for stage, depth in enumerate(depths):
        inner = width * 2**stage
        for i in range(depth):
            yield (
                f"layer{stage + 1}.{i}",
                inputs,
                inner,
                inner * expansion,
                i == 0 and inputs != inner * expansion,
            )
            inputs = inner * expansion


def norm(name, channels) -> Shapes:
    parts = ("weight", "bias", "running_mean", "running_var")
    return {f"{name}.{part}": (channels,) for part in parts} | {f"{name}.num_batches_tracked": ()}


def tam(g, gate, channels, frames, kernel, local) -> Shapes:
    return {
        f"{g}.0.weight": (2 * frames, frames),
        **norm(f"{g}.1", 2 * frames),
        f"{g}.3.weight": (kernel, 2 * frames),
        f"{gate}.0.weight": (channels // 4, channels, local),
        **norm(f"{gate}.1", channels // 4),
        f"{gate}.3.weight": (channels, channels // 4, 1),
    }


def convolutions(inputs, inner, outputs, *, basic) -> list[tuple[int, ...]]:
    if basic:
        return [(inner, inputs, 3, 3), (inner, inner, 3, 3)]
    return [(inner, inputs, 1, 1), (inner, inner, 3, 3), (outputs, inner, 1, 1)]


def official(
    depths=R50,
    *,
    width=64,
    basic=False,
    frames=8,
    kernel=3,
    local=None,
    classes=5,
    plugged="1234",
    wrap="tam",
) -> Shapes:
    """List names and shapes of a file of the published code. wrap: tam, old (older names), shift or none."""
    found: Shapes = {"base_model.conv1.weight": (width, 3, 7, 7), **norm("base_model.bn1", width)}
    for block, inputs, inner, outputs, shortcut in blocks(depths, width, 1 if basic else 4):
        at = f"base_model.{block}"
        inside = at + ".net" if wrap in ("tam", "old") and block[5] in plugged else at
        if inside != at:
            branches = ("tam.G", "tam.L") if wrap == "tam" else ("self_conv.conv_f", "self_conv.conv_g")
            found |= tam(*(f"{at}.{branch}" for branch in branches), inner, frames, kernel, local or kernel)
        for n, shape in enumerate(convolutions(inputs, inner, outputs, basic=basic), 1):
            shift = ".net" if wrap == "shift" and n == 1 and block[5] in plugged else ""
            found[f"{inside}.conv{n}{shift}.weight"] = shape
            found |= norm(f"{inside}.bn{n}", shape[0])
        if shortcut:
            found[f"{inside}.downsample.0.weight"] = (outputs, inputs, 1, 1)
            found |= norm(f"{inside}.downsample.1", outputs)
    return found | {"new_fc.weight": (classes, outputs), "new_fc.bias": (classes,)}


def mmaction2(depths=R50, *, width=64, basic=False, frames=8, kernel=3, classes=5, wrap="tam") -> Shapes:
    """List names and shapes of a file of mmaction2 in the order of `official`. wrap: tam, shift or none."""
    found: Shapes = {"backbone.conv1.conv.weight": (width, 3, 7, 7), **norm("backbone.conv1.bn", width)}
    for block, inputs, inner, outputs, shortcut in blocks(depths, width, 1 if basic else 4):
        at = f"backbone.{block}"
        inside = f"{at}.block" if wrap == "tam" else at
        if wrap == "tam":
            found |= tam(f"{at}.tam.G", f"{at}.tam.L", inner, frames, kernel, kernel)
        for n, shape in enumerate(convolutions(inputs, inner, outputs, basic=basic), 1):
            shift = ".net" if wrap == "shift" and n == 1 else ""
            found[f"{inside}.conv{n}.conv{shift}.weight"] = shape
            found |= norm(f"{inside}.conv{n}.bn", shape[0])
        if shortcut:
            found[f"{inside}.downsample.conv.weight"] = (outputs, inputs, 1, 1)
            found |= norm(f"{inside}.downsample.bn", outputs)
    return found | {"cls_head.fc_cls.weight": (classes, outputs), "cls_head.fc_cls.bias": (classes,)}


def weights(shapes: Shapes, *, prefix="", device="cpu") -> dict[str, torch.Tensor]:
    """Make random weights, scaled so that activations neither vanish nor explode."""
    made = {}
    for name, shape in shapes.items():
        if name.endswith("num_batches_tracked"):
            tensor = torch.randint(1, 1000, (), device=device)
        elif name.endswith("running_var") or (name.endswith(".weight") and len(shape) == 1):
            tensor = torch.rand(shape, device=device) + 0.5
        else:
            fan_in = max(1, torch.Size(shape[1:]).numel())
            tensor = torch.randn(shape, device=device) / fan_in**0.5
        made[prefix + name] = tensor
    return made


def official_logits(state: dict[str, torch.Tensor], clips: torch.Tensor, *, depths=R50) -> torch.Tensor:
    """Compute logits [N, classes] of clips [N, T, 3, H, W] from published weights by the paper's formulas."""
    p = {name.removeprefix("module."): tensor for name, tensor in state.items()}
    n, t = clips.shape[:2]

    def conv(x, name, stride=1):
        weight = p[f"{name}.weight"]
        return F.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2)

    def bn(x, name):
        mean, var, weight, bias = (
            p[f"{name}.{k}"] for k in ("running_mean", "running_var", "weight", "bias")
        )
        return F.batch_norm(x, mean, var, weight, bias)

    def adapt(x, at):  # Z = x · L(s), Y_t = Σ_k Θ_k Z_{t+k-1}
        s = x.mean((2, 3)).reshape(n, t, -1).transpose(1, 2)  # [N, C, T]
        hidden = bn(s.reshape(-1, t) @ p[f"{at}.G.0.weight"].T, f"{at}.G.1").relu()
        theta = (hidden @ p[f"{at}.G.3.weight"].T).softmax(-1).reshape(n, 1, -1, 3)  # [N, 1, C, K]
        narrow = bn(F.conv1d(s, p[f"{at}.L.0.weight"], padding=1), f"{at}.L.1").relu()
        gate = F.conv1d(narrow, p[f"{at}.L.3.weight"]).sigmoid().transpose(1, 2)  # [N, T, C]
        z = x.reshape(n, t, *x.shape[1:]) * gate[..., None, None]
        zero = torch.zeros_like(z[:, :1])
        z = torch.cat((zero, z, zero), 1)  # frames -1 … T
        y = sum(theta[..., k, None, None] * z[:, k : k + t] for k in range(3))
        return y.flatten(0, 1)

    x = F.max_pool2d(bn(conv(clips.flatten(0, 1), "base_model.conv1", 2), "base_model.bn1").relu(), 3, 2, 1)
    for stage, depth in enumerate(depths, 1):
        for i in range(depth):
            at, stride = f"base_model.layer{stage}.{i}", 2 if stage > 1 and i == 0 else 1
            y = adapt(bn(conv(x, f"{at}.net.conv1"), f"{at}.net.bn1").relu(), f"{at}.tam")
            y = bn(conv(y, f"{at}.net.conv2", stride), f"{at}.net.bn2").relu()
            y = bn(conv(y, f"{at}.net.conv3"), f"{at}.net.bn3")
            if i == 0:
                x = bn(conv(x, f"{at}.net.downsample.0", stride), f"{at}.net.downsample.1")
            x = (x + y).relu()
    features = x.mean((2, 3))
    return (features @ p["new_fc.weight"].T + p["new_fc.bias"]).reshape(n, t, -1).mean(1)


# MobileNetV2: outputs, blocks, stride of the first block, for expansion 6.
MOBILENET_V2 = ((24, 2, 2), (32, 3, 2), (64, 4, 2), (96, 3, 1), (160, 3, 2), (320, 1, 1))


def mobilenet_v2(owner, *, shift=True, classes=5) -> Shapes:
    """List names and shapes of a MobileNetV2 of TSM's published code ("official") or of mmaction2.

    shift: whether the blocks with a shortcut have a temporal shift. Both projects have the same order.
    """
    theirs = owner == "mmaction2"
    base = "backbone" if theirs else "base_model"
    found: Shapes = {}

    def layer(names, shape):
        """Add a convolution and its BatchNorm; names: of the convolution and the BatchNorm."""
        found[f"{base}.{names[0]}.weight"] = shape
        found.update(norm(f"{base}.{names[1]}", shape[0]))

    def stem(name, number, shape):
        layer(
            (f"{name}.conv", f"{name}.bn") if theirs else (f"features.{number}.0", f"features.{number}.1"),
            shape,
        )

    stem("conv1", 0, (32, 3, 3, 3))
    stages, inputs, number = ((16, 1, 1), *MOBILENET_V2), 32, 1
    for stage, (outputs, depth, first_stride) in enumerate(stages, 1):
        for i in range(depth):
            inner = inputs * (6 if number > 1 else 1)
            shapes = [(inner, inputs, 1, 1), (inner, 1, 3, 3), (outputs, inner, 1, 1)]
            shortcut = (first_stride if i == 0 else 1) == 1 and inputs == outputs
            for n, shape in enumerate(shapes[number == 1 :]):
                net = ".net" if shift and shortcut and n == 0 else ""
                if theirs:
                    at = f"layer{stage}.{i}.conv.{n}{net}"
                    layer((f"{at}.conv", f"{at}.bn"), shape)
                else:  # one sequence of convolution, BatchNorm, ReLU6, …
                    at = f"features.{number}.conv"
                    layer((f"{at}.{3 * n}{net}", f"{at}.{3 * n + 1}"), shape)
            inputs, number = outputs, number + 1
    stem("conv2", number, (1280, inputs, 1, 1))
    head = "cls_head.fc_cls" if theirs else "new_fc"
    return found | {f"{head}.weight": (classes, 1280), f"{head}.bias": (classes,)}


def shifted(x: torch.Tensor, *, frames: int, div: int) -> torch.Tensor:
    """Shift C / div channels from the next frame and as many from the previous one: [N·T, C, H, W]."""
    x = x.unflatten(0, (-1, frames))
    part, zero = x.shape[2] // div, torch.zeros_like(x[:, :1])
    later, earlier = torch.cat((x[:, 1:], zero), 1), torch.cat((zero, x[:, :-1]), 1)
    kept = x[:, :, 2 * part :]
    return torch.cat((later[:, :, :part], earlier[:, :, part : 2 * part], kept), 2).flatten(0, 1)


def _layer(p, x, conv, norm, *, stride=1, groups=1) -> torch.Tensor:
    weight = p[f"{conv}.weight"]
    x = F.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2, groups=groups)
    mean, var, scale, bias = (p[f"{norm}.{k}"] for k in ("running_mean", "running_var", "weight", "bias"))
    return F.batch_norm(x, mean, var, scale, bias)


def small_tsm_logits(p: dict[str, torch.Tensor], clips: torch.Tensor, *, div: int) -> torch.Tensor:
    """Compute logits of a published TSM-ResNet-18 from its weights: clips [N, T, 3, H, W] → [N, classes]."""
    n, frames = clips.shape[:2]
    x = _layer(p, clips.flatten(0, 1), "base_model.conv1", "base_model.bn1", stride=2).relu()
    x = F.max_pool2d(x, 3, 2, 1)
    for stage in range(1, 5):
        for i in range(2):
            at, stride = f"base_model.layer{stage}.{i}", 2 if stage > 1 and i == 0 else 1
            y = shifted(x, frames=frames, div=div)
            y = _layer(p, y, f"{at}.conv1.net", f"{at}.bn1", stride=stride).relu()
            y = _layer(p, y, f"{at}.conv2", f"{at}.bn2")
            if f"{at}.downsample.0.weight" in p:
                x = _layer(p, x, f"{at}.downsample.0", f"{at}.downsample.1", stride=stride)
            x = (x + y).relu()
    return (x.mean((2, 3)) @ p["new_fc.weight"].T + p["new_fc.bias"]).reshape(n, frames, -1).mean(1)


def mobilenet_v2_logits(p: dict[str, torch.Tensor], clips: torch.Tensor, *, div: int = 8) -> torch.Tensor:
    """Compute logits of a MobileNetV2 of TSM's published code from its weights, shifts as in the names."""
    n, frames = clips.shape[:2]
    x = clips.flatten(0, 1)
    x = _layer(p, x, "base_model.features.0.0", "base_model.features.0.1", stride=2).clamp(0, 6)
    number = 1
    for outputs, depth, first_stride in ((16, 1, 1), *MOBILENET_V2):
        for i in range(depth):
            at, y, stride = f"base_model.features.{number}.conv", x, first_stride if i == 0 else 1
            depthwise = 0
            if number > 1:
                net = ".net" if f"{at}.0.net.weight" in p else ""
                y = shifted(y, frames=frames, div=div) if net else y
                y, depthwise = _layer(p, y, f"{at}.0{net}", f"{at}.1").clamp(0, 6), 3
            y = _layer(p, y, f"{at}.{depthwise}", f"{at}.{depthwise + 1}", stride=stride, groups=y.shape[1])
            y = _layer(p, y.clamp(0, 6), f"{at}.{depthwise + 3}", f"{at}.{depthwise + 4}")
            x, number = x + y if stride == 1 and x.shape[1] == outputs else y, number + 1
    x = _layer(p, x, "base_model.features.18.0", "base_model.features.18.1").clamp(0, 6)
    return (x.mean((2, 3)) @ p["new_fc.weight"].T + p["new_fc.bias"]).reshape(n, frames, -1).mean(1)
