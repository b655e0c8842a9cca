"""Tensors in, tensors out: the operations that the temporal modules are made of."""

from tanet.ops.adaptive_conv import adaptive_conv

__all__ = ["adaptive_conv"]
