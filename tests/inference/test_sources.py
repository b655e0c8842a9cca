"""`predict` takes a video in any form, with the same prediction; anything else is refused in one line."""

import io
import os
from collections import deque

import av
import numpy as np
import pytest
import torch

from tanet import UserError, predict, predict_all
from tanet.checkpoints.checkpoint import Checkpoint
from tanet.models.factory import build
from tanet.video import VideoError, open_video
from tanet.video.video_source import open_source
from tests.support.tiny_videos import TINY, make

FRAMES = np.random.default_rng(0).integers(0, 256, (12, 32, 48, 3), dtype=np.uint8)
GREY = FRAMES[..., 0]
ALPHA = np.concatenate([FRAMES, FRAMES[..., :1]], -1)
TENSOR = torch.from_numpy(FRAMES)


class PictureLike:
    """A picture with the part of PIL's interface that is used."""

    def __init__(self, array):
        self.array = array

    @property
    def __array_interface__(self):
        raise AssertionError("the interface of the whole picture must not be asked for")

    def convert(self, mode):
        assert mode == "RGB"
        return self.array


class Library:
    """An array of another library."""

    def __init__(self, array):
        self.array, self.shape, self.dtype = array, array.shape, array.dtype

    def __array__(self, dtype=None, copy=None):
        if self.array.size == 0:
            raise TypeError("on a GPU\nsecond line")
        return self.array


def read_only(array):
    copy = array.copy()
    copy.flags.writeable = False
    return copy


def reused_memory():
    buffer = np.empty_like(FRAMES[0])
    for frame in FRAMES:
        buffer[...] = frame
        yield buffer


SAME = {
    "[T, H, W, 3]": FRAMES,
    "[T, 3, H, W]": FRAMES.transpose(0, 3, 1, 2),
    "[3, T, H, W]": np.ascontiguousarray(FRAMES.transpose(3, 0, 1, 2)),
    "[1, T, H, W, 3]": FRAMES[None],
    "[1, 3, T, H, W]": FRAMES.transpose(3, 0, 1, 2)[None],
    "[1, T, 3, H, W]": FRAMES.transpose(0, 3, 1, 2)[None],
    "RGBA": ALPHA,
    "RGBA, channels second": ALPHA.transpose(0, 3, 1, 2),
    "read-only": read_only(FRAMES),
    "negative strides": FRAMES[::-1, ::-1, ::-1].copy()[::-1, ::-1, ::-1],
    "not contiguous": np.repeat(FRAMES, 2, 2)[:, :, ::2],
    "big-endian": FRAMES.astype(">i4"),
    "int16": FRAMES.astype(np.int16),
    "int64": FRAMES.astype(np.int64),
    "uint16": FRAMES.astype(np.uint16),
    "0 … 1": FRAMES.astype(np.float32) / 255,
    "0 … 1, float64": FRAMES / 255,
    "0 … 1, float16": (FRAMES / 255).astype(np.float16),
    "0 … 255": FRAMES.astype(np.float32),
    "0 … 255, not quite": FRAMES + 0.3 - 0.6 * (FRAMES > 200),
    "0 … 1, rounding errors": (FRAMES / 255).astype(np.float32) * np.float32(1.0002),
    "tensor": TENSOR,
    "tensor [T, 3, H, W]": TENSOR.permute(0, 3, 1, 2).contiguous(),
    "tensor [3, T, H, W]": TENSOR.permute(3, 0, 1, 2),
    "tensor, float": TENSOR.float() / 255,
    "tensor, bfloat16": TENSOR.bfloat16(),
    "tensor, uint16": TENSOR.to(torch.uint16),
    "tensor, int64": TENSOR.long(),
    "tensor with gradient": (TENSOR.float() / 255).requires_grad_(),
    "array of another library": Library(FRAMES),
    "memoryview of frames": memoryview(FRAMES),
    "list of arrays": list(FRAMES),
    "tuple of arrays": tuple(FRAMES),
    "deque of arrays": deque(FRAMES),
    "list [3, H, W]": list(FRAMES.transpose(0, 3, 1, 2)),
    "list of tensors": list(TENSOR.permute(0, 3, 1, 2).float() / 255),
    "list of gradients": list(TENSOR.float().requires_grad_()),
    "list of RGBA": list(ALPHA),
    "list of libraries' arrays": [Library(frame) for frame in FRAMES],
    "list of PIL-like pictures": [PictureLike(frame) for frame in FRAMES],
    "list of decoded frames": [av.VideoFrame.from_ndarray(frame, format="rgb24") for frame in FRAMES],
    "object array of pictures": np.array(
        [av.VideoFrame.from_ndarray(frame, format="rgb24") for frame in FRAMES], dtype=object
    ),
}
SAME_GREY = {
    "[T, H, W]": GREY,
    "[T, H, W, 1]": GREY[..., None],
    "[T, 1, H, W]": GREY[:, None],
    "[1, T, H, W]": GREY[None],
    "[1, 1, T, H, W]": GREY[None, None],
    "tensor, float": torch.from_numpy(GREY).float() / 255,
    "list [H, W]": list(GREY),
    "list [1, H, W]": list(GREY[:, None]),
    "three of a list, [H, W, 1]": list(GREY[..., None]),
}


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    network = build(TINY.model, classes=7).eval()
    torch.nn.init.normal_(network.head.weight)
    return Checkpoint(network, TINY, tuple("abcdefg"))


