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
            ("outcome",),
            registry=self.registry,
        )
        self._batches = Histogram(
            "softonce_batch_images",
            "Images in a batch.",
            registry=self.registry,
            buckets=_SIZES,
        )
        self._engine = Histogram(
            "softonce_engine_seconds",
            "Seconds that the engine computed a batch.",
            registry=self.registry,
            buckets=_SECONDS,
        )
        ProcessCollector(registry=self.registry)

    def show_queue(self, size: Callable[[], int]) -> None:
        """Let the gauge of the queue read its length when it is asked for."""
        gauge = Gauge(
            "softonce_queue_images",
            "Images that are being read, wait or are computed.",
            registry=self.registry,
        )
        gauge.set_function(size)

    def request(self, route: str, status: int, seconds: float) -> None:
        """Count an answered request."""
        self._requests.labels(route, status).observe(seconds)

    def images(self, outcome: str, count: int) -> None:
        """Count images: `predicted`, or `unreadable`."""
        self._images.labels(outcome).inc(count)

    def batch(self, size: int, seconds: float) -> None:
        """Count a batch."""
        self._batches.observe(size)
        self._engine.observe(seconds)

    def text(self) -> bytes:
        """Return all of them as Prometheus reads them."""
        return generate_latest(self.registry)
