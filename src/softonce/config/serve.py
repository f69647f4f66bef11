"""The options of `softonce serve`."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Group, Parameter

from softonce.config.coercion import coerce_fields_
from softonce.config.fields import (
    HARDWARE,
    Device,
    Engine,
    OptionalPath,
    Quiet,
    Threads,
    Trust,
    check_range,
)
from softonce.errors import ConfigError

ADDRESS = Group("Address", sort_key=1)
BATCHES = Group("Batches", sort_key=2)
LIMITS = Group("Limits", sort_key=3)


@Parameter(name="*")
@dataclass(frozen=True)
class ServeConfig:
    """Answer images over HTTP, with a page for people at `/`.

    Example:
        >>> ServeConfig(Path("model.onnx"), port=9000).max_batch
        32
    """

    file: Path
    """The classifier: the folder of a run, its .safetensors file, or an exported file."""

    _: KW_ONLY

    host: Annotated[str, Parameter(group=ADDRESS)] = "127.0.0.1"
    """Where to listen; 0.0.0.0 is everywhere."""
    port: Annotated[int, Parameter(group=ADDRESS)] = 8000
    """The port; 0 takes any that is free."""
    token_file: Annotated[OptionalPath, Parameter(group=ADDRESS)] = None
    """File with a bearer token that clients have to send. [default: the variable SOFTONCE_TOKEN]"""
    max_batch: Annotated[int, Parameter(group=BATCHES)] = 32
    """Images that are computed together at most; 1 turns batching off."""
    max_wait_ms: Annotated[float, Parameter(group=BATCHES)] = 5.0
    """How long an image waits for others that are being read."""
    max_queue: Annotated[int, Parameter(group=BATCHES)] = 256
    """Images in the service at a time; above that the answer is 429."""
    max_bytes: Annotated[int, Parameter(group=LIMITS)] = 32 * 2**20
    """Bytes of a request's body."""
    max_pixels: Annotated[int, Parameter(group=LIMITS)] = 50_000_000
    """Pixels of an image."""
    max_images: Annotated[int, Parameter(group=LIMITS)] = 64
    """Images of a request."""
    max_connections: Annotated[int, Parameter(group=LIMITS)] = 1000
    """Connections at a time, idle ones too; above that the answer is 503."""
    body_seconds: Annotated[float, Parameter(group=LIMITS)] = 30.0
    """Seconds in which a body has to arrive."""
    timeout: Annotated[float, Parameter(group=LIMITS)] = 30.0
    """Seconds in which an answer is given."""
    engine: Engine = "auto"
    """What computes; auto is the fastest that is installed and runs such a file."""
    threads: Threads = None
    """How many threads compute; fewer leave cores to HTTP. [default: one a core]"""
    trust: Trust = False
    """Run a program of torch.export, which may do anything."""
    device: Annotated[Device, Parameter(group=HARDWARE)] = "auto"
    """Where torch computes."""
    quiet: Quiet = False
    """Say warnings only."""

    def __post_init__(self) -> None:
        """Check every number against its range."""
        coerce_fields_(self)
        check_range(self, "port", 0, 65535)
        for name in ("max_batch", "max_queue", "max_bytes", "max_pixels", "max_images"):
            check_range(self, name, 1)
        check_range(self, "max_connections", 1)
        check_range(self, "threads", 1)
        for name in ("max_wait_ms", "body_seconds", "timeout"):
            check_range(self, name, 0)
        if self.max_images > self.max_queue:
            raise ConfigError(
                f"expected --max-queue of at least --max-images, found {self.max_queue} below "
                f"{self.max_images}: a full request would never find room"
            )
