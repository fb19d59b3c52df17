"""What a station counts, as Prometheus reads it."""

from __future__ import annotations

from collections.abc import Callable, Collection

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_OTHER = "other"
"""Stands for products that the station was not set up for: their names are the clients' to make up, without end."""


class Metrics:
    """The counters of one station, since its start.

    Args:
        products: Names of the products that are counted one by one.
        waiting: Gives the length of the queue.
    """

    def __init__(self, products: Collection[str], waiting: Callable[[], int]) -> None:
        self._products = frozenset(products)
        self._registry = CollectorRegistry()
        self._inspections = Counter(
            "lriad_inspections",
            "Pictures that came to a decision, or to an error.",
            ["product", "decision"],
            registry=self._registry,
        )
        self._seconds = Histogram(
            "lriad_inspection_seconds",
            "From accepting a picture to its verdict.",
            buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300),
            registry=self._registry,
        )
        self._batch = Histogram(
            "lriad_batch_size",
            "Pictures that went through the model together.",
            buckets=(1, 2, 4, 8, 16, 32, 64),
            registry=self._registry,
        )
        self._rejected = Counter(
            "lriad_rejected", "Requests turned away because the queue was full.", registry=self._registry
        )
        self._drift = Gauge(
            "lriad_drift_p_value",
            "Of the last verdicts against the good parts of the product's calibration; near 0 where they have drifted.",
            ["product"],
            registry=self._registry,
        )
        Gauge("lriad_queue_length", "Pictures that wait.", registry=self._registry).set_function(waiting)

    def judged(self, product: str, decision: str, seconds: float) -> None:
        """Count a picture; its decision may be `error`."""
        self._inspections.labels(product if product in self._products else _OTHER, decision).inc()
        self._seconds.observe(seconds)

    def batch(self, size: int) -> None:
        """Count a batch."""
        self._batch.observe(size)

    def rejected(self) -> None:
        """Count a request that was turned away."""
        self._rejected.inc()

    def drift(self, product: str, p_value: float) -> None:
        """Note how a product's last verdicts compare with its calibration."""
        self._drift.labels(product).set(p_value)

    def text(self) -> bytes:
        """All of it in Prometheus' text format."""
        return generate_latest(self._registry)
