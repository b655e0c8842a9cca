"""Networks that take a stream frame by frame: each frame is computed once.

    step(frame) → logits of the frame;  mean over the T last frames → logits of the stream

From a reset, the mean over T frames is the network's answer for a clip of these frames. Only networks whose
frames depend on the past alone can do this: tsm-online, and the plain 2D network.
"""

import copy
from collections import deque

import torch

from tanet.errors import UserError
from tanet.models.network import Network
from tanet.models.temporal.clip_module import ClipModule
from tanet.models.temporal.online_shift import OnlineShift
from tanet.models.video_net import VideoNet


class OnlineNetwork:
    """A network for one stream, or for several streams of equal frames side by side.

    Args:
        network: network for clips, whose temporal modules are all `OnlineShift`. It is not changed.

    Raises:
        UserError: the network needs later frames.
    """

    def __init__(self, network: Network) -> None:
        if not can_stream(network):
            raise UserError(
                "this network needs whole clips; only tsm-online and none (plain 2D) take single frames"
            )
        self.window = network.frames
        """T, number of frames whose logits are averaged."""
        self._network = copy.deepcopy(network).eval()
        self._network.set_frames(1)
        self.reset()

    def reset(self) -> None:
        """Forget the frames so far."""
        self._logits: deque[torch.Tensor] = deque(maxlen=self.window)
        for module in self._network.modules():
            if isinstance(module, OnlineShift):
                module.start_stream()

    @torch.inference_mode()
    def step(self, frames: torch.Tensor) -> torch.Tensor:
        """Take the next frame of B streams.

        Args:
            frames: normalised frames, [B, C, H, W].

        Returns:
            Logits of the streams, [B, classes]: the mean over the last T frames, or over those since the
            reset.
        """
        self._logits.append(self._network(frames[:, None]))
        return torch.stack(tuple(self._logits)).mean(0)


def can_stream(network: Network) -> bool:
    """Return whether the logits of a frame depend on this frame and earlier ones only."""
    modules = [module for module in network.modules() if isinstance(module, ClipModule)]
    return type(network) is VideoNet and all(isinstance(module, OnlineShift) for module in modules)
