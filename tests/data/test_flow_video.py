"""Flow is stored or computed; clips hold successive flows; mirrored flow moves the other way."""

import dataclasses

import numpy as np
import pytest
import torch

from tanet.data import flow_video, transforms
from tanet.data.annotations import read_split, read_test_samples
from tanet.data.dataset import EvalClips, TrainClips
from tanet.data.flow_location import find_flows, with_stored_settings
from tanet.data.flow_video import ComputedFlow, FlowFolder, find_flow
from tanet.data.gpu_transforms import concatenate_views, defer_view, make_views
from tanet.data.listed_video import ListedVideo
from tanet.data.loader import ClipLoader
from tanet.data.normalisation import normalise
from tanet.data.samples import Sample, flow_count
from tanet.data.streams import open_sample, read_frames, starts_of
from tanet.data.tools.check import check_video
from tanet.data.tools.encode import Encoding, encode
from tanet.data.tools.pack import pack
from tanet.data.transforms import Box, CropSpec, train_view
from tanet.errors import UserError
from tanet.recipes.input_spec import FLOW, FLOW_I3D, FLOW_MMACTION2, FLOW_TSN
from tanet.recipes.recipe import Data, Eval
from tanet.video import VideoError, open_video
from tests.support.moving_flow import write_flow, write_numbered_flow, write_video

pytest.importorskip("cv2")
RAW = Data(flow_size=(0, 0), workers=0, resize=0, size=32, scales=(1.0,), flip="none")
EVAL = Eval(resize=32, size=32)


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """Write two videos in class folders, and their flow in both layouts; return their folder."""
    root = tmp_path_factory.mktemp("flow")
    for verb, frames in (("go", 8), ("stay", 6)):
        video = write_video(root / "videos" / "train" / verb / "1.mp4", frames)
        for layout in ("xy", "rgb"):
            write_flow(video, root / layout / "train" / verb / "1", layout=layout)
        (root / "videos" / "val" / verb).mkdir(parents=True)
        (root / "videos" / "val" / verb / "2.mp4").write_bytes(video.read_bytes())
        write_flow(video, root / "xy" / "val" / verb / "2")
    return root


def read(path, *, data=RAW, flow=""):
    """Read all flows of a video."""
    with open_sample(Sample(str(path), 0, flow=flow), data=data, flows=1) as video:
        return video.read(range(video.frames))


def test_stored_flow_is_the_computed_flow_but_for_jpeg(videos):
    computed = read(videos / "videos" / "train" / "go" / "1.mp4").float()
    assert computed.shape == (7, 96, 128, 2)
    for layout, within in (("xy", 0.1), ("rgb", 0.6)):
        stored = read("-", flow=str(videos / layout / "train" / "go" / "1")).float()
        assert (stored - computed).abs().mean() < within
        assert (stored - computed).abs().max() <= 3


def test_flow_in_shards_is_that_of_the_folder(videos, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "tanet.data.tools.pack.map_files", lambda work, paths, **_: ((p, work(p)) for p in paths)
    )
    (videos / "xy" / "flow.json").write_text('{"method": "tvl1", "width": 0, "height": 0}')
    for layout in ("xy", "rgb"):
        root, out = videos / layout, tmp_path / layout
        split = read_split(Data(root=str(root), val_fraction=0))
        done = pack(
            split.train,
            classes=split.classes,
            root=root,
            out=out,
            split="train",
            encoding=Encoding("flow"),
            shard_size=10**9,
            workers=1,
            limit=60,
        )
        assert [cause for _, cause in done] == [None, None]
        packed = read_split(Data(root=str(out), val_fraction=0)).train
        assert [sample.frames for sample in packed] == [7, 5]
        for sample in packed:
            with open_sample(sample, data=RAW, flows=5) as video:
                assert torch.equal(
                    video.read(range(video.frames)), read(sample.path.replace(str(out), str(root)))
                )
            with pytest.raises(VideoError, match="optical flow, and the network takes RGB frames"):
                open_sample(sample, data=RAW, flows=0)
        # Videos find their flow in the shards by their names.
        videos_root = videos / "videos"
        listed = [ListedVideo(videos_root / "train" / "go" / "1.mp4", "go")]
        assert find_flows(listed, root=videos_root, flow=out) == [packed[0].shard_entry]
    settings = with_stored_settings(Data(root="videos", flow=str(tmp_path / "xy")))
    assert (settings.flow_method, settings.flow_size) == ("tvl1", (0, 0))