def all_frames(source):
    with open_source(source) as video:
        return video.read(range(video.frames)).numpy()


@pytest.fixture(scope="module")
def expected(model):
    return predict(FRAMES, model).top5


@pytest.mark.parametrize("name", SAME)
def test_every_kind_of_frames_gives_same_frames_and_prediction(name, model, expected):
    assert (all_frames(SAME[name]) == FRAMES).all()
    assert predict(SAME[name], model).top5 == expected


@pytest.mark.parametrize("name", SAME_GREY)
def test_grey_frames_become_grey_rgb(name, model):
    grey = np.repeat(GREY[..., None], 3, -1)
    assert (all_frames(SAME_GREY[name]) == grey).all()
    assert predict(SAME_GREY[name], model).top5 == predict(grey, model).top5


def test_generators_are_taken_even_if_they_reuse_memory(model, expected):
    for pictures in (
        iter(FRAMES),
        (torch.from_numpy(frame) for frame in FRAMES),
        (PictureLike(frame) for frame in FRAMES),
        reused_memory(),
    ):
        assert predict(pictures, model).top5 == expected
    assert (all_frames(reused_memory()) == FRAMES).all()
    frame = torch.zeros(32, 48, 3, dtype=torch.uint8)
    assert all_frames(frame.fill_(i) for i in range(5))[:, 0, 0, 0].tolist() == [0, 1, 2, 3, 4]


def test_bool_is_black_and_white():
    bits = FRAMES > 100
    for source in (bits, torch.from_numpy(bits), list(bits)):
        assert (all_frames(source) == 255 * bits).all()


def test_dark_frame_of_bright_float_video_is_not_scaled_on_its_own():
    video = FRAMES.astype(np.float32)
    video[3] = 1
    assert (all_frames(list(video))[3] == 1).all()
    assert (all_frames(video)[3] == 1).all()


@pytest.mark.parametrize("shape", [(4, 3, 8, 8), (3, 4, 8, 8), (1, 3, 8, 8), (4, 1, 8, 8), (3, 8, 8, 1)])
def test_layout_of_few_frames_follows_documented_rule(shape):
    frames = {(4, 3): 4, (3, 4): 4, (1, 3): 1, (4, 1): 4, (3, 8): 3}[shape[:2]]
    assert all_frames(np.zeros(shape, np.uint8)).shape == (frames, 8, 8, 3)


def test_channels_last_has_precedence():
    assert all_frames(np.zeros((3, 3, 3, 3), np.uint8)).shape == (3, 3, 3, 3)
    assert all_frames(np.zeros((3, 20, 30, 4), np.uint8)).shape == (3, 20, 30, 3)


