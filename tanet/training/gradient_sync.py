"""Sum gradients over the parts of a batch, and average them over the ranks.

`optim.accumulate` splits a batch into parts, and each part has its own backward pass. A bucket is a flat
tensor that holds the gradients of several parameters.

    backward pass of each part       add the gradients to the buckets
    backward pass of the last part   start the all-reduce of each bucket as soon as the bucket is full

DistributedDataParallel uses the same method (Li et al., VLDB 2020), but it wraps the network. With this
wrapper, torch.compile splits the network at the bucket boundaries. The pieces in which BatchNorm updates its
running statistics are then not captured as CUDA graphs, so the GPU waits for the host. This module uses hooks
on the parameters instead of a wrapper, so torch.compile does not split the network.

The buckets also make it possible to sum the parts of a batch when CUDA graphs are used. A CUDA graph
overwrites its gradients when it runs again, and the buckets keep a copy of them.

The hooks have a drawback: a compiled network delivers all gradients at the end of its backward pass, so the
all-reduces cannot start earlier.
"""

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import nn

from tanet.runtime.distributed import ProcessGroup, RankError

# Small buckets waste bandwidth between the ranks, and large buckets start their all-reduce too late.
BUCKET_BYTES = 25 * 2**20


class GradientSync:
    """Parameter hooks that sum gradients over the parts of a batch and average them over the ranks.

    Args:
        network: the network on its device. Every backward pass must compute a gradient for each parameter
            whose `requires_grad` is true.
        group: the ranks to average over. The weights and buffers of rank 0 are copied to all ranks at once.

    Raises:
        RankError: the networks of the ranks differ in the name, shape, strides or dtype of a tensor.
    """

    def __init__(self, network: nn.Module, *, group: ProcessGroup) -> None:
        self.group = group
        state = network.state_dict()
        form = [(name, tensor.shape, tensor.stride(), tensor.dtype) for name, tensor in state.items()]
        if any(other != form for other in group.all_gather_objects(form)):
            raise RankError(
                "the networks of the ranks differ: start all ranks with the same command and the same videos"
            )
        group.broadcast_tensors_(list(state.values()))
        self.names = {param: name for name, param in network.named_parameters() if param.requires_grad}
        # Bucket the parameters in reverse order, because the backward pass reaches the last layers first.
        self.buckets = [_Bucket(group) for group in _bucket_params(list(self.names)[::-1])]
        self.within, self.adds, self.last = False, False, False
        self.waits: list[Callable[[], object]] = []
        # The hooks hold only a weak reference to this GradientSync, so that Python can free the GradientSync.
        # Python's garbage collector cannot free reference cycles that go through parameter hooks.
        me: weakref.ref[GradientSync] = weakref.ref(self)
        for number, bucket in enumerate(self.buckets):
            for param in bucket.params:
                param.register_post_accumulate_grad_hook(partial(_on_gradient, me, number))

    @contextmanager
    def part(self, *, first: bool, last: bool) -> Iterator[None]:
        """Wrap the backward pass of one part of the batch. On entry, `grad` of every parameter must be None.

        After the last part, `grad` of each parameter is summed over the parts and averaged over the ranks.

        Raises:
            RankError: the backward pass gave no gradient to some parameters.
        """
        self.within, self.adds, self.last = True, not first, last
        self.waits.clear()
        for bucket in self.buckets:
            bucket.missing = len(bucket.params)
        try:
            yield
        finally:
            self.within = False
        if any(bucket.missing for bucket in self.buckets):
            params = [param for bucket in self.buckets if bucket.missing for param in bucket.params]
            left_out = ", ".join(self.names[param] for param in params if param.grad is None)
            raise RankError(
                f"the loss does not depend on {left_out}: freeze these parameters (requires_grad = False)"
            )
        if last:
            for bucket, wait in zip(self.buckets, self.waits, strict=True):
                wait()
                bucket.hand_out()

    def came(self, number: int) -> None:
        """Count one more gradient of bucket `number`.

        When the bucket is full, move its gradients into its flat tensor. In the last part of the batch, also
        start the all-reduce of each full bucket.
        """
        bucket = self.buckets[number]
        bucket.missing -= 1
        if bucket.missing:
            return
        bucket.take(adds=self.adds)
        if not self.last:
            return
        # Start the all-reduces in the order of the buckets, because the order must be the same on all ranks.
        for full in self.buckets[len(self.waits) :]:
            if full.missing:
                return
            self.waits.append(self.group.all_reduce_mean_async(full.flat))


def _on_gradient(gradients: "weakref.ref[GradientSync]", number: int, _: torch.Tensor) -> None:
    """Tell the `GradientSync` that a parameter has received its gradient. Each parameter has this hook.

    Autograd also calls the hook outside `GradientSync.part`, and after the `GradientSync` is freed. In these
    two cases, the hook does nothing.
    """
    there = gradients()
    if there and there.within:
        there.came(number)


class _Bucket:
    """A group of parameters, and one flat tensor that holds the gradients of all these parameters."""

    def __init__(self, params: list[nn.Parameter]) -> None:
        self.params, self.missing = params, len(params)
        sizes = [param.numel() for param in params]
        self.flat = params[0].new_zeros(sum(sizes))
        # Each view has the strides of its parameter, because optimizers need gradients with the same strides.
        self.views = [
            part.as_strided(param.shape, torch.empty_like(param, device="meta").stride())
            for param, part in zip(params, self.flat.split(sizes), strict=True)
        ]

    def take(self, *, adds: bool) -> None:
        """Move the parameters' gradients into the flat tensor.

        If `adds`, add the gradients to the tensor. Otherwise, overwrite the tensor.
        """
        grads = [param.grad for param in self.params if param.grad is not None]
        move = torch._foreach_add_ if adds else torch._foreach_copy_  # type: ignore[reportPrivateImportUsage]
        move(self.views, grads)
        for param in self.params:
            param.grad = None

    def hand_out(self) -> None:
        for param, view in zip(self.params, self.views, strict=True):
            param.grad = view


def _bucket_params(params: list[nn.Parameter]) -> Iterator[list[nn.Parameter]]:
    """Split the parameters, in their order, into groups of at most `BUCKET_BYTES` bytes.

    A parameter that is larger than `BUCKET_BYTES` forms a group of its own.
    """
    group: list[nn.Parameter] = []
    size = 0
    for param in params:
        size += param.nbytes
        if group and size > BUCKET_BYTES:
            yield group
            group, size = [], param.nbytes
        group.append(param)
    yield group
