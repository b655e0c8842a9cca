"""TensorBoard: what a training reports, as curves over its steps and epochs.

    tensorboard --logdir runs

An optional extra: pip install 'tanet[train]'.
"""

from pathlib import Path

from tanet.errors import UserError
from tanet.training.events import EpochResult, Event, Progress


class TensorBoardWriter:
    """Writes curves into a folder; each event is on the disk when it was shown.

    Args:
        folder: a training that goes on adds to what is in it.

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
        """Add the numbers of an event."""
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
        # Not before the training runs: its folder may yet be refused.
        self.writer = self.writer or self.make(str(self.folder))
        for name, value in values.items():
            if value is not None:
                self.writer.add_scalar(name, value, done)
        self.writer.flush()