def test_content_of_file_gives_prediction_of_file(model, tmp_path):
    path = make(tmp_path / "a.mp4")
    expected = predict(path, model)
    data = path.read_bytes()
    at_end = io.BytesIO()
    at_end.write(data)
    for source in (data, bytearray(data), memoryview(data), io.BytesIO(data), at_end):
        answer = predict(source, model)
        assert (answer.top5, answer.video) == (expected.top5, "video in memory")
    assert at_end.tell() == len(data)
    with path.open("rb") as file:
        assert predict(file, model) == expected
        assert file.tell() == 0
    assert len(data) < 60000  # fits into the memory of a pipe
    reader, writer = os.pipe()
    with os.fdopen(writer, "wb") as pipe:
        pipe.write(data)
    with os.fdopen(reader, "rb") as pipe:
        assert predict(pipe, model).top5 == expected.top5
    with os.scandir(tmp_path) as entries:
        assert predict(next(entries), model) == expected


def test_opened_video_is_taken_and_stays_open(model, tmp_path):
    path = make(tmp_path / "a.mp4")
    with open_video(path) as video:
        assert predict(video, model) == predict(path, model)
        assert video.read(0).shape == (32, 48, 3)


def test_frames_that_pyav_decodes_are_taken(model, tmp_path):
    path = make(tmp_path / "a.mp4")
    with av.open(path) as container:
        answer = predict(container.decode(video=0), model)
    assert (answer.top5, answer.video) == (predict(path, model).top5, "pictures")


def test_memory_map_and_npy_file_of_any_layout_are_taken(model, expected, tmp_path):
    path = tmp_path / "a.npy"
    for array in (FRAMES, FRAMES.transpose(3, 0, 1, 2), FRAMES.astype(np.float32) / 255):
        np.save(path, array)
        assert predict(path, model).top5 == expected
        assert predict(np.load(path, mmap_mode="r"), model).top5 == expected


def write_picture(path, array):
    codec = av.CodecContext.create("png", "w")
    codec.width, codec.height, codec.pix_fmt = array.shape[1], array.shape[0], "rgb24"
    packets = [*codec.encode(av.VideoFrame.from_ndarray(array, format="rgb24")), *codec.encode(None)]
    path.write_bytes(b"".join(bytes(packet) for packet in packets))
    return path


def test_picture_files_and_their_bytes_are_taken(model, expected, tmp_path):
    paths = [write_picture(tmp_path / f"{i}.png", frame) for i, frame in enumerate(FRAMES)]
    for pictures in (
        paths,
        [str(path) for path in paths],
        np.array([str(path) for path in paths]),
        (path.read_bytes() for path in paths),
    ):
        assert predict(pictures, model).top5 == expected


def test_pictures_of_other_sizes_are_scaled_to_the_first(model):
    pictures = [np.full((32, 48, 3), 90, np.uint8), *(np.full((64, 64, 3), 90, np.uint8) for _ in range(5))]
    answer = predict(pictures, model)
    assert answer.note.startswith("the picture size changes from 48 × 32 to 64 × 64")
    assert answer.top5 == predict(np.full((6, 32, 48, 3), 90, np.uint8), model).top5
    with open_source(pictures) as video:
        assert video.read([4, 5]).shape == (2, 32, 48, 3)


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGBA", "CMYK", "YCbCr", "HSV", "I", "F", "I;16"])
def test_pil_pictures_of_any_mode_are_taken(mode, model, tmp_path):
    image = pytest.importorskip("PIL.Image")
    pictures = [image.fromarray(frame) for frame in (FRAMES if mode[0] not in "IF" else GREY)]
    pictures = [picture.convert(mode) for picture in pictures]
    if mode[0] in "IF":  # grey
        rgb = np.repeat(GREY[..., None], 3, -1)
    else:
        rgb = np.stack([np.asarray(picture.convert("RGB")) for picture in pictures])
    before = [picture.tobytes() for picture in pictures]
    assert (all_frames(pictures) == rgb).all()
    assert (all_frames(iter(pictures)) == rgb).all()
    assert predict(pictures, model).top5 == predict(rgb, model).top5
    assert [(picture.mode, picture.tobytes()) for picture in pictures] == [(mode, data) for data in before]


