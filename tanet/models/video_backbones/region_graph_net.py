"""I3D with a graph of regions: clips [B, T, 3, H, W] and boxes [B, T/2, R, 4] → logits [B, classes].

    I3D → 1×1×1 convolution → maps [B, 512, T/2, H/16, W/16] → mean over all places   ┐
                                                 └ regions of the boxes → two graphs  ┴ classifier

Wang and Gupta, "Videos as Space-Time Region Graphs", ECCV 2018. I3D is ResNet-50 whose res5 keeps the
resolution of res4. The paper's boxes come from a region proposal network that was trained on COCO, 50 boxes
for every second frame; its accuracy needs such boxes. The graphs are those of models/region_graph.py.
"""

from dataclasses import replace

import torch
from torch import nn

from tanet.errors import UserError
from tanet.models.network import Network
from tanet.models.region_graph import RegionGraph, grid_boxes
from tanet.models.video_backbones.resnet3d import ResNet3DNetwork
from tanet.recipes import published3d
from tanet.recipes.input_spec import InputSpec
from tanet.recipes.networks_hybrid import RegionGraphNet


class RegionGraphNetwork(Network):
    """I3D with a graph of regions, built from the settings in a recipe."""

    memory_format = torch.channels_last_3d

    def __init__(self, model: RegionGraphNet, *, classes: int, input_spec: InputSpec) -> None:
        super().__init__(frames=model.frames, input_spec=input_spec)
        blocks = published3d.NON_LOCAL if model.non_local else ()
        settings = replace(published3d.I3D_TABLE6, frames=model.frames, width=model.width, non_local=blocks)
        self.video = ResNet3DNetwork(settings, classes=1, input_spec=input_spec)
        del self.video.head
        features = model.features
        self.reduce = nn.Conv3d(32 * model.width, features, 1, bias=False)
        self.graph = RegionGraph(features, layers=model.layers)
        self.has_grid = model.boxes == "grid"
        self.register_buffer("grid", grid_boxes(-(-model.frames // 2)), persistent=False)
        self.dropout = nn.Dropout(model.dropout)
        self.head = nn.Linear(2 * features, classes)
        nn.init.kaiming_normal_(self.reduce.weight, mode="fan_out", nonlinearity="relu")
        nn.init.normal_(self.head.weight, std=0.01)
        nn.init.zeros_(self.head.bias)

    def stages(self) -> dict[str, tuple[str, ...]]:
        """Return the stages and the names of their modules; see `Network`."""
        found = {
            stage: tuple(f"video.{name}" for name in names) for stage, names in self.video.stages().items()
        }
        return {**found, "res5": (*found["res5"], "reduce", "graph")}

    def features(self, clips: torch.Tensor, boxes: torch.Tensor | None = None) -> torch.Tensor:
        """Compute the input of the classifier, [B, F].

        Args:
            clips: normalised clips [B, T, 3, H, W].
            boxes: regions of every second frame, [B, T/2, R, 4]: x1, y1, x2, y2 as fractions of the frame's
                width and height. None: the grid, if the network was built with it.

        Raises:
            UserError: the network was made for given boxes, and there are none.
            ValueError: the boxes do not fit the clips.
        """
        self.check_clips(clips)
        if boxes is None:
            if not self.has_grid and not clips.is_meta:  # a network without weights is only counted
                raise UserError(
                    "this network looks at given regions, and there are none: give --data.boxes FILE, or "
                    "network(clips, boxes=…); --model.boxes grid trains a network without them"
                )
            boxes = self.get_buffer("grid").expand(clips.shape[0], -1, -1, -1)
        steps = -(-self.frames // 2)
        if boxes.ndim != 4 or boxes.shape[:2] != (clips.shape[0], steps) or boxes.shape[3] != 4:
            raise ValueError(f"expected boxes [{clips.shape[0]}, {steps}, R, 4], not {list(boxes.shape)}")
        maps = self.reduce(self.video.maps(clips))
        return torch.cat((self.graph(maps, boxes), maps.mean((2, 3, 4))), 1)

    def forward(self, clips: torch.Tensor, boxes: torch.Tensor | None = None) -> torch.Tensor:
        """Classify clips: [B, T, 3, H, W] and boxes [B, T/2, R, 4] → logits [B, classes]."""
        return self.head(self.dropout(self.features(clips, boxes)))
