"""An exported network, which can be used like a network of tanet."""

import torch
from torch import nn

from tanet.checkpoints.exported.formats import ExportedFile, Inputs
from tanet.errors import UserError
from tanet.models.network import Network
from tanet.recipes.input_spec import InputSpec

NAME_CHECKPOINT = "name the checkpoint it was made from"


class ExportedNetwork(Network):
    """Network that another runtime runs on the CPU. It has no features, and cannot be trained.

    Args:
        file: the opened file.
        inputs: what the file takes: clips [B, T, C, H, W], or frames as they are decoded, uint8
            [B, T, H, W, 3].
        classes: number of classes.
        input_spec: how clips must be normalised.
    """

    def __init__(self, file: ExportedFile, *, inputs: Inputs, classes: int, input_spec: InputSpec) -> None:
        super().__init__(frames=inputs.frames, input_spec=input_spec)
        self.channels, self.inputs = inputs.channels, inputs
        self.takes_frames = inputs.kind == "frames"
        # Code asks a network's parameters for their device.
        self.place = nn.Parameter(torch.empty(0), requires_grad=False)
        self._file, self._classes = file, classes

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
            return self._run(clips.cpu().contiguous())
        self.check_clips(clips)
        size = self.inputs.size
        if size and clips.shape[3:] != (size, size):
            found = " × ".join(map(str, clips.shape[3:]))
            raise UserError(f"the exported network takes frames of {size} × {size} pixels, not {found}")
        return self._run(clips.float().cpu().contiguous())

    def _run(self, inputs: torch.Tensor) -> torch.Tensor:
        try:
            logits = self._file(inputs)
        except Exception as error:  # the runtimes raise errors of many classes
            cause = " ".join(str(error).split())[:200]
            raise UserError(f"the exported network cannot run; export it again ({cause})") from error
        if logits.shape != (len(inputs), self._classes):
            raise UserError(
                f"the exported network gives {list(logits.shape)}, but its metadata has {self._classes} "
                "classes; export it again"
            )
        return logits

    def features(self, clips: torch.Tensor) -> torch.Tensor:
        """Raise a UserError: a file has logits only."""
        del clips
        raise UserError(f"an exported network has no features: {NAME_CHECKPOINT}")

    def stages(self) -> dict[str, tuple[str, ...]]:
        """Raise a UserError: the layers of a file are not known."""
        raise UserError(f"an exported network has no layers to look at: {NAME_CHECKPOINT}")

    def __deepcopy__(self, memo: dict[int, object]) -> "ExportedNetwork":
        raise UserError(f"an exported network cannot be copied, counted or optimized: {NAME_CHECKPOINT}")

    def set_frames(self, frames: int) -> None:
        """Raise a UserError if the number of frames is another one: it is fixed in an exported network."""
        if frames != self.frames:
            raise UserError(f"the exported network takes clips of {self.frames} frames, not {frames}")
