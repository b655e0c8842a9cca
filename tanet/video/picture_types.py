"""Types of coded pictures, read from the packets without decoding.

A B picture may be displayed before a picture that is stored earlier. If a file has B pictures, but the
display times of its packets ascend, the times are probably wrong: some program wrote decoding times instead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import av

START_CODE = b"\x00\x00\x01"
MPEG4_PICTURE = b"\x00\x00\x01\xb6"  # start code; the next two bits are the type of the picture
BIDIRECTIONAL = 2
SEARCHED = 512  # the start code of a picture must be in the first 512 bytes of its packet
SLICES = (1, 2, 5)  # types of the H.264 NAL units that begin with a slice header


def b_picture_test(codec: av.VideoCodecContext) -> Callable[[av.Packet], bool]:
    """Return a function that tells whether a packet holds a B picture.

    The types of pictures are read for H.264 and MPEG-4. For other codecs, the function returns False: the
    headers of HEVC say whether pictures are reordered, and the other decoders in `SKIPS_EXACTLY` output
    pictures in the stored order.
    """
    if codec.name == "h264" and not (codec.profile and "Baseline" in codec.profile):
        length = _length_size(codec.extradata)
        return lambda packet: _is_h264_b(memoryview(packet), length)
    if codec.name == "mpeg4":
        return lambda packet: _is_mpeg4_b(bytes(memoryview(packet)[:SEARCHED]))
    return lambda _: False


def _length_size(extradata: bytes | None) -> int:
    """Return the size of a NAL unit's length field in bytes. Return 0 if start codes separate the units."""
    return (extradata[4] & 3) + 1 if extradata and extradata[0] == 1 and len(extradata) > 4 else 0


def _is_h264_b(data: memoryview, length: int) -> bool:
    """Return whether the first slice of a picture is a B slice."""
    for at in _units(data, length):
        if data[at] & 31 in SLICES:
            head = int.from_bytes(data[at + 1 : at + 9].tobytes().ljust(8, b"\0"), "big")
            _, position = _exp_golomb(head, 0)  # skip the address of the first macroblock
            kind, _ = _exp_golomb(head, position)
            return kind % 5 == 1
    return False


def _units(data: memoryview, length: int) -> Iterator[int]:
    """Yield the offset of each NAL unit in a packet."""
    at, size = 0, len(data)
    if length:
        while at + length < size:
            yield at + length
            at += length + int.from_bytes(data[at : at + length], "big")
        return
    content = data.tobytes()
    while (at := content.find(START_CODE, at)) >= 0 and at + 3 < size:
        at += 3
        yield at


def _exp_golomb(bits: int, position: int, *, width: int = 64) -> tuple[int, int]:
    """Read an unsigned Exp-Golomb number. Return the number and the position of the next bit."""
    rest = bits & ((1 << (width - position)) - 1)
    zeros = width - position - rest.bit_length()
    end = position + 2 * zeros + 1
    return ((bits >> max(0, width - end)) & ((1 << (zeros + 1)) - 1)) - 1, min(end, width)


def _is_mpeg4_b(data: bytes) -> bool:
    at = data.find(MPEG4_PICTURE) + len(MPEG4_PICTURE)
    return len(MPEG4_PICTURE) <= at < len(data) and data[at] >> 6 == BIDIRECTIONAL
