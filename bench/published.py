"""TAM computed as in the published code, to compare its speed with tanet's TAM.

The weights and the results are the same. The maps are permuted to [N, C, T, H, W], multiplied by the gate,
filtered by one grouped convolution with a group for each clip and channel (N·C groups), and permuted back.
"""

import torch
from torch import nn
from torch.nn import functional as F

from tanet import TAM
from tanet.models.network import Network


class PublishedTAM(nn.Module):
    """TAM computed with copies of the maps and a grouped convolution, [N·T, C, H, W] → [N·T, C, H, W].

    Args:
        tam: the TAM to convert. The new module uses the global branch G of `tam`, and copies of the
            convolution weights in the local branch L of `tam`.
    """

    def __init__(self, tam: TAM) -> None:
        super().__init__()
        first, norm, relu, last, sigmoid = tam.L
        assert isinstance(first, nn.Conv1d)
        assert isinstance(last, nn.Conv1d)
        (taps,) = first.kernel_size
        self.frames, self.G = tam.frames, tam.G
        self.L = nn.Sequential(
            nn.Conv1d(first.in_channels, first.out_channels, taps, padding=taps // 2, bias=False),
            norm,
            relu,
            nn.Conv1d(last.in_channels, last.out_channels, 1, bias=False),
            sigmoid,
        )
        self.L.to(first.weight)  # type: ignore[arg-type]
        self.L.load_state_dict(tam.L.state_dict())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        images, c, h, w = x.shape
        n, t = images // self.frames, self.frames
        x = x.view(n, t, c, h, w).permute(0, 2, 1, 3, 4).contiguous()  # [N, C, T, H, W]
        s = F.adaptive_avg_pool2d(x.view(n * c, t, h, w), 1)  # [N·C, T, 1, 1]
        theta = self.G(s.view(n * c, t))  # [N·C, K]
        gate = self.L(s.view(n, c, t))  # [N, C, T]
        z = (x * gate.view(n, c, t, 1, 1)).view(1, n * c, t, h * w)
        taps = theta.shape[1]
        y = F.conv2d(z, theta.view(n * c, 1, taps, 1), padding=(taps // 2, 0), groups=n * c)
        return y.view(n, c, t, h, w).permute(0, 2, 1, 3, 4).contiguous().view(images, c, h, w)


def publish(network: Network) -> Network:
    """Replace each TAM of the network by a `PublishedTAM`, in place, and return the network."""
    tams = {name: module for name, module in network.named_modules() if isinstance(module, TAM)}
    for name, tam in tams.items():
        network.set_submodule(name, PublishedTAM(tam).train(tam.training))
    return network
