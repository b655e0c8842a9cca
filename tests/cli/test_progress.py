"""Progress on standard error: time left, plain lines without a terminal, and bars of 80 columns."""

import io
import re

import pytest
from rich.console import Console

from tanet.cli.console import DownloadScreen, TrainingScreen
from tanet.cli.lines import say
from tanet.cli.progress import BAR_AFTER, CountDisplay, Display, Status, download_status, duration
from tanet.evaluation.evaluate import VideosDone
from tanet.recipes import RECIPES
from tanet.runtime.events import Progress as DownloadProgress
from tanet.training.events import EpochResult, Progress
from tanet.training.plan import plan
from tests.support.tiny_videos import changed
from tests.training.test_plan import videos


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def console(*, terminal=False, width=80):
    return Console(
        file=io.StringIO(), width=width, force_terminal=terminal, color_system=None, soft_wrap=True
    )


def text_of(shown):
    assert isinstance(shown.file, io.StringIO)
    return shown.file.getvalue()


def lines(shown):
    return text_of(shown).splitlines()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (1, "5 s"),
        (42, "40 s"),
        (58, "1 min"),
        (250, "4 min"),
        (4800, "1 h 20 min"),
        (7200, "2 h"),
        (99000, "1 d 4 h"),
    ],
)
def test_duration_has_precision_of_estimate(seconds, text):
    assert duration(seconds) == text


def test_count_display_without_terminal_prints_one_line_a_minute(clock):
    shown = console()
    with CountDisplay("testing", total=300, console=shown, clock=clock) as bar:
        for done in range(1, 200):
            clock.now = float(done)
            bar.update(done)
    assert lines(shown) == [
        "testing: 10/300, 5 min left",
        "testing: 70/300, 4 min left",
        "testing: 130/300, 3 min left",
        "testing: 190/300, 2 min left",
    ]


@pytest.mark.parametrize("terminal", [False, True])
def test_short_work_shows_nothing(terminal, clock):
    shown = console(terminal=terminal)
    with CountDisplay("testing", total=3, console=shown, clock=clock) as bar:
        for done in (1, 2, 3):
            clock.now = done * BAR_AFTER
            bar.update(done)
    assert text_of(shown).strip("\x1b[?25hl") == ""


def result(epoch, *, val=None):
    return EpochResult(epoch, 1e-4, 0.5, 0.5, val, val, val, 4.0, 0.0, None, 60.0)


def progress(epoch, step, steps, *, memory=None):
    return Progress(epoch, step, steps, 0.693, 0.5, 2e-4, 6.5, 0.02, memory)


def run(screen, clock, *, epochs, step_seconds):
    """Show the events of a training of ten steps per epoch, whose validation takes 30 s."""
    for epoch in range(1, epochs + 1):
        for step in range(1, 11):
            clock.now += step_seconds
            screen.show(progress(epoch, step, 10))
        clock.now += 30
        screen.show(VideosDone(20, 20))
        screen.show(result(epoch, val=0.5))


def ready(**optim):
    recipe = changed(RECIPES["finetune"], optim={"warmup": 0.0, **optim}, eval={"every": 1})
    return recipe, plan(recipe, videos(train=160, val=20))


def test_training_without_terminal_tells_time_left_once_a_minute(clock, capsys):
    recipe, planned = ready(epochs=10)
    shown = console()
    with TrainingScreen(recipe, console=shown, clock=clock) as screen:
        screen.show(planned)
        run(screen, clock, epochs=10, step_seconds=6.0)
    told = lines(shown)
    # An epoch takes 60 s, and its validation another 30 s once one has been measured.
    assert told[0].startswith("epoch 1/10: step 2/10, loss 0.693, top-1 50.0%")
    (total,) = (line for line in told if "whole run" in line)
    assert total == (
        "about 11 min for the whole run "
        "(--model.frames 4 --data.size 112 --eval.resize 128 --eval.size 128: about 1/8)"
    )
    assert told[-1].startswith("epoch 10/10: step 10/10, 30 s left of the epoch, 30 s of the run, loss 0.693")
    assert 13 <= len(told) <= 16  # the run takes 15 minutes
    assert "left of the epoch" not in capsys.readouterr().out


def test_training_tells_progress_of_validation(clock):
    recipe, planned = ready(epochs=2)
    shown = console()
    with TrainingScreen(recipe, console=shown, clock=clock) as screen:
        screen.show(planned)
        for step in range(1, 11):
            clock.now += 10
            screen.show(progress(1, step, 10))
        clock.now += 70
        screen.show(VideosDone(5, 20))
    assert lines(shown)[-1].startswith("epoch 1/2: validation 5/20, 4 min left of the epoch, ")


def test_short_training_tells_nothing(clock):
    recipe, planned = ready(epochs=2)
    shown = console()
    with TrainingScreen(recipe, console=shown, clock=clock) as screen:
        screen.show(planned)
        for step in range(1, 11):
            clock.now += 0.4
            screen.show(progress(1, step, 10))
    assert lines(shown) == []