def test_long_videos_are_computed_in_parts(videos, monkeypatch):
    path = videos / "videos" / "train" / "go" / "1.mp4"
    whole = read(path)
    monkeypatch.setattr("tanet.data.optical_flow.CHUNK", 1)
    assert torch.equal(read(path), whole)
    with open_video(path) as video:
        some = ComputedFlow(video, method="dis", size=(0, 0)).read([5, 1, 5])
    assert torch.equal(some, whole[[5, 1, 5]])


@pytest.mark.parametrize(
    "pattern",
    [
        "flow_{axis}_{number:05d}.jpg",
        "{axis}_{number:05d}.jpg",
        "000007-{axis}_{number:05d}.jpg",
        "flow{axis}{number}.png",
        "frame{number}_{axis}.jpg",
    ],
)
def test_published_names_of_flow_are_known(pattern, tmp_path):
    folder = write_numbered_flow(tmp_path / "v", 11, pattern=pattern)
    (folder / "img_00001.jpg").write_bytes(next(folder.iterdir()).read_bytes())  # frames beside flow
    flows = find_flow(folder)
    x, y = FlowFolder(folder, flows).read(range(11))[:, 0, 0].T.tolist()
    assert np.abs(np.array(x) - 10 * np.arange(11)).max() <= 1
    assert np.abs(np.array(y) - 10 * np.arange(11) - 100).max() <= 1


def test_faults_of_flow_folders_are_named(tmp_path):
    folder = write_numbered_flow(tmp_path / "v", 3)
    (folder / "flow_y_00002.jpg").unlink()
    with pytest.raises(VideoError, match=r"flow_x_00002.jpg has no picture of the other axis: remove"):
        find_flow(folder)
    (folder / "flow_x_00003.jpg").unlink()  # as many of x as of y, but not of the same flows
    with pytest.raises(VideoError, match="has no picture of the other axis"):
        find_flow(folder)
    write_numbered_flow(folder, 6)
    for axis in "xy":
        (folder / f"flow_{axis}_00002.jpg").unlink()
    with pytest.raises(VideoError, match="flow 2 is missing"):
        find_flow(folder)
    write_numbered_flow(folder, 6)
    write_numbered_flow(folder, 2, pattern="b_{axis}_{number}.jpg")
    with pytest.raises(VideoError, match="several series of flow"):
        find_flow(folder)
    (tmp_path / "empty").mkdir()
    assert find_flow(tmp_path / "empty") == []
    with pytest.raises(VideoError, match="no such file or folder"):
        read(tmp_path / "none")
    import cv2

    wide = write_numbered_flow(tmp_path / "wide", 2)
    cv2.imwrite(str(wide / "flow_x_00002.jpg"), np.zeros((32, 64), np.uint8))
    with pytest.raises(VideoError, match="have different sizes"):
        read(wide)
    cv2.imwrite(str(wide / "flow_y_00002.jpg"), np.zeros((32, 64), np.uint8))
    with pytest.raises(VideoError, match="another size than the pictures before it"):
        read(wide)


def test_pictures_of_frames_are_not_taken_for_flow(videos, tmp_path):
    import cv2

    for number in range(3):
        picture = np.random.default_rng(number).integers(0, 255, (32, 48, 3), np.uint8)
        cv2.imwrite(str(tmp_path / f"{number:05d}.jpg"), picture)
    assert find_flow(tmp_path) == []
    assert read(tmp_path).shape == (2, 32, 48, 2)  # computed
    assert len(find_flow(videos / "rgb" / "train" / "go" / "1")) == 7


def test_clips_hold_successive_flows_and_repeat_the_last(tmp_path):
    folder = write_numbered_flow(tmp_path / "v", 7)
    flow = FlowFolder(folder, find_flow(folder))
    assert starts_of(7, flows=5) == 3
    assert starts_of(3, flows=5) == 1
    clip = read_frames(flow, np.array([0, 4]), flows=5, count=7)  # [2, H, W, 10]
    x, y = clip[:, 5, 5].view(2, 5, 2).float().unbind(-1)
    wanted = torch.tensor([[0.0, 10, 20, 30, 40], [40, 50, 60, 60, 60]])
    assert (x - wanted).abs().max() <= 1
    assert (y - wanted - 100).abs().max() <= 1


