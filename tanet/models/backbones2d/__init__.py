"""2D networks, which classify images: [N, 3, H, W] → logits [N, classes].

Parameters and buffers are named as in torchvision, so torchvision's ImageNet state dicts load with
strict=True. Networks that torchvision does not have are named as in the code of their authors.
"""

from collections.abc import Callable

from torch import nn

from tanet.errors import UserError
from tanet.models.backbones2d.big_little import blresnet50, blresnet101
from tanet.models.backbones2d.bn_inception import bn_inception
from tanet.models.backbones2d.inception_v3 import inception_v3, inception_v3_cuhk
from tanet.models.backbones2d.mobilenet_v2 import mobilenet_v2
from tanet.models.backbones2d.resnet import (
    resnet18,
    resnet18_w16,
    resnet34,
    resnet50,
    resnet101,
    resnet152,
    resnext50_32x4d,
)
from tanet.models.backbones2d.shufflenet_v2 import shufflenet_v2_x1_0

BACKBONES: dict[str, Callable[..., nn.Module]] = {
    "resnet18": resnet18,
    "resnet18_w16": resnet18_w16,
    "resnet34": resnet34,
    "resnet50": resnet50,
    "resnet101": resnet101,
    "resnet152": resnet152,
    "resnext50_32x4d": resnext50_32x4d,
    "mobilenet_v2": mobilenet_v2,
    "shufflenet_v2_x1_0": shufflenet_v2_x1_0,
    "inception_v3": inception_v3,
    "inception_v3_cuhk": inception_v3_cuhk,
    "bn_inception": bn_inception,
    "blresnet50": blresnet50,
    "blresnet101": blresnet101,
}


def remove_classifier(network: nn.Module) -> int:
    """Remove the classifier of a 2D network in place. Return F, the classifier's number of inputs.

    Afterwards, network(images) returns the pooled features [N, F]. The classifier is the child named `fc` or
    `classifier` that contains a linear layer. Networks of torchvision and timm have such a child, so they
    work as well. The dropout before the classifier and the auxiliary head of Inception-v3 are also removed.

    Raises:
        UserError: no child named `fc` or `classifier` contains a linear layer.
    """
    for name in ("fc", "classifier"):
        classifier = getattr(network, name, None)
        if not isinstance(classifier, nn.Module):
            continue
        linear = next((module for module in classifier.modules() if isinstance(module, nn.Linear)), None)
        if linear is None:
            continue
        setattr(network, name, nn.Identity())
        for part, substitute in (("dropout", nn.Identity()), ("AuxLogits", None), ("aux_logits", False)):
            if hasattr(network, part):
                setattr(network, part, substitute)
        return linear.in_features
    raise UserError(f"{type(network).__name__} has no linear classifier named fc or classifier")
