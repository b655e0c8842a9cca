"""Sum gradients over the parts of a batch, and average them over the ranks.

    each part of the batch    backward pass      buckets += gradients
    the last part             a bucket is full   its all-reduce starts, while the backward pass continues

This does what DistributedDataParallel does (Li et al., VLDB 2020), but with hooks on the parameters instead
of a wrapper around the network. The wrapper makes torch.compile split the network at the wrapper's buckets.
Pieces in which BatchNorm updates its running statistics are then not captured as CUDA graphs, so the GPU
waits for the host.

The buckets also copy gradients out of a CUDA graph's memory before the graph runs again, so that the parts of
a batch can be summed. The drawback is that a compiled network delivers all gradients at the end of its
backward pass, so the all-reduces cannot start earlier.
"""

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import nn

from tanet.runtime.distributed import ProcessGroup, RankError

BUCKET_BYTES = 25 * 2**20  # large enough for the links' full speed, small enough to start all-reduces early


class GradientSync:
    """Hooks and buckets that sum gradients over the parts of a batch and average them over the ranks.

    Args:
        network: the network on its device. Every backward pass must compute a gradient for each parameter
            whose `requires_grad` is true.
        group: the ranks to average over. The weights and buffers of rank 0 are copied to all of them.

    Raises:
        RankError: the networks of the ranks differ.
    """

    def __init__(self, network: nn.Module, *, group: ProcessGroup) -> None:
        self.group = group
        state = network.state_dict()
        form = [(name, tensor.shape, tensor.stride(), tensor.dtype) for name, tensor in state.items()]
        if any(other != form for other in group.all_gather_objects(form)):
            raise RankError("the networks of the ranks differ: give all the same command and the same videos")
        group.broadcast_tensors_(list(state.values()))
        self.names = {param: name for name, param in network.named_parameters() if param.requires_grad}
        # In reverse order, because the backward pass reaches the last layers first.
        self.buckets = [_Bucket(group) for group in _bucket_params(list(self.names)[::-1])]
        self.within, self.adds, self.last = False, False, False
        self.waits: list[Callable[[], object]] = []
        # The hooks hold only a weak reference to this object: the garbage collector cannot see what parameter
        # hooks refer to, so a strong reference would keep this object alive.
        me: weakref.ref[GradientSync] = weakref.ref(self)
        for number, bucket in enumerate(self.buckets):
            for param in bucket.params:
                param.register_post_accumulate_grad_hook(partial(_on_gradient, me, number))

    @contextmanager
    def part(self, *, first: bool, last: bool) -> Iterator[None]:
        """Wrap the backward pass of one part of the batch. Parameters must have no gradients on entry.

        After the last part, each parameter's gradient is the sum over the parts, averaged over the ranks.

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
            raise RankError(f"the loss does not depend on {left_out}: these parameters cannot learn")
        if last:
            for bucket, wait in zip(self.buckets, self.waits, strict=True):
                wait()
                bucket.hand_out()

    def came(self, number: int) -> None:
        """Count one more gradient of a bucket; when the bucket is full, copy it and start its all-reduce."""
        bucket = self.buckets[number]
        bucket.missing -= 1
        if bucket.missing:
            return
        bucket.take(adds=self.adds)
        if not self.last:
            return
        # Start the all-reduces in the same order on all ranks, whichever bucket is full first.
        for full in self.buckets[len(self.waits) :]:
            if full.missing:
                return
            self.waits.append(self.group.all_reduce_mean_async(full.flat))


def _on_gradient(gradients: "weakref.ref[GradientSync]", number: int, _: torch.Tensor) -> None:
    """Hook of each parameter.

    Autograd also calls this hook outside a step, and after the `GradientSync` is freed. The hook then does
    nothing.
    """
    there = gradients()
    if there and there.within:
        there.came(number)


class _Bucket:
    """A group of parameters, and a flat tensor that holds their gradients one after the other."""

    def __init__(self, params: list[nn.Parameter]) -> None:
        self.params, self.missing = params, len(params)
        sizes = [param.numel() for param in params]
        self.flat = params[0].new_zeros(sum(sizes))
        self.views = [  # in each parameter's own memory format, as optimizers need it
            part.as_strided(param.shape, torch.empty_like(param, device="meta").stride())
            for param, part in zip(params, self.flat.split(sizes), strict=True)
        ]

    def take(self, *, adds: bool) -> None:
        """Move the parameters' gradients into the flat tensor; add to it if `adds`, else overwrite it."""
        grads = [param.grad for param in self.params if param.grad is not None]
        move = torch._foreach_add_ if adds else torch._foreach_copy_  # type: ignore[reportPrivateImportUsage]
        move(self.views, grads)
        for param in self.params:
            param.grad = None

    def hand_out(self) -> None:
        for param, view in zip(self.params, self.views, strict=True):
            param.grad = view


def _bucket_params(params: list[nn.Parameter]) -> Iterator[list[nn.Parameter]]:
    """Yield the parameters in order, in groups of at most `BUCKET_BYTES` bytes or of a single parameter."""
    group: list[nn.Parameter] = []
    size = 0
    for param in params:
        size += param.nbytes
        if group and size > BUCKET_BYTES:
            yield group
            group, size = [], param.nbytes
        group.append(param)
    yield group