def test_bar_of_80_columns_keeps_count_time_and_loss():
    count = "step 1200/1263, 59 min left of the epoch, 11 h 20 min of the run"
    details = ("loss 0.693", "top-1 50.0%", "lr 0.0002", "6.5 clips/s", "2% waiting for data", "101.5 GiB")
    bar, numbers = (text.plain for text in Status("epoch 12/150", 0.08, count, details).rows(80))
    assert max(len(bar), len(numbers)) <= 80
    assert bar == f"epoch 12/150 {count}"
    assert numbers == "loss 0.693  top-1 50.0%  lr 0.0002  6.5 clips/s  2% waiting for data  101.5 GiB"
    short = (
        Status("epoch 12/150", 0.5, "step 3/63, 4 min left of the epoch, 2 h of the run").rows(80)[0].plain
    )
    assert short == "epoch 12/150 ━━━━━━━━━━━━━━━━ step 3/63, 4 min left of the epoch, 2 h of the run"


def test_bar_shortens_long_path_but_not_count():
    (row,) = Status(
        "testing runs/動作/a/very/long/path/of/a/checkpoint/best.safetensors", 0.5, "120/4000"
    ).rows(40)
    assert row.cell_len <= 40
    assert row.plain.endswith("best.safetensors 120/4000")


def on_screen(text):
    """Return the rows of a terminal after it has received a text with control codes of the library rich."""
    rows, row, column = [""], 0, 0
    for part in re.findall(r"\x1b\[[0-9;?]*[A-Za-z]|\r|\n|[^\x1b\r\n]+", text):
        if part in ("\r", "\n"):
            column = 0
            row += part == "\n"
            rows += [""] * (row + 1 - len(rows))
        elif part[0] != "\x1b":
            rows[row] = rows[row][:column].ljust(column) + part + rows[row][column + len(part) :]
            column += len(part)
        elif part.endswith("A"):
            row -= int(part[2:-1])
        elif part.endswith("K"):
            rows[row] = ""
    return [text.rstrip() for text in rows]


@pytest.fixture
def terminal(monkeypatch):
    """A terminal of 80 columns that receives standard output and standard error."""
    shown = console(terminal=True)
    for name in ("out", "err"):
        monkeypatch.setattr(f"tanet.cli.lines.{name}", shown)
    monkeypatch.setattr("tanet.cli.progress.BAR_AFTER", 3600.0)  # the tests show the bar themselves
    return shown


def test_terminal_shows_bar_of_80_columns_below_all_lines(clock, terminal):
    recipe, planned = ready(epochs=2)
    with TrainingScreen(recipe, console=terminal, clock=clock) as screen:
        screen.display._show_bar()
        screen.show(planned)
        run(screen, clock, epochs=2, step_seconds=6.0)
        assert screen.display.live
        screen.display.live.refresh()
        rows = on_screen(text_of(terminal))
    lines = [
        "resnet50 with temporal module tam, 8 frames per clip",
        *planned.lines,
        *(f"note: {warning}" for warning in planned.warnings),
        "about 2 min for the whole run",
        *(
            f"epoch   {epoch}/2  lr 0.0001  loss 0.500  train top-1 50.0%  val top-1 50.0%"
            for epoch in (1, 2)
        ),
    ]
    bar = [
        "epoch 2/2 ━ validation 20/20, 5 s left of the epoch, 5 s of the run",
        "loss 0.693  top-1 50.0%  lr 0.0002  6.5 clips/s  2% waiting for data",
    ]
    assert [row.startswith(line) for row, line in zip(rows, lines, strict=False)] == [True] * len(lines)
    assert [re.sub("━+", "━", row) for row in rows[len(lines) :]] == bar
    assert max(map(len, rows[len(lines) :])) <= 80
    assert not any(on_screen(text_of(terminal))[len(lines) :])  # the bar is gone at the end


def test_first_line_of_plan_does_not_share_row_with_bar(clock, terminal):
    with Display(terminal, clock=clock) as display:
        display.show(Status("predicting", 0.5, "1/2"))
        display._show_bar()
        for number in range(3):
            with display.aside():
                say(f"video {number}")
    assert on_screen(text_of(terminal))[:4] == ["video 0", "video 1", "video 2", ""]


def test_download_shows_megabytes(clock, terminal, monkeypatch):
    monkeypatch.setattr("tanet.cli.console.err", terminal)
    with DownloadScreen() as screen:
        screen.show_event(DownloadProgress(12_300_000, 47_158_331, "weights.pth"))
        screen._show_bar()
        screen.live.refresh()
        assert re.sub("━+", "━", on_screen(text_of(terminal))[0]) == "downloading weights.pth ━ 12/47 MB"
    assert download_status(12_300_000, 0, "weights.pth").line() == "downloading weights.pth: 12 MB"


def test_training_shows_download_of_initial_weights(clock):
    shown = console()
    with TrainingScreen(RECIPES["finetune"], console=shown, clock=clock) as screen:
        clock.now += 11
        screen.show(DownloadProgress(1_000_000, 2_000_000, "weights.pth"))
    assert lines(shown) == ["downloading weights.pth: 1/2 MB"]
