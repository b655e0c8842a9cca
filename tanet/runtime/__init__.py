"""Utilities for devices, ranks, interrupts, process pools and atomic file writes."""
