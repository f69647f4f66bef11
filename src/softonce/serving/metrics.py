"""What the service counts, for Prometheus."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)

if TYPE_CHECKING:
    from collections.abc import Callable

CONTENT_TYPE = CONTENT_TYPE_LATEST
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """The counters of one service, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Histogram(
            "softonce_request_seconds",
            "Seconds from the head of a request to the end of its answer.",
            ("route", "status"),
            registry=self.registry,
            buckets=_SECONDS,
        )
        self._images = Counter(
            "softonce_images",
            "Images by what became of them.",
            ("model", "outcome"),
            registry=self.registry,
        )
        self._batches = Histogram(
            "softonce_batch_images",
            "Images in a batch.",
            ("model",),
            registry=self.registry,
            buckets=_SIZES,
        )
        self._engine = Histogram(
            "softonce_engine_seconds",
            "Seconds that the engine computed a batch.",
            ("model",),
            registry=self.registry,
            buckets=_SECONDS,
        )
        self._ended = Counter(
            "softonce_connections_ended",
            "Connections that the service ended: idle, shed (for a new one), head (never whole), "
            "full (no place), stuck (its answer was not taken).",
            ("reason",),
            registry=self.registry,
        )
        ProcessCollector(registry=self.registry)

    def show(self, name: str, meaning: str, read: Callable[[], int]) -> None:
        """Add a gauge that is read when it is asked for."""
        Gauge(name, meaning, registry=self.registry).set_function(read)

    def request(self, route: str, status: int, seconds: float) -> None:
        """Count an answered request."""
        self._requests.labels(route, status).observe(seconds)

    def ended(self, reason: str) -> None:
        """Count a connection that the service ended by itself."""
        self._ended.labels(reason).inc()

    def images(self, model: str, outcome: str, count: int) -> None:
        """Count images: `predicted`, or `unreadable`."""
        self._images.labels(model, outcome).inc(count)

    def batch(self, model: str, size: int, seconds: float) -> None:
        """Count a batch."""
        self._batches.labels(model).observe(size)
        self._engine.labels(model).observe(seconds)

    def text(self) -> bytes:
        """Return all of them as Prometheus reads them."""
        return generate_latest(self.registry)
