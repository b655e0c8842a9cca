"""Write the progress and the results of a training run as TensorBoard curves, over steps and epochs.

    tensorboard --logdir runs

TensorBoard is an optional dependency: pip install 'tanet[train]'.
"""

from pathlib import Path

from tanet.errors import UserError
from tanet.training.events import EpochResult, Event, Progress


class TensorBoardWriter:
    """Writer of TensorBoard curves. It flushes each event to disk.

    Args:
        folder: folder for the curves. A resumed run continues the curves in the folder.

    Raises:
        UserError: TensorBoard is not installed.
    """

    def __init__(self, folder: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise UserError("TensorBoard is not installed: pip install 'tanet[train]'") from error
        self.folder, self.make = folder, SummaryWriter
        self.writer: SummaryWriter | None = None

    def show(self, event: Event) -> None:
        """Add the numbers of a `Progress` or an `EpochResult` to the curves. Ignore other events."""
        if isinstance(event, Progress):
            done = (event.epoch - 1) * event.steps + event.step
            values = {
                "train/loss": event.loss,
                "train/top1": event.top1,
                "train/lr": event.lr,
                "speed/clips_per_second": event.clips_per_second,
                "speed/data_wait": event.wait,
            }
        elif isinstance(event, EpochResult):
            done = event.epoch
            names = ("train_loss", "train_top1", "val_top1", "val_top5", "val_mean_class", "memory_gib")
            values = {f"epoch/{name}": getattr(event, name) for name in names}
        else:
            return
        # Create the writer after training has started, because `train` may refuse the folder at the start.
        self.writer = self.writer or self.make(str(self.folder))
        for name, value in values.items():
            if value is not None:
                self.writer.add_scalar(name, value, done)
        self.writer.flush()
