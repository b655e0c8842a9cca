"""File names that are not UTF-8, or that the terminal cannot show: used everywhere, shown with escapes."""

import json
import os
import shutil
import subprocess
import sys

import pytest
import torch

from tanet.checkpoints import checkpoint
from tanet.data.annotations import read_split
from tanet.data.shards.read import open_packed_video
from tanet.models.factory import build
from tanet.recipes.recipe import Data
from tests.support.tiny_videos import TINY, make

pytestmark = pytest.mark.skipif(os.name == "nt", reason="file names are bytes on POSIX only")
NAMES = {
    "latin": b"caf\xe9",
    "gbk": b"\xb6\xaf\xd7\xf7",
    "utf8": "día 動作".encode(),
    "both": b"\xff \xc3\xa9",
}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Folder with a class per file name; two of the class folders are not UTF-8 either."""
    folder = tmp_path_factory.mktemp("names")
    video = make(folder / "a.mp4")
    for part in ("train", "val"):
        for name, encoded in NAMES.items():
            place = folder / "data" / part / os.fsdecode(encoded if name == "gbk" else name.encode())
            place.mkdir(parents=True)
            for number in range(2):
                shutil.copy(video, place / f"{os.fsdecode(encoded)}{number}.mp4")
    torch.manual_seed(0)
    model = checkpoint.Checkpoint(
        build(TINY.model, classes=4), TINY, read_split(Data(root=str(folder / "data"))).classes
    )
    checkpoint.save(folder / "model.safetensors", model)
    return folder


RUN = """if True:
    import json, sys
    from tanet.cli import main
    if __name__ == "__main__":
        for words in json.loads(sys.argv[1]):
            status = main(words)
            assert status == 0, (words, status)
            print("-- done", flush=True)
"""


def tanet(*commands, folder, encoding="utf-8:strict"):
    """Run commands in one new process. Return what each of them prints."""
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
    done = subprocess.run(
        [sys.executable, "-c", RUN, json.dumps([[str(word) for word in words] for words in commands])],
        cwd=folder,
        env=environment,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    assert b"surrogates" not in done.stderr
    *shown, rest = done.stdout.split(b"-- done\n")
    assert (len(shown), rest) == (len(commands), b"")
    return shown


@pytest.mark.slow
def test_predict_and_check_show_names_with_escapes(root):
    check = ("data", "check", "data", "--json", "report.json", "--quarantine", "bad.txt", "--workers", "1")
    out, _ = tanet(("predict", "model.safetensors", "data/val"), check, folder=root)
    assert b"caf\\udce90.mp4" in out
    assert "día 動作0.mp4".encode() in out
    assert len(out.splitlines()) == 8
    found = json.loads((root / "report.json").read_bytes())["findings"]
    assert {os.fsencode(one["path"]).rpartition(b"/")[2] for one in found} >= {
        b"caf\xe90.mp4",
        b"\xb6\xaf\xd7\xf71.mp4",
    }


@pytest.mark.slow
def test_terminal_that_shows_ascii_only_gets_escapes(root):
    (out,) = tanet(("predict", "model.safetensors", "data/val/utf8"), folder=root, encoding="ascii:strict")
    assert b"d\\xeda \\u52d5\\u4f5c0.mp4" in out


@pytest.mark.slow
def test_train_test_and_pack_use_the_files(root, tmp_path):
    flags = [
        "--model.backbone",
        "resnet18_w16",
        "--model.frames",
        "4",
        "--optim.batch",
        "4",
        "--optim.epochs",
        "1",
    ]
    flags += ["--optim.warmup", "0", "--data.size", "32", "--data.resize", "32", "--eval.size", "32"]
    flags += ["--eval.resize", "32", "--data.workers", "0", "--device", "cpu", "--out", tmp_path / "run"]
    report, scores, shards = (tmp_path / name for name in ("report.json", "scores.safetensors", "shards"))
    tanet(
        ("train", "finetune", "--data.root", "data", *flags),
        ("test", tmp_path / "run", "--data.root", "data", "--json", report, "--save-scores", scores),
        ("test", scores),
        ("data", "pack", "data", shards, "--workers", "1"),
        folder=root,
    )
    assert "caf\\udce9" in report.read_text()
    split = read_split(Data(root=str(shards)))
    assert len(split.train) == len(split.val) == 8
    assert any(os.fsencode(sample.path).endswith(b"caf\xe90.mp4") for sample in split.train)
    for sample in split.train:
        with open_packed_video(sample.shard_entry, name=sample.path) as video:
            assert video.read([0]).shape[0] == 1
