"""ARTNet with ResNet-18: clips [B, T, 3, H, W] → logits [B, classes].

Wang et al., "Appearance-and-Relation Networks for Video Classification", CVPR 2018, with the layers of the
authors' settings files. A SMART unit models the appearance of a frame and the relation of frames apart:

    a = BN(1×k×k ∗ x)
    r = BN(mean of each two channels of BN(3×k×k ∗ x)²)
    y = 1×1×1 ∗ ReLU(a, r)

A residual block starts with BatchNorm and ReLU, and ends with an addition. Its shortcut is its input; in the
first blocks of res3 to res5, it is a 3×3×3 convolution of the activations, with stride 2. The authors' files
give no ε of the BatchNorms; it is 1e-5 here.
"""

import torch
from torch import nn
from torch.nn import functional as F

from tanet.models.video_backbones.clip_network import ClipNetwork, average_windows, to_maps
from tanet.recipes.input_spec import InputSpec
from tanet.recipes.networks3d_factored import ARTNet

BLOCKS = 2  # in each of res2 to res5


def _conv(
    channels: int, outputs: int, *, taps: int = 3, side: int = 3, stride: int = 1, bias: bool
) -> nn.Conv3d:
    padding = (taps // 2, side // 2, side // 2)
    return nn.Conv3d(channels, outputs, (taps, side, side), stride, padding, bias=bias)


class Smart(nn.Module):
    """SMART unit: [B, channels, T, H, W] → [B, outputs, T/stride, H/stride, W/stride].

    Args:
        channels: channels of the input.
        outputs: channels of the output; an even number.
        side: k, side of the spatial kernels.
        stride: stride over time and space.
        bias: whether the convolutions have biases.
    """

    def __init__(self, channels: int, outputs: int, *, side: int = 3, stride: int = 1, bias: bool) -> None:
        super().__init__()
        self.appearance = _conv(channels, outputs, taps=1, side=side, stride=stride, bias=bias)
        self.norm_appearance = nn.BatchNorm3d(outputs)
        self.relation = _conv(channels, outputs, side=side, stride=stride, bias=bias)
        self.norm_relation = nn.BatchNorm3d(outputs)
        self.norm_pooled = nn.BatchNorm3d(outputs // 2)
        self.reduce = _conv(outputs + outputs // 2, outputs, taps=1, side=1, bias=bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Transform feature maps; the class docstring gives the shapes."""
        appearance = self.norm_appearance(self.appearance(x))
        squares = self.norm_relation(self.relation(x)).square()
        relation = self.norm_pooled(squares.unflatten(1, (-1, 2)).mean(2))
        return self.reduce(F.relu(torch.cat((appearance, relation), 1), inplace=True))


class ARTBlock(nn.Module):
    """Residual block that starts with BatchNorm and ReLU: [B, channels, T, H, W] → [B, outputs, T', H', W'].

    Args:
        channels: channels of the input.
        outputs: channels of the output.
        stride: stride over time and space. A stride of 2 makes the shortcut a convolution.
        smart: whether the second convolution is a SMART unit.
        bias: whether the convolutions have biases.
    """

    def __init__(self, channels: int, outputs: int, *, stride: int, smart: bool, bias: bool) -> None:
        super().__init__()
        # Not after a convolution, because `fold_batch_norms` would fold it into that convolution.
        self.norm_in = nn.BatchNorm3d(channels)
        self.conv1 = _conv(channels, outputs, stride=stride, bias=bias)
        self.norm1 = nn.BatchNorm3d(outputs)
        self.conv2 = Smart(outputs, outputs, bias=bias) if smart else _conv(outputs, outputs, bias=bias)
        self.shortcut = _conv(channels, outputs, stride=stride, bias=bias) if stride > 1 else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Transform feature maps; the class docstring gives the shapes."""
        active = F.relu(self.norm_in(x), inplace=True)
        y = self.conv2(F.relu(self.norm1(self.conv1(active)), inplace=True))
        return y + (x if self.shortcut is None else self.shortcut(active))


class ARTNetNetwork(ClipNetwork):
    """ARTNet with ResNet-18, built from the settings in a recipe."""

    def __init__(self, model: ARTNet, *, classes: int, input_spec: InputSpec) -> None:
        width = model.width
        super().__init__(model, features=8 * width, classes=classes, input_spec=input_spec)
        self.stem = Smart(3, width, side=7, stride=2, bias=False)
        self.norm_last = nn.BatchNorm3d(8 * width)
        channels = width
        for number in range(4):
            outputs = width * 2**number
            blocks = []
            for block in range(BLOCKS):
                stride = 2 if number and not block else 1
                blocks.append(ARTBlock(channels, outputs, stride=stride, smart=number < 3, bias=number > 0))
                channels = outputs
            self.add_module(f"res{number + 2}", nn.Sequential(*blocks))
        for module in self.modules():
            if isinstance(module, nn.Conv3d):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def stages(self) -> dict[str, tuple[str, ...]]:
        """Return the stages and the names of their modules; see `Network`."""
        blocks = {f"res{n}": (f"res{n}",) for n in range(2, 5)}
        return {"stem": ("stem",), **blocks, "res5": ("res5", "norm_last")}

    def windows(self, clips: torch.Tensor) -> torch.Tensor:
        """Compute the features of each clip: [B, T, 3, H, W] → [B, 1, F]."""
        x = self.stem(to_maps(clips))
        x = self.run_stages(x)
        return average_windows(F.relu(self.norm_last(x), inplace=True), 0)
