"""Measure the cost of a network: parameters, operations, latency and memory."""
