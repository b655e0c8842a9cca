"""CPNet: clips [B, T, 3, H, W] → logits [B, classes], a 2D ResNet that finds corresponding positions in time.

    z[p, j] = (q_j - p, f[p], f[q_j])       q_1 … q_k: positions in other frames
    Y[p] = BN(W max_j MLP(z[p, j]))         whose features f are nearest to f[p]

A position is (t / T, y / H, x / W). Y is added to the output of a residual block, before its ReLU. Liu, Lee
and Jin, "Learning Video Representations from Correspondence Proposals", CVPR 2019, with the layers of the
authors' code: convolutions have biases, and are padded as in TensorFlow. Published networks are ResNet-18,
34 and 101; the accuracy in the TAM paper's Table 7 is that of ResNet-34.
"""

from contextlib import nullcontext

import torch
from torch import nn
from torch.amp import is_autocast_available
from torch.nn import functional as F

from tanet.models.network import Network
from tanet.models.video_backbones.clip_network import RESIDUAL_STAGES
from tanet.ops import as_clips
from tanet.recipes.input_spec import InputSpec
from tanet.recipes.networks_hybrid import CPNet

EPS = 1e-3
"""Number that BatchNorms add to the variance: TensorFlow's default."""
SAME_FRAME = 1e8
"""Squared distance that positions in the same frame get, to exclude them, as in the authors' code."""
BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}
PROPOSALS: dict[int, dict[str, tuple[int, ...]]] = {
    18: {"res3": (0, 1), "res4": (0, 1)},
    34: {"res3": (2, 3), "res4": (3, 4, 5)},
}
"""Depth → stage → blocks with a correspondence module. In res3, the module sees half the resolution."""


class SameConv2d(nn.Conv2d):
    """Convolution with bias that pads like TensorFlow's SAME: the end of an axis gets more than its start."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Transform feature maps: [N, C, H, W] → [N, outputs, ⌈H/stride⌉, ⌈W/stride⌉]."""
        return super().forward(pad_same(input, self.kernel_size[0], self.stride[0], value=0.0))


