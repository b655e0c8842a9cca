"""Freeze the first layers of a network, so that training changes only the layers after them.

    trained      frozen
    all          nothing
    from-res2    the stem
    from-res4    the stem, res2 and res3
    head         all but the classifier: a linear probe

`optim.partial_norm` freezes all BatchNorms but the first, whatever else is trained.

The weights of a frozen layer get no gradient, and the layer stays in evaluation mode: its BatchNorms use and
keep the statistics that they have. So autograd stores nothing for the first stages, and their backward pass
is not computed. The dropout before the classifier belongs to the classifier.

A temporal module without trained weights is never frozen, because random filters would spoil the features.
It also changes what its stage computes (TAM halves its input at first). So the BatchNorms of this stage are
trained, too, and only the other layers are frozen. That takes the memory and the backward pass of a training
of all layers.
"""

from collections.abc import Iterator, Sequence

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from tanet.errors import UserError
from tanet.models.network import Network


def freeze(network: Network, *, trained: str, partial_norm: bool = False) -> None:
    """Freeze the layers of a network that `optim.trained` leaves out, in place.

    The temporal modules are new unless `network.temporal_trained` is true.

    Args:
        network: network on any device, after the last replacement of modules.
        trained: value of `optim.trained` in a recipe.
        partial_norm: whether all BatchNorms but the first are frozen, too (TSN's partial BatchNorm). Those of
            temporal modules without trained weights are not.

    Raises:
        UserError: the network has no stage of this name.
    """
    names = _norms_after_first(network) if partial_norm else []
    for name in names:
        for parameter in network.get_submodule(name).parameters():
            parameter.requires_grad_(False)
    for parts in frozen_stages(network, trained=trained).values():
        modules = dict(_modules(network, parts))
        new = {name for name in modules if _is_temporal(name) and not network.temporal_trained}
        is_kept = any(True for name in new for _ in modules[name].parameters())
        for name, module in modules.items():
            if is_kept and (name in new or isinstance(module, _BatchNorm)):
                continue
            if name not in names:
                names.append(name)
            for parameter in module.parameters(recurse=False):
                parameter.requires_grad_(False)
    network.frozen = tuple(names)
    network.train(network.training)


def _norms_after_first(network: Network) -> list[str]:
    """Return the names of the BatchNorms that are frozen if only the first one is trained."""
    norms = [name for name, module in network.named_modules() if isinstance(module, _BatchNorm)]
    return [name for name in norms[1:] if network.temporal_trained or not _is_temporal(name)]


def frozen_stages(network: Network, *, trained: str) -> dict[str, tuple[str, ...]]:
    """Return the stages that `optim.trained` freezes, and the names of their modules.

    Raises:
        UserError: the network has no stage of this name.
    """
    if trained == "all":
        return {}
    stages = network.stages()
    if trained == "head":
        return stages
    first = trained.removeprefix("from-")
    if first not in stages:
        choices = ", ".join(f"from-{stage}" for stage in stages if stage != "stem")
        raise UserError(
            f"optim.trained {trained}: this network has no {first}: choose all, {choices} or head"
        )
    return dict(list(stages.items())[: list(stages).index(first)])


def describe_trained(network: Network, *, trained: str) -> str:
    """Return a line of text: how many parameters of a frozen network are trained, and which layers."""
    every, some = count_parameters(network)
    first = trained.removeprefix("from-")
    which = "the classifier" if trained == "head" else f"{first} and the layers after it"
    parts = [name for names in frozen_stages(network, trained=trained).values() for name in names]
    if any(name not in network.frozen for name, _ in _modules(network, parts)):
        which += ", new temporal modules, and the BatchNorms of their stages"
    return f"trains {some:,} of {every:,} parameters: {which}"


def count_parameters(network: Network) -> tuple[int, int]:
    """Count the parameters of a network, and those that are trained."""
    sizes = [(parameter.numel(), parameter.requires_grad) for parameter in network.parameters()]
    return sum(size for size, _ in sizes), sum(size for size, is_trained in sizes if is_trained)


def _modules(network: Network, names: Sequence[str]) -> Iterator[tuple[str, nn.Module]]:
    """Yield the name and the module of these modules of a network and of all modules in them."""
    for name in names:
        yield from network.get_submodule(name).named_modules(prefix=name)


def _is_temporal(name: str) -> bool:
    """Tell whether a module is, or is part of, a temporal module or a non-local block."""
    return not {"temporal", "non_local"}.isdisjoint(name.split("."))
