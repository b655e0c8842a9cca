"""Packets of a video stream. They are kept in memory, or read from the file again if the file is large.

Keeping all packets of a file needs as much memory as the file has bytes. So packets are kept only up to
`KEPT` bytes. The first pass over a larger file collects the times and sizes of the packets, but keeps no
packet. To read a packet again, the file is positioned at the last key packet before it.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tanet.video.base import VideoError
from tanet.video.packet_index import UNKNOWN, Packets, PacketTable

if TYPE_CHECKING:
    import av
    from av.container import InputContainer

KEPT = 2**27  # bytes of packets that one open video keeps in memory


class PacketStore(Packets):
    """All packets of a stream, in the order in which the file stores them.

    If the file is truncated, the store has only the packets that are left.

    Args:
        container: the file, opened and not yet read. The first pass reads all of it.
        stream: number of the stream in the container.
        open_again: function that opens the file again, in the same way.
        is_b: function that returns whether a packet holds a B picture.
        path: name of the file in errors.
        kept: maximum number of bytes to keep in memory.
    """

    def __init__(
        self,
        container: InputContainer,
        *,
        stream: int,
        open_again: Callable[[], InputContainer],
        is_b: Callable[[av.Packet], bool],
        path: Path,
        kept: int,
    ) -> None:
        self.path, self._stream, self._open_again = path, stream, open_again
        self._kept: list[av.Packet] | None = []
        # Long videos have hundreds of thousands of packets, so keep no object for each of them.
        time, decoded, size, place = (array("q") for _ in range(4))
        key, discard = bytearray(), bytearray()
        for packet in packets_of(container, stream):
            time.append(_known(packet.pts))
            decoded.append(_known(packet.dts))
            size.append(packet.size)
            place.append(_known(packet.pos))
            key.append(packet.is_keyframe)
            discard.append(packet.is_discard)
            self.has_b_pictures = self.has_b_pictures or is_b(packet)
            kept -= packet.size
            if kept < 0:
                self._kept = None
            elif self._kept is not None:
                self._kept.append(packet)
        self.table = PacketTable(
            *(np.frombuffer(time, np.int64), np.frombuffer(decoded, np.int64), np.frombuffer(size, np.int64)),
            key=np.frombuffer(key, bool),
            discard=np.frombuffer(discard, bool),
        )
        self._places = place
        self._seek_times: dict[int, int] = {}
        # A second container would need its own tables, about 100 bytes for each packet.
        self._container = container if self._kept is None else None
        self._coming: Iterator[av.Packet] = iter(())  # the packets after `_last`
        self._last: tuple[int, av.Packet] | None = None

    def __len__(self) -> int:
        return len(self._places)

    def _packet(self, at: int) -> av.Packet:
        if self._kept is not None:
            return self._kept[at]
        if self._last is None or self._last[0] != at:
            follows = self._last is not None and self._last[0] == at - 1
            packet = next(self._coming, None) if follows else self._find(at)
            if packet is None or not self._is(packet, at):
                raise VideoError(self.path, "the file has changed since it was opened")
            self._last = at, packet
        return self._last[1]

    @property
    def reads_again(self) -> bool:
        """Whether packets are read from the file again, with the container of the first pass."""
        return self._kept is None

    def drop_decoding_times(self) -> None:
        """Free the decoding times, except those of key packets: nothing else is positioned by them."""
        keys = np.flatnonzero(self.table.key)
        self._seek_times = dict(zip(keys.tolist(), self.table.decoded[keys].tolist(), strict=True))
        self.table = replace(self.table, decoded=np.empty(0, np.int64))

    def close(self) -> None:
        """Free the packets and the file."""
        self._kept, self._last = [], None
        self._close_container()

    def _find(self, at: int) -> av.Packet | None:
        """Read packet `at` by seeking to the key packet before it, or by reading from the beginning."""
        keys = np.flatnonzero(self.table.key[: at + 1])
        for start, anew in ((int(keys[-1]) if len(keys) else 0, False), (0, True)):
            self._coming = self._packets_from(start, anew=anew)
            number = None
            for packet in self._coming:
                if number is not None:
                    number += 1
                elif self._is(packet, start):
                    number = start
                elif _known(packet.pos) > self._places[start]:
                    break  # the seek went past the key packet
                if number == at:
                    return packet
        return None

    def _packets_from(self, start: int, *, anew: bool) -> Iterator[av.Packet]:
        """Position the file at the key packet `start`, or before it, and yield the packets from there.

        Args:
            start: number of a key packet.
            anew: whether the file is opened again and read from its beginning. Some files cannot be
                positioned.
        """
        from av.error import FFmpegError

        if anew or self._container is None:
            self._close_container()
            self._container = self._open_again()
        else:
            time = int(self.table.time[start])
            decoded = self._seek_times.get(start, UNKNOWN)
            stream = self._container.streams[self._stream]
            with suppress(
                FFmpegError
            ):  # then the packet is not found, and the file is read from its beginning
                self._container.seek(time if decoded == UNKNOWN else decoded, stream=stream)
        return packets_of(self._container, self._stream)

    def _is(self, packet: av.Packet, at: int) -> bool:
        found = _known(packet.pts), packet.size, _known(packet.pos)
        return found == (self.table.time[at], self.table.size[at], self._places[at])

    def _close_container(self) -> None:
        """Close the file now. Otherwise, it uses memory until Python's garbage collector runs."""
        self._coming = iter(())
        if self._container is not None:
            self._container.close()
            self._container = None


def _known(value: int | None) -> int:
    return UNKNOWN if value is None else value


def packets_of(container: InputContainer, stream: int) -> Iterator[av.Packet]:
    """Yield the remaining packets of a stream, up to the end of the file or up to the first damage."""
    from av.error import FFmpegError

    while True:
        try:
            yield from (packet for packet in container.demux(container.streams[stream]) if packet.size)
            return
        except IndexError:
            # PyAV raises this error at a packet of a stream that appears only after the header.
            continue
        except (FFmpegError, OSError, UnicodeDecodeError):
            return
