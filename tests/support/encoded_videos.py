"""Encode small video files of every kind that needs its own handling, and decode them sequentially."""

from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

RATE = 25
X264 = {"preset": "veryfast", "threads": "1"}
X265 = {"preset": "ultrafast", "x265-params": "log-level=none:pools=none:keyint=12:bframes=3:b-pyramid=1"}
CLIPS = {  # file name → codec, frames per group, encoder options
    "groups_of_12.mp4": ("libx264", 12, {**X264, "bf": "3"}),
    "one_group.mp4": ("libx264", 250, {**X264, "bf": "3"}),
    "no_b_frames.mp4": ("libx264", 12, {**X264, "bf": "0"}),
    "open_groups.mp4": ("libx264", 12, {**X264, "bf": "3", "x264-params": "open-gop=1"}),
    "open_groups.mkv": ("libx264", 12, {**X264, "bf": "3", "x264-params": "open-gop=1"}),
    "intra_refresh.mp4": ("libx264", 12, {**X264, "x264-params": "intra-refresh=1"}),
    "interlaced.mp4": ("libx264", 12, {**X264, "flags": "+ildct", "x264-params": "tff=1"}),
    "h264.ts": ("libx264", 12, {**X264, "bf": "3"}),
    "h264.flv": ("libx264", 12, {**X264, "bf": "3"}),
    "h264.avi": ("libx264", 12, {**X264, "bf": "3"}),
    "ucf.avi": ("mpeg4", 12, {"bf": "0"}),
    "b_frames.avi": ("mpeg4", 12, {"bf": "2"}),
    "b_frames.mp4": ("mpeg4", 12, {"bf": "2"}),
    "hevc.mp4": ("libx265", 12, X265),
    "vp9.webm": ("libvpx-vp9", 12, {"cpu-used": "8", "deadline": "realtime", "row-mt": "0"}),
    "vp8_hidden.webm": ("libvpx", 30, {"cpu-used": "8", "auto-alt-ref": "1", "lag-in-frames": "16"}),
    "pictures.avi": ("mjpeg", 1, {}),
}


def draw_frame(number: int) -> np.ndarray:
    """Draw frame `number`: a moving texture whose brightness depends on the number."""
    y, x = np.mgrid[:72, :104]
    wave = 40 * np.sin((x + 3 * number) / 7) + 40 * np.cos((y - 2 * number) / 5)
    noise = np.random.default_rng(number % 7).integers(-12, 13, (72, 104))
    gray = 128 + wave + noise + 8 * (number % 5)
    return np.stack([gray, gray[::-1], gray[:, ::-1]], -1).clip(0, 255).astype(np.uint8)


def encode(path, codec, group, options, *, times=range(60)) -> Path:
    """Encode a clip of 104 × 72 pixels with one frame at each of `times`, in units of 1/RATE seconds."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=RATE, options=options)
        stream.width, stream.height, stream.pix_fmt = 104, 72, "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.codec_context.gop_size = group
        stream.codec_context.time_base = Fraction(1, RATE)
        for number, time in enumerate(times):
            frame = av.VideoFrame.from_ndarray(draw_frame(number), format="rgb24")
            frame.pts, frame.time_base = time, Fraction(1, RATE)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def rewrite(source, target, change, *, options=None, title="") -> Path:
    """Copy packets into another file without decoding them; `change` returns the packets to write."""
    with av.open(str(source)) as old, av.open(str(target), "w", options=options or {}) as new:
        new.metadata["title"] = title
        stream = new.add_stream_from_template(old.streams.video[0])
        for packet in change([packet for packet in old.demux(video=0) if packet.size]):
            packet.stream = stream
            new.mux(packet)
    return target


def decode_sequentially(path) -> np.ndarray:
    """Decode all frames in order: the expected result of every other read, [frames, H, W, 3]."""
    frames = []
    with suppress(av.FFmpegError), av.open(str(path)) as container:
        for frame in container.decode(video=0):
            frames.append(np.rot90(frame.to_ndarray(format="rgb24"), round(frame.rotation / 90)))
    return np.stack(frames)


def begin_with_frame_17(packets):
    """Change packets for `rewrite` so that an edit list skips the first 17 frames."""
    begin = sorted(packet.pts for packet in packets)[17]
    for packet in packets:
        packet.pts, packet.dts = packet.pts - begin, packet.dts - begin
    return packets


EDIT_LIST_OPTIONS = {"avoid_negative_ts": "disabled", "use_editlist": "1"}


def mark_as_not_coded(data: bytes) -> bytes:
    """Turn an MPEG-4 frame into one that repeats the frame before it: a header without frame data."""
    at = data.index(b"\x00\x00\x01\xb6") + 4
    bits = f"{int.from_bytes(data[at : at + 4]):032b}"
    # The header holds the type, the seconds (ones up to a zero), a marker, the time in 1/25 s, a marker,
    # and then the bit that says whether the frame is coded.
    coded = bits.index("0", 2) + 1 + 1 + 5 + 1
    assert bits[coded] == "1"
    bits = f"{bits[:coded]}00".ljust(-(-(coded + 2) // 8) * 8, "1")
    return data[:at] + int(bits, 2).to_bytes(len(bits) // 8)


def marking_not_coded(*numbers):
    """Return a change for `rewrite` that marks these frames as not coded."""

    def change(packets):
        for number, packet in enumerate(packets):
            new = av.Packet(mark_as_not_coded(bytes(packet)) if number in numbers else bytes(packet))
            new.pts, new.dts, new.time_base = packet.pts, packet.dts, packet.time_base
            new.is_keyframe = packet.is_keyframe
            yield new

    return change


def encode_all_kinds(folder: Path) -> dict[str, Path]:
    """Encode one file of each kind that this machine has an encoder for; return name → file."""
    kinds = {}
    for name, (codec, group, options) in CLIPS.items():
        if codec in av.codecs_available:
            kinds[name] = encode(folder / name, codec, group, options)
    late = [int(time) for time in np.cumsum(np.random.default_rng(0).integers(1, 9, 60)) + 500]
    for suffix in ("mp4", "mkv"):
        name = f"variable_rate.{suffix}"
        kinds[name] = encode(folder / name, *CLIPS["groups_of_12.mp4"], times=late)
    kinds["edit_list.mp4"] = rewrite(
        kinds["groups_of_12.mp4"], folder / "edit_list.mp4", begin_with_frame_17, options=EDIT_LIST_OPTIONS
    )
    kinds["not_coded.avi"] = rewrite(kinds["ucf.avi"], folder / "not_coded.avi", marking_not_coded(7, 20, 21))
    for name in ("groups_of_12.mp4", "open_groups.mkv", "ucf.avi", "vp9.webm"):
        if name in kinds:
            first = {"movflags": "faststart"} if name.endswith("mp4") else {}
            whole = rewrite(kinds[name], folder / f"whole_{name}", lambda packets: packets, options=first)
            kinds[f"cut_{name}"] = folder / f"cut_{name}"
            kinds[f"cut_{name}"].write_bytes(whole.read_bytes()[: int(whole.stat().st_size * 0.7)])
    for name in ("groups_of_12.mp4", "open_groups.mkv"):
        start = folder / f"start_cut_{name}"
        kinds[start.name] = rewrite(kinds[name], start, lambda packets: packets[5:])
    return kinds
