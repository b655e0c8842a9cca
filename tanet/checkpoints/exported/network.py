"""An exported network, which can be used like a network of tanet."""

import torch
from torch import nn

from tanet.checkpoints.exported.formats import ExportedFile, Inputs
from tanet.errors import UserError
from tanet.models.network import Network
from tanet.recipes.input_spec import InputSpec


class ExportedNetwork(Network):
    """Network that another runtime runs on the CPU. It has no features, and cannot be trained.

    Args:
        file: the opened file.
        inputs: what the file takes: clips [B, T, C, H, W], or frames as they are decoded, uint8
            [B, T, H, W, 3].
        input_spec: how clips must be normalised.
    """

    def __init__(self, file: ExportedFile, *, inputs: Inputs, input_spec: InputSpec) -> None:
        super().__init__(frames=inputs.frames, input_spec=input_spec)
        self.channels, self.inputs = inputs.channels, inputs
        self.takes_frames = inputs.kind == "frames"
        # Code asks a network's parameters for their device.
        self.place = nn.Parameter(torch.empty(0), requires_grad=False)
        self._file = file

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        """Classify clips on the CPU.

        Raises:
            UserError: the file takes clips of another size, or whole frames instead of clips.
        """
        if self.takes_frames:
            if clips.dtype != torch.uint8 or clips.shape[-1] != 3:
                raise UserError(
                    "this file takes whole frames, so only tanet predict can run it; "
                    "for other commands, export with --input clips"
                )
            return self._file(clips.cpu().contiguous())
        self.check_clips(clips)
        size = self.inputs.size
        if size and clips.shape[3:] != (size, size):
            found = " × ".join(map(str, clips.shape[3:]))
            raise UserError(f"the exported network takes frames of {size} × {size} pixels, not {found}")
        return self._file(clips.float().cpu().contiguous())

    def set_frames(self, frames: int) -> None:
        """Raise a UserError if the number of frames is another one: it is fixed in an exported network."""
        if frames != self.frames:
            raise UserError(f"the exported network takes clips of {self.frames} frames, not {frames}")
