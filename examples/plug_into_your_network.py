"""Turn a 2D network of your own into a video network: plug in TAM, then average the logits over the frames.

python examples/plug_into_your_network.py
"""

import torch

import tanet
from tanet.models.backbones2d import BACKBONES

FRAMES = 8

# You can use any ResNet with torchvision's parameter names. This ResNet comes with tanet.
network = BACKBONES["resnet18"]()
names = set(network.state_dict())

tanet.plug(network, lambda channels: tanet.TAM(channels, frames=FRAMES), stages=("res4", "res5"))
# The names of your weights have not changed, so your checkpoints still load.
assert names <= set(network.state_dict())

clips = torch.randn(2, FRAMES, 3, 64, 64)  # [N, T, 3, H, W]
rows = network(clips.flatten(0, 1))  # [N·T, classes]: the 2D network gets N·T images
logits = rows.unflatten(0, (-1, FRAMES)).mean(1)  # [N, classes]
print(f"{len(set(network.state_dict()) - names)} new tensors, logits {tuple(logits.shape)}")
