"""The options of `softonce serve`."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Annotated, Literal, TypeAlias
from urllib.parse import urlsplit

from cyclopts import Group, Parameter

from softonce.config.coercion import coerce_fields_
from softonce.config.fields import (
    HARDWARE,
    MODEL,
    OUTPUT,
    Data,
    Device,
    Engine,
    OptionalPath,
    OwnModel,
    PrecisionFlag,
    Quiet,
    Threads,
    Trust,
    check_range,
)
from softonce.errors import ConfigError

ADDRESS = Group("Address", sort_key=1)
BATCHES = Group("Batches", sort_key=2)
LIMITS = Group("Limits", sort_key=3)

LogFormat: TypeAlias = Literal["text", "json"]
Origins: TypeAlias = Annotated[
    tuple[str, ...], Parameter(group=ADDRESS, consume_multiple=True, negative=())
]


@Parameter(name="*")
@dataclass(frozen=True)
class ServeConfig:
    """Answer requests with images over HTTP, with a web page at `/`.

    Example:
        >>> ServeConfig("model.onnx", port=9000).max_batch
        32
    """

    files: tuple[Data, ...] = ()
    """The classifiers: folders of runs, .safetensors files, exported files, or folders of these;
    NAME=FILE gives one a name. The first one answers if no name is asked for."""

    _: KW_ONLY

    watch: Annotated[OptionalPath, Parameter(group=MODEL)] = None
    """Folder of classifiers that are served, too, and replaced while they answer whenever a file
    changes; one that cannot be opened changes nothing."""

    host: Annotated[str, Parameter(group=ADDRESS)] = "127.0.0.1"
    """Address to listen on; 0.0.0.0 accepts other machines."""
    port: Annotated[int, Parameter(group=ADDRESS)] = 8000
    """Port to listen on; 0 picks a free one."""
    token_file: Annotated[OptionalPath, Parameter(group=ADDRESS)] = None
    """File with the bearer token that clients must send. [default: the variable SOFTONCE_TOKEN]"""
    certfile: Annotated[OptionalPath, Parameter(group=ADDRESS)] = None
    """Certificate for HTTPS, with its chain, as PEM."""
    keyfile: Annotated[OptionalPath, Parameter(group=ADDRESS)] = None
    """Its private key. [default: in the certificate's file]"""
    cors: Origins = ()
    """Origins whose pages may ask from a browser, such as https://example.org; * is any."""
    max_batch: Annotated[int, Parameter(group=BATCHES)] = 32
    """Largest batch; 1 turns batching off."""
    max_wait_ms: Annotated[float, Parameter(group=BATCHES)] = 5.0
    """Milliseconds that an image waits for others to share its batch."""
    max_queue: Annotated[int, Parameter(group=BATCHES)] = 256
    """Most images in the service at a time; further requests get status 429."""
    max_bytes: Annotated[int, Parameter(group=LIMITS)] = 32 * 2**20
    """Most bytes in the body of a request."""
    max_pixels: Annotated[int, Parameter(group=LIMITS)] = 50_000_000
    """Most pixels in an image."""
    max_images: Annotated[int, Parameter(group=LIMITS)] = 64
    """Most images in a request."""
    max_connections: Annotated[int, Parameter(group=LIMITS)] = 1000
    """Most open connections; further ones take the place of idle ones, or get status 503."""
    body_seconds: Annotated[float, Parameter(group=LIMITS)] = 30.0
    """Seconds within which a body must arrive."""
    timeout: Annotated[float, Parameter(group=LIMITS)] = 30.0
    """Seconds within which a request is answered."""
    engine: Engine = "auto"
    """Runtime; auto measures which of the installed ones is fastest for the file."""
    precision: PrecisionFlag = "auto"
    """Precision of an artefact in torch; auto is bfloat16 only if that is measured to be faster."""
    threads: Threads = None
    """Number of threads for the network; fewer leave cores to HTTP. [default: one per core]"""
    trust: Trust = False
    """Run the code that the file holds (.pt2) or names (a network of its author's own), which may
    do anything on this machine."""
    model: OwnModel = None
    """Function that builds the network, FILE.py:FUNCTION, instead of the one the artefact names."""
    device: Annotated[Device, Parameter(group=HARDWARE)] = "auto"
    """Device that torch computes on."""
    config: Annotated[OptionalPath, Parameter(group=OUTPUT)] = None
    """TOML file with any of these options; what the command line says goes before it."""
    access_log: Annotated[bool, Parameter(group=OUTPUT, negative=())] = False
    """Print a line for each request; with --log-format json it is printed anyway."""
    log_format: Annotated[LogFormat, Parameter(group=OUTPUT)] = "text"
    """Lines for people, or a JSON object a line."""
    quiet: Quiet = False
    """Print only warnings."""

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
        for origin in self.cors:
            _check_origin(origin)
        if self.max_images > self.max_queue:
            raise ConfigError(
                f"expected --max-queue of at least --max-images, found {self.max_queue} below "
                f"{self.max_images}: the largest request would never fit"
            )

    @property
    def words(self) -> tuple[str, ...]:
        """What names the classifiers: the files, and the folder that is watched."""
        return (*map(str, self.files), *([] if self.watch is None else [str(self.watch)]))

    @property
    def logs_requests(self) -> bool:
        """Whether there is a line of log for each request."""
        return self.access_log or self.log_format == "json"


def _check_origin(origin: str) -> None:
    found = urlsplit(origin)
    if origin != "*" and (
        found.scheme not in ("http", "https") or f"{found.scheme}://{found.netloc}" != origin
    ):
        raise ConfigError(
            f"expected an origin such as https://example.org, or *, for --cors, found {origin!r}: "
            "it has a scheme and a host, no path and no slash at its end"
        )
