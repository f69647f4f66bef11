"""What the service writes to standard error: a line for a person, or an object for a machine.

Whatever clients send is written with its control characters escaped, so that no line is forged and
no terminal obeys.
"""

from __future__ import annotations

import json
import logging
import sys
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from softonce.console import LOG
from softonce.console.plain import escape_control

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from softonce.config import ServeConfig

ACCESS = LOG.getChild("access")
"""A record a request; its fields are in `request` of the record."""

_SERVER = logging.getLogger("uvicorn.error")  # has the traces of our mistakes


def describe_request(fields: Mapping[str, Any]) -> str:
    """Return the line of a request.

    Example:
        >>> describe_request({"method": "GET", "path": "/", "status": 200, "seconds": 0.0012,
        ...                   "client": "10.0.0.7", "request_id": "a1"})
        '10.0.0.7 GET / 200 1.2 ms a1'
    """
    milliseconds = f"{1000 * fields['seconds']:.1f} ms"
    words = (fields["client"], fields["method"], fields["path"], fields["status"], milliseconds)
    return escape_control(" ".join(map(str, (*words, fields["request_id"]))))


class _TextFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return f"{_time(record)} {describe_request(vars(record)['request'])}"


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, Any] = {"time": _time(record), "level": record.levelname.lower()}
        if "request" in vars(record):
            fields |= {"event": "request", **vars(record)["request"]}
        else:
            fields |= {"event": "note", "message": record.getMessage().strip()}
        if record.exc_info:
            fields["trace"] = self.formatException(record.exc_info)
        return json.dumps(fields)  # ASCII: every control character is escaped


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")


@contextmanager
def service_logs(config: ServeConfig) -> Iterator[None]:
    """Write what is asked for while the block runs, to standard error."""
    loggers = (LOG, ACCESS, _SERVER) if config.log_format == "json" else (ACCESS,)
    before = [(logger.handlers, logger.propagate) for logger in loggers]
    for logger in loggers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(_JsonFormatter() if config.log_format == "json" else _TextFormatter())
        logger.handlers, logger.propagate = [handler], False
    try:
        yield
    finally:
        for logger, (handlers, propagate) in zip(loggers, before, strict=True):
            logger.handlers, logger.propagate = handlers, propagate
