"""Demo that makes videos, trains two networks on the videos and compares the networks on an HTML page."""
