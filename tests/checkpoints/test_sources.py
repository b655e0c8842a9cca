"""A checkpoint is named by a path, by a name of published weights, or by an address of the hub."""

from pathlib import Path

import pytest

from tanet.checkpoints import checkpoint, sources
from tanet.checkpoints.sources import is_pretrained, resolve
from tanet.cli import main
from tanet.errors import UserError
from tanet.recipes.network2d import Network2D
from tests.support.start_files import model_from_file


@pytest.fixture
def fetched(monkeypatch, tmp_path):
    """Names that are fetched. The weights are a file that is not there."""
    asked = []

    def fetch(entry, *, on_event):
        asked.append(entry.name)
        return tmp_path / "cache" / entry.name

    monkeypatch.setattr("tanet.checkpoints.pretrained.fetch.fetch", fetch)
    return asked


@pytest.fixture
def hub(monkeypatch, tmp_path):
    asked = []

    def hub_path(source, *, on_event):
        asked.append(str(source))
        return tmp_path / "hub"

    monkeypatch.setattr(sources, "hub_path", hub_path)
    return asked


def test_path_that_exists_wins(fetched, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "i3d-k400").touch()
    assert resolve("i3d-k400") == Path("i3d-k400")
    assert not is_pretrained("i3d-k400")
    assert fetched == []


def test_name_is_fetched(fetched, tmp_path):
    for name in ("i3d-k400", Path("i3d-k400")):
        assert resolve(name) == tmp_path / "cache" / "i3d-k400"
    assert fetched == ["i3d-k400"] * 2


@pytest.mark.parametrize("source", ["hf://me/mine@v1", Path("hf://me/mine@v1")])
def test_address_goes_to_the_hub(hub, tmp_path, source):
    assert is_pretrained(source)
    assert resolve(source) == tmp_path / "hub"
    assert hub == [str(source)]


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("best.safetensors", "best.safetensors: no such file"),
        ("runs/mine/best.pth", "runs/mine/best.pth: no such file"),
        ("me/mine", "me/mine: no such file; a checkpoint on the Hugging Face Hub is hf://me/mine"),
        (
            "i3d-k40",
            "i3d-k40: no such file, and no published weights are called 'i3d-k40': did you mean i3d-k400",
        ),
        ("qqqq", "qqqq: no such file, and no published weights are called 'qqqq': `tanet models` lists"),
    ],
)
def test_unknown_source_says_what_it_may_be(source, told):
    with pytest.raises(UserError) as caught:
        resolve(source)
    assert str(caught.value).startswith(told)


COMMANDS = {
    "predict": ("predict", "{}", "clip.mp4"),
    "test": ("test", "{}", "--data.root", "videos"),
    "cost": ("cost", "{}"),
    "convert": ("convert", "{}", "out.safetensors"),
    "show": ("show", "{}", "videos"),
    "train": ("train", "finetune", "--data.root", "videos", "--init", "{}"),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_take_names_and_addresses(command, hub, fetched, tmp_path, monkeypatch, capsys):
    """The stubs return a file that is no checkpoint: each command must come so far as to say so."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "videos").mkdir()
    for stub in (tmp_path / "hub", tmp_path / "cache" / "i3d-k400"):
        stub.parent.mkdir(exist_ok=True)
        stub.write_text("no checkpoint")
    for source, asked in (("hf://me/mine", hub), ("i3d-k400", fetched)):
        assert main([word.format(source) for word in COMMANDS[command]]) == 2
        assert "text file" in capsys.readouterr().err
        assert set(asked) == {source}


def test_python_takes_names(fetched):
    for read in (checkpoint.load, lambda name: model_from_file(name, Network2D())):
        with pytest.raises(UserError, match="cache/i3d-k400: no such file"):  # of the stub
            read("i3d-k400")
    assert set(fetched) == {"i3d-k400"}
