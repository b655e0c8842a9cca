"""Counters of the server, as text for Prometheus (exposition format 0.0.4)."""

from collections import defaultdict
from threading import Lock

HELP = {
    "tanet_requests_total": ("counter", "Requests by path and status."),
    "tanet_errors_total": ("counter", "Requests that failed, by cause."),
    "tanet_waiting": ("gauge", "Requests that are being received, decoded or classified."),
    "tanet_batch_size": ("summary", "Requests whose clips were in one forward pass."),
    "tanet_decode_seconds": ("summary", "Time to decode the clips of a request."),
    "tanet_network_seconds": ("summary", "Time of a forward pass."),
}


class Metrics:
    """Counters. All methods can be called from any thread."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._values: dict[tuple[str, str], float] = defaultdict(float)

    def add(self, name: str, amount: float = 1.0, **labels: object) -> None:
        """Add to a counter or a gauge."""
        text = ",".join(f'{key}="{_escaped(value)}"' for key, value in sorted(labels.items()))
        with self._lock:
            self._values[name, f"{{{text}}}" if text else ""] += amount

    def observe(self, name: str, value: float) -> None:
        """Add a value to a summary."""
        with self._lock:
            self._values[f"{name}_sum", ""] += value
            self._values[f"{name}_count", ""] += 1

    def value(self, name: str) -> float:
        """Return the sum of a counter over all labels."""
        with self._lock:
            return sum(value for (known, _), value in self._values.items() if known == name)

    def text(self) -> str:
        """Return all numbers in Prometheus' format."""
        with self._lock:
            values = sorted(self._values.items())
        lines = []
        for name, (kind, text) in HELP.items():
            lines += [f"# HELP {name} {text}", f"# TYPE {name} {kind}"]
            family = {name, f"{name}_sum", f"{name}_count"}
            found = [f"{known}{labels} {value:g}" for (known, labels), value in values if known in family]
            lines += found or ([f"{name} 0"] if kind != "summary" else [f"{name}_sum 0", f"{name}_count 0"])
        return "\n".join(lines) + "\n"


def _escaped(value: object) -> str:
    return str(value).replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
