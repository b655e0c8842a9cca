"""The demo: make videos, train two networks on them, and compare the two on an HTML page."""