def pad_same(x: torch.Tensor, kernel: int, stride: int, *, value: float) -> torch.Tensor:
    """Pad maps as TensorFlow's SAME does for a square kernel."""
    sides = []
    for size in (x.shape[3], x.shape[2]):
        total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
        sides += [total // 2, total - total // 2]
    return F.pad(x, sides, value=value) if any(sides) else x


class ConvNorm(nn.Module):
    """Convolution with bias, and BatchNorm: [N, channels, H, W] → [N, outputs, H/stride, W/stride]."""

    def __init__(self, channels: int, outputs: int, *, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = SameConv2d(channels, outputs, kernel, stride)
        self.bn = nn.BatchNorm2d(outputs, eps=EPS)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Transform feature maps; the class docstring gives the shapes."""
        return self.bn(self.conv(x))


class CorrespondenceProposal(nn.Module):
    """Correspondence proposal module: [N·T, C, H, W] → what is added to it, of the same shape.

    Args:
        channels: C.
        frames: T, frames per clip. With one frame, each position is paired with itself.
        neighbours: k, number of nearest positions.
        shrink: whether to search at half the resolution.
    """

    def __init__(self, channels: int, *, frames: int, neighbours: int, shrink: bool) -> None:
        super().__init__()
        self.frames, self.neighbours, self.shrink = frames, neighbours, shrink
        first, second = channels // 4, channels // 2
        self.conv0 = nn.Linear(2 * channels + 3, first)
        self.bn0 = nn.BatchNorm1d(first, eps=EPS)
        self.conv1 = nn.Linear(first, second)
        self.bn1 = nn.BatchNorm1d(second, eps=EPS)
        self.conv_final = nn.Linear(second, channels)
        self.bn_final = nn.BatchNorm1d(channels, eps=EPS)
        nn.init.zeros_(self.bn_final.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Compare positions with the nearest ones in other frames; the class docstring gives the shapes."""
        small = x[:, :, ::2, ::2] if self.shrink else x
        clips = as_clips(small, self.frames)  # [N, T, C, h, w]
        points = clips.movedim(2, -1).flatten(1, 3)  # [N, P, C], P = T·h·w
        height, width = small.shape[2:]
        places = self._places(height, width, x)  # [P, 3]
        nearest = nearest_in_other_frames(points, frames=self.frames, count=self.neighbours)  # [N, P, k]
        k = nearest.shape[2]
        found = points.gather(1, nearest.flatten(1)[..., None].expand(-1, -1, points.shape[2]))
        pairs = torch.cat(
            (
                places[nearest] - places[:, None],
                points[:, :, None].expand(-1, -1, k, -1),
                found.unflatten(1, (-1, k)),
            ),
            -1,
        )  # [N, P, k, 2C + 3]
        rows = F.relu(self.bn0(self.conv0(pairs.flatten(0, 2))))
        rows = F.relu(self.bn1(self.conv1(rows)))
        best = rows.unflatten(0, (-1, k)).amax(1)  # [N·P, C/2]
        out = self.bn_final(self.conv_final(best)).unflatten(0, (-1, height, width)).movedim(-1, 1)
        return double(out)[:, :, : x.shape[2], : x.shape[3]] if self.shrink else out

    def attention_products(self, shape: torch.Size) -> int:
        """Return the multiply-adds of all distances between positions, for an input [N·T, C, H, W]."""
        images, channels, height, width = shape
        part = 2 if self.shrink else 1
        points = self.frames * -(-height // part) * -(-width // part)
        return images // self.frames * points * points * channels

    def _places(self, height: int, width: int, like: torch.Tensor) -> torch.Tensor:
        """Return the position of each point of a clip, from 0 to 1 along each axis: [P, 3]."""
        axes = [torch.arange(n, device=like.device) / n for n in (self.frames, height, width)]
        return torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).flatten(0, 2).to(like.dtype)


def nearest_in_other_frames(points: torch.Tensor, *, frames: int, count: int) -> torch.Tensor:
    """Find the nearest points of other frames for each point, by the distance of their features in float32.

    Args:
        points: features [N, P, C]; the P / frames points of a frame are consecutive.
        frames: T, frames per clip.
        count: k, number of points to find. If other frames have fewer points, all of these are found.

    Returns:
        Numbers of the points, nearest first: [N, P, k].
    """
    total = points.shape[1]
    own = total // frames
    count = min(count, total - own)
    if not count:  # one frame: each point finds itself
        return torch.arange(total, device=points.device)[None, :, None].expand(points.shape[0], -1, 1)
    found = []
    # bfloat16 would pick a wrong neighbour 7 % of the time.
    device = points.device.type
    with torch.autocast(device, enabled=False) if is_autocast_available(device) else nullcontext():
        points = points.detach().to(torch.promote_types(points.dtype, torch.float32))
        squares = points.square().sum(-1)  # [N, P]
        for start in range(0, total, own):  # frame by frame, so that memory stays small
            queries = points[:, start : start + own]
            # Squared distance less the square of the query, which does not change the order: [N, h·w, P].
            distance = torch.baddbmm(squares[:, None], queries, points.mT, alpha=-2)
            distance[:, :, start : start + own] = SAME_FRAME - squares[:, start : start + own, None]
            found.append(distance.topk(count, largest=False).indices)
    return torch.cat(found, 1)


def double(x: torch.Tensor) -> torch.Tensor:
    """Double H and W: a value between two others is their mean, and the last one is repeated."""
    for axis in (2, 3):
        after = torch.cat((x.narrow(axis, 1, x.shape[axis] - 1), x.narrow(axis, x.shape[axis] - 1, 1)), axis)
        x = torch.stack((x, (x + after) / 2), axis + 1).flatten(axis, axis + 1)
    return x


class Block(nn.Module):
    """Residual block with two 3×3 convolutions: [N, channels, H, W] → [N, outputs, H/stride, W/stride]."""

    def __init__(
        self, channels: int, outputs: int, *, stride: int, proposal: CorrespondenceProposal | None
    ) -> None:
        super().__init__()
        self.conv1 = ConvNorm(channels, outputs, kernel=3, stride=stride)
        self.conv2 = ConvNorm(outputs, outputs, kernel=3)
        changes = channels != outputs
        self.shortcut = ConvNorm(channels, outputs, kernel=1, stride=stride) if changes else None
        self.temporal = proposal

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Transform feature maps; the class docstring gives the shapes."""
        y = self.conv2(F.relu(self.conv1(x), inplace=True))
        y = y + (x if self.shortcut is None else self.shortcut(x))
        return F.relu(y if self.temporal is None else y + self.temporal(y), inplace=True)


class CPNetwork(Network):
    """CPNet, built from the settings in a recipe."""

    def __init__(self, model: CPNet, *, classes: int, input_spec: InputSpec) -> None:
        super().__init__(frames=model.frames, input_spec=input_spec)
        width, channels = model.width, model.width
        self.stem = ConvNorm(3, width, kernel=7, stride=2)
        for number, count in enumerate(BLOCKS[model.depth]):
            stage, outputs = f"res{number + 2}", width * 2**number
            blocks = []
            for block in range(count):
                proposal = None
                if block in PROPOSALS[model.depth].get(stage, ()):
                    proposal = CorrespondenceProposal(
                        outputs, frames=model.frames, neighbours=model.neighbours, shrink=stage == "res3"
                    )
                stride = 2 if number and not block else 1
                blocks.append(Block(channels, outputs, stride=stride, proposal=proposal))
                channels = outputs
            self.add_module(stage, nn.Sequential(*blocks))
        self.dropout = nn.Dropout(model.dropout)
        self.head = nn.Linear(channels, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        nn.init.normal_(self.head.weight, std=0.01)
        nn.init.zeros_(self.head.bias)

    def stages(self) -> dict[str, tuple[str, ...]]:
        """Return the stages and the names of their modules; see `Network`."""
        return {stage: (stage,) for stage in ("stem", *RESIDUAL_STAGES)}

    def features(self, clips: torch.Tensor) -> torch.Tensor:
        """Average the last maps over frames and positions: [B, T, 3, H, W] → [B, F]."""
        self.check_clips(clips)
        x = F.relu(self.stem(clips.flatten(0, 1)), inplace=True)
        x = F.max_pool2d(pad_same(x, 3, 2, value=-torch.inf), 3, stride=2)
        for stage in RESIDUAL_STAGES:
            x = self.get_submodule(stage)(x)
        return as_clips(x, self.frames).mean((1, 3, 4))

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        """Classify clips: [B, T, 3, H, W] → logits [B, classes]."""
        return self.head(self.dropout(self.features(clips)))
