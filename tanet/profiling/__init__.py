"""The cost of a network: parameters, operations, latency, memory."""
