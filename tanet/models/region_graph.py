"""Graphs of the regions of a clip (Wang and Gupta, "Videos as Space-Time Region Graphs", ECCV 2018).

    X      features of the regions (nodes), [N, D]
    G_s    softmax over j of (W x_i) · (W' x_j)                                          similarity
    G_f    overlap (IoU) of region i of frame t and region j of frame t + 1, rows normalised       in time
    G_b    the transposed overlaps, rows normalised
    X_s ← X_s + ReLU(LN(G_s X_s W_s)),     X_t ← X_t + ReLU(LN(G_f X_t W_f + G_b X_t W_b)),     in each layer
    Y      mean over the regions of X_s + X_t

G_s is computed once, from X. No code was published; the paper does not say in which order LayerNorm, ReLU and
addition come, and what is above is this library's choice. A box is x1, y1, x2, y2, as fractions of a frame's
width and height. A box of zero area, or of NaN, is padding, not a node.
"""

import torch
from torch import nn
from torch.nn import functional as F

SIDE = 7
"""A region's features are sampled in SIDE × SIDE cells, of which the largest value counts."""
SAMPLES = 2
"""Samples per cell along each axis; they are averaged."""


class RegionGraph(nn.Module):
    """Features of the regions of each clip, related by graphs: maps [B, D, T, H, W] → [B, D].

    Args:
        features: D.
        layers: number of layers of each of the two graphs.
    """

    def __init__(self, features: int, *, layers: int) -> None:
        super().__init__()
        self.from_node = nn.Linear(features, features, bias=False)
        self.to_node = nn.Linear(features, features, bias=False)
        self.similar, self.forward_in_time, self.backward_in_time = (
            nn.ModuleList(nn.Linear(features, features, bias=False) for _ in range(layers)) for _ in range(3)
        )
        self.norms_similar, self.norms_time = (
            nn.ModuleList(nn.LayerNorm(features) for _ in range(layers)) for _ in range(2)
        )
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=0.01)

    def forward(self, maps: torch.Tensor, boxes: torch.Tensor) -> torch.Tensor:
        """Relate the regions of each clip.

        Args:
            maps: feature maps [B, D, T, H, W].
            boxes: regions [B, T, R, 4].
        """
        present = ((boxes[..., 2] > boxes[..., 0]) & (boxes[..., 3] > boxes[..., 1])).flatten(1)  # [B, N]
        nodes = region_features(maps, boxes).flatten(1, 2)  # [B, N, D], N = T·R
        nodes = nodes * present[..., None]
        scores = self.from_node(nodes) @ self.to_node(nodes).mT  # [B, N, N]
        scores = scores.masked_fill(~present[:, None], torch.finfo(scores.dtype).min)
        similarity = scores.softmax(2)
        ahead, behind = graphs_in_time(boxes)
        ahead, behind = ahead.to(nodes.dtype), behind.to(nodes.dtype)
        alike = in_time = nodes
        for layer, norm in zip(self.similar, self.norms_similar, strict=True):
            alike = alike + F.relu(norm(layer(similarity @ alike)))
        for forth, back, norm in zip(
            self.forward_in_time, self.backward_in_time, self.norms_time, strict=True
        ):
            in_time = in_time + F.relu(norm(forth(ahead @ in_time) + back(behind @ in_time)))
        total = ((alike + in_time) * present[..., None]).sum(1)
        return total / present.sum(1, keepdim=True).clamp(min=1)

    def attention_products(self, shape: torch.Size, boxes: torch.Size) -> int:
        """Return the multiply-adds of the products of all pairs of regions.

        Args:
            shape: that of the maps, [B, D, T, H, W].
            boxes: that of the boxes, [B, T, R, 4].
        """
        nodes = boxes[1] * boxes[2]
        return boxes[0] * (1 + 3 * len(self.similar)) * nodes * nodes * shape[1]


def region_features(maps: torch.Tensor, boxes: torch.Tensor) -> torch.Tensor:
    """Sample the features of regions (RoIAlign, then the maximum): [B, D, T, H, W] → [B, T, R, D].

    Args:
        maps: feature maps.
        boxes: regions [B, T, R, 4].
    """
    clips, _, frames = maps.shape[:3]
    images = maps.transpose(1, 2).flatten(0, 1)  # [B·T, D, H, W]
    places = (torch.arange(SIDE * SAMPLES, device=maps.device) + 0.5) / (SIDE * SAMPLES)  # [S]
    # grid_sample's gradient crashes the process for positions that are not numbers.
    flat = boxes.flatten(0, 1).to(maps.dtype).nan_to_num(0.0)  # [B·T, R, 4]
    low, high = flat[..., :2, None], flat[..., 2:, None]
    x, y = (low + (high - low) * places.to(maps.dtype)).unbind(2)  # [B·T, R, S]
    grid = torch.stack(
        (x[:, :, None].expand(-1, -1, y.shape[2], -1), y[..., None].expand(-1, -1, -1, x.shape[2])), -1
    )  # [B·T, R, S, S, 2]
    found = F.grid_sample(
        images, 2 * grid.flatten(1, 2) - 1, mode="bilinear", padding_mode="border", align_corners=False
    )  # [B·T, D, R·S, S]
    cells = F.avg_pool2d(found, SAMPLES).unflatten(2, (-1, SIDE))  # [B·T, D, R, 7, 7]
    return cells.amax((3, 4)).mT.unflatten(0, (clips, frames))


def graphs_in_time(boxes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the graphs G_f and G_b of overlaps in neighbouring frames: [B, T, R, 4] → two [B, N, N].

    The rows of a region without overlap are zero.
    """
    clips, frames, regions = boxes.shape[:3]
    graph = boxes.new_zeros(clips, frames, regions, frames, regions)
    for frame in range(frames - 1):
        graph[:, frame, :, frame + 1] = overlaps(boxes[:, frame], boxes[:, frame + 1])
    graph = graph.flatten(3).flatten(1, 2)  # [B, N, N]
    return _rows_to_one(graph), _rows_to_one(graph.mT)


def overlaps(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Return the intersection over union of all pairs of boxes: [B, R, 4] and [B, S, 4] → [B, R, S]."""
    low = torch.maximum(first[:, :, None, :2], second[:, None, :, :2])
    high = torch.minimum(first[:, :, None, 2:], second[:, None, :, 2:])
    shared = (high - low).clamp(min=0).prod(3)
    areas = [(boxes[..., 2:] - boxes[..., :2]).clamp(min=0).prod(2) for boxes in (first, second)]
    union = areas[0][:, :, None] + areas[1][:, None] - shared
    return torch.where(shared > 0, shared / union, 0.0)


def _rows_to_one(graph: torch.Tensor) -> torch.Tensor:
    return graph / graph.sum(2, keepdim=True).clamp(min=torch.finfo(graph.dtype).tiny)


def grid_boxes(frames: int) -> torch.Tensor:
    """Return boxes for networks without a detector: a frame, its 2 × 2 and its 4 × 4 cells, [T, 21, 4]."""
    boxes = [
        (x / cells, y / cells, (x + 1) / cells, (y + 1) / cells)
        for cells in (1, 2, 4)
        for y in range(cells)
        for x in range(cells)
    ]
    return torch.tensor(boxes).repeat(frames, 1, 1)
