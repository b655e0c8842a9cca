"""Make training views on the device, a batch at a time: resize, crop, resize again, mirror.

    view = [Y₂ · [[Y₁ · [frames · X₁]] · X₂]]

X and Y are matrices of resize weights along the width and the height. X₁ and Y₁ resize the short side of the
frames; X₂ and Y₂ resize the crop box to the view. Square brackets mean rounding to integer pixel values.

The workers decode the pixels that each view needs, and compute the weights of each matrix. Antialiased
bilinear resizing uses the same weights for all rows of an image, and the same weights for all columns. So the
two resizes of a batch are four batched matrix products. To crop, X₁ and Y₁ compute only the outputs inside
the crop box. To mirror, X₂ computes its outputs in reverse order.

As in PyTorch's and PIL's resizing of uint8, the weights are integer multiples of a power of two, and values
are rounded after each axis. If both resizes shrink by less than a factor of two, the sums in float32 are
exact, and the views equal those of `transforms.train_view` bit for bit. Otherwise, about one value in 100,000
differs by one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import accumulate

import numpy as np
import torch
from torch.nn import functional as F

from tanet.data.transforms import CropSpec

# Number of pixel values to resize at once. In float32, the frames take 256 MiB, and so do the results.
CHUNK_VALUES = 2**26


@dataclass(frozen=True)
class ResizeWeights:
    """Weights that resize one axis of B views to n outputs. Each output is a weighted sum of K inputs.

    output[b, i] = Σ_k weights[b, i, k] · input[b, first[b, i] + k]
    """

    first: torch.Tensor
    """int64 [B, n]: the index of the first input of each output."""
    weights: torch.Tensor
    """float32 [B, n, K]: the weights of the K inputs of each output."""

    def matrix(self, length: int) -> torch.Tensor:
        """Return the weights as dense matrices [B, n, length], for inputs with `length` pixels."""
        taps = self.weights.shape[2]
        columns = self.first[..., None] + torch.arange(taps, device=self.first.device)
        # Taps beyond the end of the input have zero weights, so the columns past `length` can be dropped.
        empty = self.weights.new_zeros(*self.first.shape, length + taps)
        return empty.scatter_(2, columns, self.weights)[..., :length]


@dataclass(frozen=True)
class DeferredViews:
    """The pixels and resize weights of B training views. `make_views` computes the views on the device."""

    pixels: torch.Tensor
    """uint8, one-dimensional: the pixels [T, H, W, C] of all views in order. H and W differ between views."""
    shapes: tuple[tuple[int, int, int], ...]
    """T, H and W of the pixels of each view."""
    taps: tuple[ResizeWeights, ResizeWeights, ResizeWeights, ResizeWeights]
    """Resize weights: width and height for the short side, then width and height from crop box to view."""
    resized: bool
    """Whether the short side of any view is resized. If False, the first two of the `taps` are not used."""
    mirrored: tuple[bool, ...]
    """Whether each view is mirrored. The weights mirror it; in optical flow, x also changes its sign."""
    channels: int = 3

    def __len__(self) -> int:
        return len(self.shapes)

    def __getitem__(self, part: slice) -> DeferredViews:
        ends = list(accumulate(self._sizes(), initial=0))
        start, stop, _ = part.indices(len(self))
        x1, y1, x2, y2 = (ResizeWeights(taps.first[part], taps.weights[part]) for taps in self.taps)
        return replace(
            self,
            pixels=self.pixels[ends[start] : ends[stop]],
            shapes=self.shapes[part],
            taps=(x1, y1, x2, y2),
            mirrored=self.mirrored[part],
        )

    def _sizes(self) -> list[int]:
        """Return the number of pixel values of each view."""
        return [self.channels * t * h * w for t, h, w in self.shapes]

    def clips(self) -> Iterator[torch.Tensor]:
        """Yield the decoded pixels of each view, uint8 [T, H, W, C]."""
        for shape, part in zip(self.shapes, self.pixels.split(self._sizes()), strict=True):
            yield part.view(*shape, self.channels)

    def pin_memory(self) -> DeferredViews:
        """Return a copy in page-locked memory, which a GPU can read directly. The DataLoader calls this."""
        return self._each(torch.Tensor.pin_memory)

    def to(self, device: torch.device) -> DeferredViews:
        """Copy the batch to the device. The copy is asynchronous if the batch is in page-locked memory."""
        return self._each(lambda tensor: tensor.to(device, non_blocking=True))

    def _each(self, change: Callable[[torch.Tensor], torch.Tensor]) -> DeferredViews:
        x1, y1, x2, y2 = (ResizeWeights(change(taps.first), change(taps.weights)) for taps in self.taps)
        return replace(self, pixels=change(self.pixels), taps=(x1, y1, x2, y2))


Views = torch.Tensor | DeferredViews


def defer_view(frames: torch.Tensor, cut: CropSpec, *, size: int) -> DeferredViews:
    """Prepare one view for `make_views`: select the pixels that the view needs, and compute resize weights.

    Args:
        frames: the decoded frames of a clip, uint8 [T, H, W, C].
        cut: size of the resized frames, crop box, and whether to mirror.
        size: S, side of the view in pixels.
    """
    clips, height, width, channels = frames.shape
    box = cut.box
    columns, x1 = _crop_weights(width, cut.width, start=box.left, length=box.width)
    rows, y1 = _crop_weights(height, cut.height, start=box.top, length=box.height)
    x2, y2 = _resize_weights(box.width, size), _resize_weights(box.height, size)
    if cut.mirrored:
        x2 = ResizeWeights(x2.first.flip(1), x2.weights.flip(1))
    part = frames[:, rows, columns]
    return DeferredViews(
        part.flatten(),
        ((clips, part.shape[1], part.shape[2]),),
        (x1, y1, x2, y2),
        resized=(height, width) != (cut.height, cut.width),
        mirrored=(cut.mirrored,),
        channels=channels,
    )


def concatenate_views(batches: Sequence[DeferredViews]) -> DeferredViews:
    """Concatenate batches in order. All views must have the same T and S."""
    x1, y1, x2, y2 = (_stack_weights([batch.taps[axis] for batch in batches]) for axis in range(4))
    return DeferredViews(
        torch.cat([batch.pixels for batch in batches]),
        tuple(shape for batch in batches for shape in batch.shapes),
        (x1, y1, x2, y2),
        resized=any(batch.resized for batch in batches),
        mirrored=tuple(mirrored for batch in batches for mirrored in batch.mirrored),
        channels=batches[0].channels,
    )


@torch.no_grad()
def make_views(raw: DeferredViews) -> torch.Tensor:
    """Compute the views on the device that holds the pixels.

    The views are float32 [B, T, C, S, S], with integer values from 0 to 255. The computation runs in float32.
    If the user has allowed TF32 for matrix products (off by default in PyTorch), weights are rounded to 11
    bits, and some pixels differ by one.
    """
    frames, heights, widths = zip(*raw.shapes, strict=True)
    step = max(1, CHUNK_VALUES // (raw.channels * frames[0] * max(heights) * max(widths)))
    with torch.autocast(raw.pixels.device.type, enabled=False):
        views = [_make(raw[start : start + step]) for start in range(0, len(raw), step)]
    return torch.cat(views) if len(views) > 1 else views[0]


def _make(raw: DeferredViews) -> torch.Tensor:
    frames, channels = raw.shapes[0][0], raw.channels
    height, width = (max(shape[axis] for shape in raw.shapes) for axis in (1, 2))
    # With the height directly after the batch, no copy is needed between the two matrix products of a resize.
    maps = torch.zeros(len(raw), height, frames, channels, width, device=raw.pixels.device)
    for place, clip in zip(maps, raw.clips(), strict=True):
        place[: clip.shape[1], ..., : clip.shape[2]] = clip.permute(1, 0, 3, 2)
    maps = maps.flatten(2, 3)  # [B, H, T·C, W]
    if raw.resized:
        maps = _resize(maps, *raw.taps[:2])
    maps = _resize(maps, *raw.taps[2:])  # [B, S, T·C, S]
    views = maps.unflatten(2, (frames, channels)).permute(0, 2, 3, 1, 4).contiguous()
    if channels % 2 == 0:
        mirrored = torch.tensor(raw.mirrored, device=views.device)[:, None, None, None, None]
        x = views[:, :, ::2]
        x.copy_(torch.where(mirrored, 255 - x, x))
    return views


def _resize(maps: torch.Tensor, x: ResizeWeights, y: ResizeWeights) -> torch.Tensor:
    """Resize height and width: [B, H, F, W] → [B, H', F, W']. Round to integers after each axis.

    All values stay within 0 to 255, because the weights of each output are not negative and sum to one.
    """
    batch, height, depth, width = maps.shape
    wide = maps.flatten(1, 2) @ x.matrix(width).mT  # [B, H·F, W']
    wide = wide.add_(0.5).floor_().view(batch, height, -1)  # [B, H, F·W']
    return (y.matrix(height) @ wide).add_(0.5).floor_().unflatten(2, (depth, -1))


def _crop_weights(before: int, after: int, *, start: int, length: int) -> tuple[slice, ResizeWeights]:
    """Return a slice and resize weights for a part of one axis: the outputs [start, start + length).

    The slice selects the input pixels that these outputs need.
    """
    taps = _resize_weights(before, after)
    first, weights = taps.first[:, start : start + length], taps.weights[:, start : start + length]
    low, high = int(first[0, 0]), min(before, int(first[0, -1]) + weights.shape[2])
    return slice(low, high), ResizeWeights(first - low, weights)


@lru_cache(1024)
def _resize_weights(before: int, after: int) -> ResizeWeights:
    """Compute the antialiased bilinear weights that resize an axis from `before` to `after` pixels.

    The result describes one view (B = 1): `first` is [1, after], and `weights` is [1, after, K].
    """
    if before == after:
        return ResizeWeights(torch.arange(after)[None], torch.ones(1, after, 1))
    scale = before / after
    wide = max(1.0, scale)  # half the width of the triangle filter
    centres = scale * (np.arange(after) + 0.5)
    first = (centres - wide + 0.5).clip(0).astype(np.int64)
    ends = (centres + wide + 0.5).clip(None, before).astype(np.int64)
    inputs = first[:, None] + np.arange((ends - first).max())
    # Use the same order of operations as PyTorch, so that each operation rounds to the same value.
    weights = (1 - np.abs((inputs - centres[:, None] + 0.5) * (1 / wide))).clip(0)
    weights[inputs >= ends[:, None]] = 0
    weights /= weights.cumsum(1)[:, -1:]
    # Find the largest number of fractional bits, up to 22, with which the largest weight fits into 15 bits.
    bits = next((bits for bits in range(22) if int(weights.max() * 2 ** (bits + 1) + 0.5) >= 2**15), 22)
    weights = np.floor(weights * 2**bits + 0.5) / 2**bits
    return ResizeWeights(torch.from_numpy(first)[None], torch.from_numpy(weights).float()[None])


def _stack_weights(parts: Sequence[ResizeWeights]) -> ResizeWeights:
    """Concatenate the weights of several batches. Pad with zeros to equal numbers of outputs and taps."""
    outputs, taps = (max(part.weights.shape[axis] for part in parts) for axis in (1, 2))
    first, weights = [], []
    for part in parts:
        missing = outputs - part.weights.shape[1]
        first.append(F.pad(part.first, (0, missing)))
        weights.append(F.pad(part.weights, (0, taps - part.weights.shape[2], 0, missing)))
    return ResizeWeights(torch.cat(first), torch.cat(weights))