def test_frames_of_gif_are_taken_from_pil(tmp_path):
    image = pytest.importorskip("PIL.Image")
    sequence = pytest.importorskip("PIL.ImageSequence")
    pictures = [image.new("L", (48, 32), 40 * i) for i in range(5)]
    pictures[0].save(tmp_path / "a.gif", save_all=True, append_images=pictures[1:])
    with image.open(tmp_path / "a.gif") as gif:  # the iterator yields one object, which it changes
        assert all_frames(sequence.Iterator(gif))[:, 0, 0, 0].tolist() == [0, 40, 80, 120, 160]
        with pytest.raises(VideoError, match="one picture"):
            open_source(gif)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_gpu_tensors_are_taken(model, expected):
    video = TENSOR.cuda()
    for source in (video, video.permute(3, 0, 1, 2), video.half() / 255, list(video), iter(video.float())):
        assert predict(source, model).top5 == expected


def test_sources_are_not_changed(model):
    frames, floats = FRAMES.copy(), FRAMES.astype(np.float32) / 255
    tensor = torch.from_numpy(floats.copy()).requires_grad_()
    pictures = list(frames)
    for source in (frames, floats, tensor, pictures):
        predict(source, model)
    assert (frames == FRAMES).all()
    assert (floats == FRAMES.astype(np.float32) / 255).all()
    assert tensor.requires_grad
    assert (tensor.detach().numpy() == floats).all()
    assert len(pictures) == 12
    assert pictures[0].base is frames


def zeros(*shape, kind=np.uint8):
    return np.zeros(shape, kind)


