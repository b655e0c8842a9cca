"""Training of a network, from a recipe to its best checkpoint. The loop itself is in training_loop.py."""

import warnings
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import torch

from tanet.data.flow_location import with_stored_settings
from tanet.models.network import Network
from tanet.recipes.recipe import Recipe
from tanet.runtime.distributed import is_main_process, join_process_group
from tanet.runtime.events import Note, OnEvent, ignore
from tanet.runtime.folder_lock import lock_folder
from tanet.runtime.interrupt import Interrupted, StopRequest
from tanet.training.events import BadStep, EpochResult, Event, Progress
from tanet.training.plan import plan
from tanet.training.run_folder import RunFolder, refuse_old_run, with_rules_of_run
from tanet.training.schedule import shorten_schedule
from tanet.training.setup import TrainingContext, read_training_split
from tanet.training.training_loop import TrainingLoop

__all__ = ["BadStep", "EpochResult", "Event", "Interrupted", "Note", "Progress", "train"]
GRACE = 300.0  # seconds that a rank waits for other ranks, in addition to `data.timeout`


def train(
    recipe: Recipe,
    *,
    out: str | Path,
    device: str | torch.device | None = None,
    on_event: OnEvent = ignore,
    resume: bool = False,
    save_minutes: float = 10.0,
    compile: bool = False,
    reference: Recipe | None = None,
    on_network: Callable[[Network], None] | None = None,
    report: OnEvent | None = None,
) -> Path:
    """Train the network of a recipe.

    If torchrun started this process, the process trains together with the other processes (ranks). Each batch
    is split over the ranks. Only rank 0 writes files and calls `on_event`.

    Args:
        recipe: the experiment.
        out: folder for checkpoints and metrics; it must not hold another run.
        device: device to train on. None selects a GPU if there is one, else the CPU.
        on_event: receives the videos that were found (`Split`), the plan (`Plan`), the progress
            (`Progress`; `VideosDone` during a validation), the results of each epoch (`EpochResult`), each
            unreadable video once (`BadVideo`), skipped steps (`BadStep`), and other messages (`Note`).
        resume: continue the run in `out` from its newest complete state. If `out` holds no run, start one.
        save_minutes: minutes between two saved states. The state is also saved at the end of each epoch.
        compile: compile the network. On a GPU, training is then faster, but the start takes minutes.
        reference: the recipe before its fields were changed. The plan lists the changes.
        on_network: called once before the first step with the network, on its device and in training mode.
            The function may change how the network runs, for example capture it as a CUDA graph.
        report: deprecated name of `on_event`.

    Returns:
        The path of the best checkpoint.

    Raises:
        UserError: the recipe cannot be trained, or differs from the recipe of the run in `out`; too many
            videos cannot be read (more than data.max_bad, or any if data.bad_files is "strict"); a worker
            hangs or died; a step was not finite and optim.nonfinite is "stop"; another rank failed.
        OSError: the folder cannot be written.
        Interrupted: SIGINT or SIGTERM was received. The current step was finished, and the state was saved.
    """
    if report is not None:
        warnings.warn("report is called on_event now", DeprecationWarning, stacklevel=2)
        on_event = report
    on_event = on_event if is_main_process() else ignore
    with (
        join_process_group(device, timeout=recipe.data.timeout + GRACE) as (group, target),
        StopRequest() as stop,
        ExitStack() as at_end,
    ):
        with group.errors_on_all_ranks():
            if group.is_main:
                at_end.enter_context(lock_folder(Path(out), work="a training"))
            if not resume:
                refuse_old_run(Path(out), resume=False)
            recipe, note = with_rules_of_run(recipe, Path(out))
            if note:
                on_event(Note(note))
            if recipe.model.is_flow:
                recipe = replace(recipe, data=with_stored_settings(recipe.data))
            split = read_training_split(recipe, world_size=group.world_size)
            recipe = shorten_schedule(recipe, videos=len(split.train))
            planned = plan(recipe, split, reference=reference, world_size=group.world_size, device=target)
        on_event(split)
        on_event(planned)
        folder, finished, state = RunFolder(Path(out), recipe, split), False, None
        with group.errors_on_all_ranks():
            if group.is_main:
                finished = resume and folder.finished()
            if group.is_main and not finished:
                state = folder.open(resume=resume, world_size=group.world_size, on_event=on_event)
        finished, state = group.broadcast_object((finished, state))
        if finished:
            on_event(Note(f"{out}: this training run is already finished"))
            return folder.best
        context = TrainingContext(group, target, on_event, stop, compile, 60 * save_minutes, on_network)
        with group.errors_on_all_ranks():
            training = TrainingLoop(recipe, split, folder, state, context)
        training.run()
        return folder.best
