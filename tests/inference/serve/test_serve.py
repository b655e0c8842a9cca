"""The server: answers of all addresses, limits, batches, and what is no video."""

import io
import threading
import zipfile
from concurrent.futures import Future

import pytest
import torch

import tanet
from tanet.checkpoints import checkpoint
from tanet.cli import main
from tests.support.tiny_videos import TINY, make, tiny_model

pytest.importorskip("starlette")

from starlette.testclient import TestClient

from tanet.inference.serve.app import make_app
from tanet.inference.serve.batching import Batcher
from tanet.inference.serve.limits import Limits
from tanet.inference.serve.metrics import Metrics


@pytest.fixture(scope="module")
def model():
    return tiny_model()


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    return make(tmp_path_factory.mktemp("serve") / "0.mp4", frames=40)


@pytest.fixture
def client(model):
    app = make_app({"one": model, "two": model}, Limits(megabytes=0.2, seconds=5, waiting=4))
    with TestClient(app) as client:
        yield client
        folder = app.state.server.uploads.folder
        assert list(folder.iterdir()) == []
    assert not folder.exists()


def test_answers_are_predictions(client, model, video):
    wanted = tanet.predict(video, model)
    for content in (
        {"content": video.read_bytes()},
        {"files": {"file": ("../../x.mp4", video.read_bytes())}},
    ):
        found = client.post("/v1/classify?top_k=2", **content).json()
        assert [one["label"] for one in found] == [label for label, _ in wanted.top5[:2]]
        assert found[0]["score"] == pytest.approx(wanted.score, abs=1e-6)
    assert [one["name"] for one in client.get("/v1/models").json()] == ["one", "two"]
    found = client.post("/v1/timeline?window=12&model=two", content=video.read_bytes()).json()
    assert found["duration"] == pytest.approx(1.6)
    assert found["segments"][-1]["end"] == pytest.approx(1.6)
    assert len(found["edges"]) == len(next(iter(found["scores"].values()))) + 1
    picture = client.post("/v1/explain", content=video.read_bytes())
    assert picture.content.startswith(b"\x89PNG")
    assert 'tanet_requests_total{path="/v1/classify",status="200"} 2' in client.get("/metrics").text


def test_page_loads_nothing_from_elsewhere(client):
    page = client.get("/")
    assert "default-src 'self'" in page.headers["content-security-policy"]
    for name in ("", "page.js", "page.css"):
        assert "http" not in client.get(f"/{name}").text.replace("http-equiv", "")
    assert client.get("/app.py").status_code == 404
    assert client.get("/%2e%2e/app.py").status_code == 404


def test_inference_protocol(client, model):
    assert client.get("/v2/health/live").json() == {"live": True}
    assert client.get("/v2/models/one/ready").json() == {"ready": True}
    assert client.get("/v2/models/one").json()["inputs"][0]["shape"] == [-1, 4, -1, -1, 3]
    clips = torch.randint(0, 256, (2, 4, 32, 32, 3), dtype=torch.uint8)
    entry = {
        "name": "clips",
        "shape": [2, 4, 32, 32, 3],
        "datatype": "UINT8",
        "data": clips.flatten().tolist(),
    }
    found = client.post("/v2/models/one/infer", json={"id": "7", "inputs": [entry]}).json()
    assert found["id"] == "7"
    scores = torch.tensor(found["outputs"][0]["data"]).reshape(found["outputs"][0]["shape"])
    wanted = tanet.classify(clips.movedim(-1, 2)[:, None], model)
    assert torch.allclose(scores, wanted, atol=1e-6)
    for wrong in (
        {},
        {"inputs": []},
        {"inputs": [{**entry, "shape": [2, 4]}]},
        {"inputs": [{**entry, "data": [-1]}]},
    ):
        assert client.post("/v2/models/one/infer", json=wrong).status_code == 422
    assert client.post("/v2/models/one/infer", content=b"[[[").status_code == 400
    assert client.get("/v2/models/three").status_code == 404
    strip = {**entry, "shape": [1, 4, 1, 2048, 3], "data": [0] * (4 * 2048 * 3)}
    found = client.post("/v2/models/one/infer", json={"inputs": [strip]})
    assert "more than 16 times as long" in found.json()["error"]