REFUSED = {
    "None": (None, "NoneType: not a video: give a path"),
    "number": (3, "int: not a video"),
    "dictionary": ({"video": FRAMES}, "dict: not a video"),
    "set": ({"a.png"}, "set: not a video"),
    "object": (object(), "object: not a video"),
    "missing path": ("missing.mp4", "missing.mp4: no such file or folder"),
    "empty path": ("", "the path is empty"),
    "long path": ("a" * 5000, "name too long"),
    "path with zero": ("a\0b.mp4", "no such file or folder"),
    "empty bytes": (b"", "video in memory: "),
    "other bytes": (b"abc", "video in memory: "),
    "empty file": (io.BytesIO(), "video in memory: "),
    "text file": (io.StringIO("abc"), "open as text"),
    "empty list": ([], "no pictures: the list is empty"),
    "empty tuple": ((), "no pictures: the list is empty"),
    "empty generator": (iter(()), "no pictures"),
    "no frames": (zeros(0, 32, 48, 3), "the array is empty"),
    "no height": (zeros(9, 0, 48, 3), "the array is empty"),
    "one picture": (zeros(32, 48, 3), "one picture, not a video"),
    "one grey picture": (zeros(32, 48), "one picture, not a video"),
    "one frame": (zeros(1, 32, 48), "one picture, not a video"),
    "[3, H, W]": (zeros(3, 32, 48), r"one picture or 3 grey frames: give \[picture\]"),
    "PIL picture": (PictureLike(FRAMES[0]), "PictureLike: one picture, not a video"),
    "one decoded frame": (av.VideoFrame(48, 32, "rgb24"), "VideoFrame: one picture, not a video"),
    "[3, 3, H, W]": (zeros(3, 3, 32, 48), r"frames first or channels first: .* transpose\(0, 2, 3, 1\)"),
    "tensor [3, 1, H, W]": (torch.zeros(3, 1, 32, 48), r"permute\(1, 2, 3, 0\)"),
    "[1, 3, 3, H, W]": (zeros(1, 3, 3, 32, 48), "frames first or channels first"),
    "[1, 4, H, W]": (zeros(1, 4, 32, 48), "frames first or channels first"),
    "[T, H, W, 2]": (zeros(9, 32, 48, 2), "cannot tell which axis holds the channels"),
    "batch": (zeros(2, 9, 32, 48, 3), r"batch of 2 videos: give one video, such as batch\[0\]"),
    "six axes": (zeros(1, 1, 9, 32, 48, 3), "expected frames"),
    "scalar": (np.float32(3), "expected frames"),
    "file's bytes as array": (np.frombuffer(b"abc", np.uint8), "for the content of a file, give bytes"),
    "normalised": ((FRAMES / 255 - 0.45) / 0.225, "look normalised"),
    "normalised to 1": (torch.from_numpy(FRAMES / 127.5 - 1), "look normalised"),
    "too large floats": (FRAMES * 2.0, "before normalisation"),
    "range unclear": (FRAMES / 170, "convert the frames to uint8"),
    "NaN": (np.full((9, 32, 48, 3), np.nan), "contain NaN"),
    "NaN in a tensor": (torch.full((9, 32, 48, 3), torch.nan), "contain NaN"),
    "infinite": (np.full((9, 32, 48, 3), np.inf), "inf"),
    "16 bits": (FRAMES.astype(np.uint16) * 257, "expected integers in 0 … 255"),
    "negative integers": (FRAMES.astype(np.int16) - 128, "expected integers in 0 … 255"),
    "complex": (FRAMES.astype(np.complex64), "not complex64"),
    "objects": (FRAMES[:2].astype(object), "not object"),
    "sparse": (torch.zeros(9, 32, 48, 3).to_sparse(), "sparse"),
    "unreadable array": (Library(zeros(0)), "cannot be converted to a NumPy array: on a GPU$"),
    "list of None": ([None] * 9, "pictures: picture 0: expected a picture, not NoneType"),
    "list of numbers": ([1, 2, 3], "pictures: picture 0: expected a picture, not int"),
    "one bad picture": ([*FRAMES[:5], None], "pictures: picture 5: expected a picture, not NoneType"),
    "nested list": (FRAMES[:2, :2, :2].tolist(), "expected a picture, not list"),
    "list of clips": ([FRAMES, FRAMES], r"picture 0: expected a picture \[H, W, 3\]"),
    "list of videos": (["a.mp4", "b.mp4"], "a.mp4 is not a picture .*predict_all"),
    "missing picture": (["a.png"], "picture 0: a.png: no such file"),
    "bytes of no picture": ([b"abc"], "picture 0: picture in memory: not a picture"),
    "normalised pictures": (list(FRAMES / 255 - 0.5), "look normalised"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_other_sources_are_refused_in_one_line(name, model):
    source, message = REFUSED[name]
    with pytest.raises(VideoError, match=message) as raised:
        predict(source, model)
    assert isinstance(raised.value, UserError)
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 260 or name == "long path"


def test_closed_and_write_only_files_are_refused(model, tmp_path):
    closed = io.BytesIO(b"abc")
    closed.close()
    with (tmp_path / "a").open("wb") as write_only:
        for file in (closed, write_only):
            with pytest.raises(VideoError, match="the file cannot be read"):
                predict(file, model)


def test_error_inside_a_generator_keeps_its_traceback(model):
    def broken():
        yield FRAMES[0]
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        predict(broken(), model)


def test_truncated_pil_file_is_refused(model, tmp_path):
    image = pytest.importorskip("PIL.Image")
    path = write_picture(tmp_path / "a.png", FRAMES[0])
    path.write_bytes(path.read_bytes()[:1500])
    with image.open(path) as picture, pytest.raises(VideoError, match="picture 0: the PIL picture cannot be"):
        predict([picture], model)


def test_predict_all_takes_any_source_and_keeps_order(model, expected):
    answers = list(predict_all([FRAMES, None, list(FRAMES), FRAMES[0], iter(FRAMES)], model))
    assert [isinstance(answer, VideoError) for answer in answers] == [False, True, False, True, False]
    assert {answer.top5 for answer in answers if not isinstance(answer, VideoError)} == {expected}
    batch = np.stack([FRAMES, FRAMES])
    assert [answer.top5 for answer in predict_all(batch, model)] == [expected, expected]


@pytest.mark.parametrize("videos", ["a.mp4", b"abc", io.BytesIO(b"abc"), {"a": 1}, None, 3])
def test_predict_all_refuses_what_is_no_list_of_videos(videos, model):
    with pytest.raises(UserError, match="predict_all takes"):
        list(predict_all(videos, model))


def test_wrong_model_or_order_of_arguments_is_refused(model):
    with pytest.raises(UserError, match=r"best\.safetensors: no such file"):
        predict(FRAMES, "best.safetensors")
    with pytest.raises(UserError, match="the video comes first, and the model second"):
        predict(model, "a.mp4")