def test_test_clips_start_where_all_flows_exist(tmp_path):
    # 3 segments over the 11 - 5 + 1 = 7 places of 5 successive flows
    folder = write_numbered_flow(tmp_path / "v", 11)
    clips = EvalClips([Sample(str(folder), 0)], RAW, EVAL, frames=3, flows=5)
    views, _, _ = clips[0]
    assert views.shape == (1, 3, 10, 32, 32)
    first = views[0, :, 0, 5, 5].float()
    assert (first - torch.tensor([10.0, 30, 50])).abs().max() <= 1


@pytest.mark.parametrize(("stated", "used"), [(None, 20), (20, 20), (21, 20), (40, 20), (11, 10), (1, 1)])
def test_lists_may_count_frames_flows_or_pictures(stated, used):
    assert flow_count(Sample("v", 0, stated), 20) == used


def test_lists_that_state_too_many_frames_are_refused():
    with pytest.raises(VideoError, match="the list states 30 frames, but the flow is that of 21 frames"):
        flow_count(Sample("v", 0, 30), 20)


def random_flow(*shape):
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_mirrored_flow_moves_the_other_way():
    frames = random_flow(2, 40, 48, 10)
    cut = CropSpec(40, 48, Box(4, 8, 32, 32), mirrored=False)
    plain = train_view(frames, cut, size=32)
    mirrored = train_view(frames, dataclasses.replace(cut, mirrored=True), size=32)
    assert torch.equal(mirrored[:, 0::2], 255 - plain[:, 0::2].flip(-1))  # x
    assert torch.equal(mirrored[:, 1::2], plain[:, 1::2].flip(-1))  # y
    colours = train_view(frames[..., :3], cut, size=32)
    assert torch.equal(
        train_view(frames[..., :3], dataclasses.replace(cut, mirrored=True), size=32), colours.flip(-1)
    )
    ten = transforms.eval_views(frames[None], resize=32, size=24, crops=10)  # pairs: a crop, then mirrored
    assert torch.equal(ten[1::2, :, 0::2], 255 - ten[0::2, :, 0::2].flip(-1))
    assert torch.equal(ten[1::2, :, 1::2], ten[0::2, :, 1::2].flip(-1))


def test_views_of_flow_made_on_the_device_equal_those_of_workers():
    frames = [random_flow(2, 40, 48, 10), random_flow(2, 64, 56, 10)]
    cuts = [CropSpec(40, 48, Box(4, 8, 32, 30), mirrored) for mirrored in (True, False)]
    parts = [defer_view(clip, cut, size=24) for clip, cut in zip(frames, cuts, strict=True)]
    batch = concatenate_views(parts)
    for number, (clip, cut) in enumerate(zip(frames, cuts, strict=True)):
        assert torch.equal(make_views(batch)[number], train_view(clip, cut, size=24).float())
        assert torch.equal(make_views(batch[number : number + 1])[0], make_views(parts[number])[0])


@pytest.mark.parametrize(
    ("spec", "low", "high"),
    [
        (FLOW, -0.5 / 0.226, 0.5 / 0.226),
        (FLOW_TSN, -128, 127),
        (FLOW_MMACTION2, -1, 127 / 128),
        (FLOW_I3D, -1, 1),
    ],
)
def test_normalisation_of_flow_is_that_of_the_codebases(spec, low, high):
    views = torch.tensor([0, 255], dtype=torch.uint8).repeat(10).view(1, 10, 1, 2)
    assert normalise(views, spec)[0, 3, 0].tolist() == pytest.approx([low, high])