def test_what_is_no_video_is_refused(client, video, tmp_path):
    (secret := tmp_path / "secret.txt").write_text("SECRET")
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.writestr("../a.mp4", b"x")
    bodies = (
        b"<html>",
        zipped.getvalue(),
        f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile://{video}\n#EXT-X-ENDLIST\n".encode(),
        f"ffconcat version 1.0\nfile '{secret}'\n".encode(),
        video.read_bytes()[:1000],
    )
    for body in bodies:
        found = client.post("/v1/classify", content=body)
        assert found.status_code == 422
        assert "the video cannot be used: " in found.json()["error"]
        assert "SECRET" not in found.text
        assert str(tmp_path) not in found.text
    assert client.post("/v1/classify", content=b"").status_code == 400
    assert client.post("/v1/classify", files={"other": b"x"}).status_code == 400
    assert client.post("/v1/classify?model=x", content=b"x").status_code == 404
    assert client.post("/v1/classify?top_k=no", content=b"x").status_code == 422


def test_odd_values_are_refused(client, video):
    data = video.read_bytes()
    for query in ("window=2s&hop=0.00001s", f"window={'9' * 30}", f"hop={'9' * 400}s", "window=x"):
        found = client.post(f"/v1/timeline?{query}", content=data)
        assert (found.status_code, found.headers["content-type"]) == (422, "application/json")
    assert client.post(f"/v1/classify?top_k={'9' * 5000}", content=data).status_code == 422
    form = {"content-type": f"multipart/form-data; boundary={'x' * 500}"}
    assert client.post("/v1/classify", content=data, headers=form).status_code == 400
    for method, path, status in (("GET", "/nope", 404), ("PUT", "/v1/classify", 405)):
        found = client.request(method, path)
        assert (found.status_code, list(found.json())) == (status, ["error"])
    assert 'path="other",status="404"' in client.get("/metrics").text


def test_limits_hold_while_a_body_streams_in(client, tmp_path):
    assert client.post("/v1/classify", content=bytes(300_000)).status_code == 413
    pieces = (bytes(50_000) for _ in range(100))
    assert client.post("/v1/classify", content=pieces).status_code == 413
    long = make(tmp_path / "long.mp4", frames=150).read_bytes()
    found = client.post("/v1/classify", content=long)
    assert found.status_code == 422
    assert "more than 5 s" in found.json()["error"]


def test_requests_beyond_the_queue_get_503(model, video, monkeypatch):
    app = make_app({"one": model}, Limits(waiting=1))
    held: Future[torch.Tensor] = Future()
    with TestClient(app) as client:
        monkeypatch.setattr(app.state.server.batcher, "submit", lambda *_, **__: held)
        answers = []
        first = threading.Thread(
            target=lambda: answers.append(client.post("/v1/classify", content=video.read_bytes()))
        )
        first.start()
        while app.state.server.waiting == 0:
            pass
        busy = client.post("/v1/classify", content=video.read_bytes())
        assert (busy.status_code, busy.headers["retry-after"]) == (503, "1")
        held.set_result(torch.tensor([0.2, 0.5, 0.3]))
        first.join()
        assert answers[0].json()[0]["label"] == "b"


def test_other_sites_cannot_use_a_local_server(model):
    with TestClient(make_app({"one": model}, hosts=["localhost"]), base_url="http://evil.example") as client:
        assert client.get("/").status_code == 400


def test_clips_of_several_requests_are_one_batch(model):
    metrics = Metrics()
    batcher = Batcher({"one": model}, batch=8, metrics=metrics)
    views = torch.randint(0, 256, (6, 1, 4, 3, 32, 32), dtype=torch.uint8)
    wrong = torch.zeros(1, 9, 3, 32, 32, dtype=torch.uint8)
    futures = [batcher.submit("one", each, eval=TINY.eval) for each in views]
    failed = batcher.submit("one", wrong, eval=TINY.eval)
    wanted = tanet.classify(views, model)
    assert torch.allclose(torch.stack([future.result() for future in futures]), wanted, atol=1e-6)
    assert isinstance(failed.exception(), ValueError)
    batcher.close()
    assert metrics.value("tanet_batch_size_count") < 6


def test_command_names_what_is_wrong(model, tmp_path, capsys):
    checkpoint.save(tmp_path / "a.safetensors", model)
    assert main(["serve"]) == 2
    assert main(["serve", str(tmp_path / "a.safetensors"), "--waiting", "0"]) == 2
    assert "--waiting must be positive" in capsys.readouterr().err
