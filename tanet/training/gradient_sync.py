"""The gradients of several parts of a batch, and of several processes, made one.

    each part of the batch    backward pass      buckets += gradients
    the last part             a bucket is full   its mean over the processes begins, while the pass goes on

This is what DistributedDataParallel does (Li et al., VLDB 2020), by hooks on the parameters instead of a
wrapper around the network. The wrapper makes torch.compile cut the network at its buckets, and the pieces are
not captured as CUDA graphs where BatchNorm moves running statistics: the GPU then waits for the host. And
from here gradients leave the memory of a CUDA graph before it runs again, so that parts can add up. The
price: a compiled network gives all gradients at the end of its pass, and their means begin only there.
"""

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import nn

from tanet.runtime.distributed import ProcessGroup, RankError

BUCKET_BYTES = 25 * 2**20  # bytes: large enough for the speed of the links, small enough to begin early


class GradientSync:
    """Where they meet.

    Args:
        network: on its device; those of its parameters that learn get a gradient in every backward pass.
        group: the processes whose mean is made. All begin with the weights and buffers of the first.

    Raises:
        RankError: the processes' networks differ.
    """

    def __init__(self, network: nn.Module, *, group: ProcessGroup) -> None:
        self.group = group
        state = network.state_dict()
        form = [(name, tensor.shape, tensor.stride(), tensor.dtype) for name, tensor in state.items()]
        if any(other != form for other in group.all_gather_objects(form)):
            raise RankError("the processes' networks differ: give all the same command and the same videos")
        group.broadcast_tensors_(list(state.values()))
        self.names = {param: name for name, param in network.named_parameters() if param.requires_grad}
        # A backward pass comes to the last layers first.
        self.buckets = [_Bucket(group) for group in _bucket_params(list(self.names)[::-1])]
        self.within, self.adds, self.last = False, False, False
        self.waits: list[Callable[[], object]] = []
        # The garbage collector does not see what hooks of parameters hold: it must not be what holds them.
        me: weakref.ref[GradientSync] = weakref.ref(self)
        for number, bucket in enumerate(self.buckets):
            for param in bucket.params:
                param.register_post_accumulate_grad_hook(partial(_on_gradient, me, number))

    @contextmanager
    def part(self, *, first: bool, last: bool) -> Iterator[None]:
        """Around the backward pass of one part of the batch; parameters have no gradients before.

        After the last part they have the sum over the parts, of that the mean over the processes.

        Raises:
            RankError: the pass has left out parameters.
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
            raise RankError(f"the loss does not depend on {left_out}: nothing can be learned there")
        if last:
            for bucket, wait in zip(self.buckets, self.waits, strict=True):
                wait()
                bucket.hand_out()

    def came(self, number: int) -> None:
        """One more gradient of this bucket is there."""
        bucket = self.buckets[number]
        bucket.missing -= 1
        if bucket.missing:
            return
        bucket.take(adds=self.adds)
        if not self.last:
            return
        # In all processes in the same order, whichever bucket is full first.
        for full in self.buckets[len(self.waits) :]:
            if full.missing:
                return
            self.waits.append(self.group.all_reduce_mean_async(full.flat))


def _on_gradient(gradients: "weakref.ref[GradientSync]", number: int, _: torch.Tensor) -> None:
    """What autograd calls, also in passes that are no part of a step, when all but the network is gone."""
    there = gradients()
    if there and there.within:
        there.came(number)


class _Bucket:
    """Some parameters, and flat memory in which their gradients lie one after the other."""

    def __init__(self, params: list[nn.Parameter]) -> None:
        self.params, self.missing = params, len(params)
        sizes = [param.numel() for param in params]
        self.flat = params[0].new_zeros(sum(sizes))
        self.views = [  # in each parameter's own memory format, as optimizers need it
            part.as_strided(param.shape, torch.empty_like(param, device="meta").stride())
            for param, part in zip(params, self.flat.split(sizes), strict=True)
        ]

    def take(self, *, adds: bool) -> None:
        """Take the parameters' gradients away from them, by addition to what is there or in its place."""
        grads = [param.grad for param in self.params if param.grad is not None]
        move = torch._foreach_add_ if adds else torch._foreach_copy_  # type: ignore[reportPrivateImportUsage]
        move(self.views, grads)
        for param in self.params:
            param.grad = None

    def hand_out(self) -> None:
        for param, view in zip(self.params, self.views, strict=True):
            param.grad = view


def _bucket_params(params: list[nn.Parameter]) -> Iterator[list[nn.Parameter]]:
    """The parameters in their order, in groups of at most `BUCKET_BYTES` bytes or of one."""
    group: list[nn.Parameter] = []
    size = 0
    for param in params:
        size += param.nbytes
        if group and size > BUCKET_BYTES:
            yield group
            group, size = [], param.nbytes
        group.append(param)
    yield group
