"""The demo: make videos, train two networks, compare them on a page."""