@pytest.mark.parametrize("transform_on", ["workers", "device"])
def test_training_reads_flow_by_the_names_of_videos(transform_on, videos):
    data = dataclasses.replace(
        RAW, root=str(videos / "videos"), flow=str(videos / "xy"), transform_on=transform_on
    )
    split = read_split(data)
    assert [sample.flow for sample in split.train] == [
        str(videos / "xy" / "train" / v / "1") for v in ("go", "stay")
    ]
    clips = TrainClips(split.train, data, frames=2, flows=5, classes=split.classes)
    view = clips[0][0]
    view = view if isinstance(view, torch.Tensor) else make_views(view)[0]
    assert view.shape == (2, 10, 32, 32)
    x, y = view.float().mean((0, 2, 3)).view(5, 2).T
    assert (x - 127.5 - 2 * 255 / 40).abs().max() < 3  # 2 pixels to the right
    assert (y - 127.5).abs().max() < 3
    rgb = TrainClips(
        split.train, dataclasses.replace(data, transform_on="workers"), frames=2, classes=split.classes
    )
    assert rgb[0][0].shape == (2, 3, 32, 32)  # the folder of flow has no effect on RGB networks


def test_flow_folders_can_be_the_videos(videos):
    data = dataclasses.replace(RAW, root=str(videos / "xy"))
    (go, _) = read_test_samples(data, classes=("go", "stay"))
    assert go.path.endswith("xy/val/go/2")
    assert EvalClips([go], data, EVAL, frames=2, flows=5)[0][0].shape == (1, 2, 10, 32, 32)


def test_networks_for_frames_refuse_flow(videos):
    for layout in ("xy", "rgb"):
        sample = Sample(str(videos / layout / "train" / "go" / "1"), 0)
        if layout == "xy":  # refused when it is opened
            assert "optical flow, not frames" in str(EvalClips([sample], RAW, EVAL, frames=2)[0])
        else:
            with pytest.raises(UserError, match="optical flow, and the network takes RGB frames"):
                EvalClips([sample], RAW, EVAL, frames=2)


def test_missing_flow_is_named(videos):
    with pytest.raises(
        VideoError, match=r"no flow in .*none: run tanet data flow again, or leave the video out"
    ):
        open_sample(Sample("v.mp4", 0, flow=str(videos / "none")), data=RAW, flows=5)


def test_missing_opencv_is_one_line_also_in_workers(videos, monkeypatch):
    def missing(_):
        raise UserError("optical flow needs OpenCV: pip install 'tanet[flow]'")

    monkeypatch.setattr("tanet.data.optical_flow.import_opencv", missing)
    sample = Sample(str(videos / "videos" / "train" / "go" / "1.mp4"), 0)
    for workers in (0, 1):
        data = dataclasses.replace(RAW, workers=workers)
        clips = EvalClips([sample], data, EVAL, frames=2, flows=5)
        with pytest.raises(UserError) as raised, ClipLoader(clips, batch=1, data=data) as loader:
            next(iter(loader))
        assert str(raised.value) == "optical flow needs OpenCV: pip install 'tanet[flow]'"


def test_wrong_folders_of_flow_are_refused(videos, tmp_path):
    data = Data(root=str(videos / "videos"))
    with pytest.raises(UserError, match=r"no such folder of optical flow; tanet data flow"):
        read_split(dataclasses.replace(data, flow=str(tmp_path / "none")))
    with pytest.raises(UserError, match=r"has no flow of these videos, for example train/go/1"):
        read_split(dataclasses.replace(data, flow=str(tmp_path)))
    (tmp_path / "flow.json").write_text("{}")
    with pytest.raises(UserError, match="does not say how the flow was computed"):
        with_stored_settings(dataclasses.replace(data, flow=str(tmp_path)))
    with pytest.raises(UserError, match="must be a width and a height"):
        Data(flow_size=(8, 8))
    assert flow_video.AXIS.search("img_00001.jpg") is None
    video = videos / "videos" / "train" / "go" / "1.mp4"
    assert encode(video, encoding=Encoding("flow"), counts={}) == (
        "no pictures of optical flow; tanet data flow writes them"
    )


def test_folders_of_flow_are_checked_but_not_taken_for_frames(tmp_path):
    folder = write_numbered_flow(tmp_path / "v", 3)
    found = check_video(folder, min_frames=1)
    assert (found.verdict, found.frames, found.width) == ("ok", 3, 48)
    (folder / "flow_y_00002.jpg").write_bytes(b"no picture")
    assert check_video(folder, min_frames=1).verdict == "unreadable"
    with pytest.raises(VideoError, match="optical flow, not frames"):
        open_video(folder)
