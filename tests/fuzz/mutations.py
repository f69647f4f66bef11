"""Ways in which a file comes to harm, each a function of a random draw."""

from __future__ import annotations

import gzip
import io
import json
import random
import re
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from typing import Any

Mutate = Callable[[random.Random, bytes], bytes]

NUMBERS = (
    b"-1", b"0", b"1e999", b"NaN", b"-Infinity", b"1e308", b"2147483648", b"9223372036854775807",
    b"18446744073709551616", b"99999999999999999999999999", b"0.5", b"true", b"null", b'""', b"[]",
    b"{}", b'"\\ud800"', b'"\\u0000"', b'"../../etc/passwd"',
)  # fmt: skip
WORDS = (
    b"\0", b"\xff\xfe", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\x1b[31m", b'"', b",", b"\n", b"\r\n",
    b"\t", b"[" * 3000, b"{" * 3000, b"a" * 70_000, b"=" * 3, b"%s%n", b"../" * 9, b"\xc2\x85",
)  # fmt: skip
VALUES: tuple[Any, ...] = (
    None, True, -1, 0, 0.5, 1e308, float("nan"), float("inf"), 2**31, 2**63, 2**70, "", "x", "\0",
    "\ud800", "\udcff", [], {}, [[]], [1, 2], ["a", "a"], {"a": 1}, [None] * 9, "a" * 5000,
)  # fmt: skip
"""What a field of a record is replaced by."""


def flip(draw: random.Random, data: bytes) -> bytes:
    """Some bits are turned, half of the times only near the begin."""
    broken = bytearray(data)
    end = len(broken) if draw.random() < 0.5 else min(len(broken), 128)
    for _ in range(draw.choice((1, 1, 2, 4, 30))):
        broken[draw.randrange(end)] ^= 1 << draw.randrange(8)
    return bytes(broken)


def cut(draw: random.Random, data: bytes) -> bytes:
    """The end is missing."""
    return data[: draw.randrange(len(data))]


def move(draw: random.Random, data: bytes) -> bytes:
    """A part is lost, comes twice, or stands elsewhere."""
    start = draw.randrange(len(data))
    part = data[start : start + draw.choice((1, 4, 17, 300))]
    rest = data if draw.random() < 0.4 else data[:start] + data[start + len(part) :]
    at = draw.randrange(len(rest) + 1)
    return rest if draw.random() < 0.3 else rest[:at] + part + rest[at:]


def fill(draw: random.Random, data: bytes) -> bytes:
    """A field holds an extreme number in binary, or noise."""
    broken, size = bytearray(data), draw.choice((1, 2, 4, 8))
    at = draw.randrange(max(1, min(len(data), draw.choice((64, 600, len(data))))))
    broken[at : at + size] = draw.choice(
        (b"\xff" * size, b"\0" * size, b"\x7f" + b"\xff" * (size - 1), draw.randbytes(size))
    )
    return bytes(broken)


def number(draw: random.Random, data: bytes) -> bytes:
    """A number in the text is another, or none."""
    found = list(re.finditer(rb"-?\d+(\.\d+)?", data[: 1 << 16]))
    if not found:
        return fill(draw, data)
    one = draw.choice(found)
    return data[: one.start()] + draw.choice(NUMBERS) + data[one.end() :]


def word(draw: random.Random, data: bytes) -> bytes:
    """Something that no writer expects stands in the text."""
    at = draw.randrange(len(data) + 1)
    return data[:at] + draw.choice(WORDS) + data[at:]


ANY: tuple[Mutate, ...] = (flip, cut, move, fill, number, word)


def any_way(draw: random.Random, data: bytes) -> bytes:
    """One way or two, whatever the file is."""
    for _ in range(draw.choice((1, 1, 2))):
        data = draw.choice(ANY)(draw, data) or b"x"
    return data


def change_record(draw: random.Random, record: Any) -> Any:
    """One value in a record is replaced, removed, or comes under another name."""
    node = record
    while True:
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        if not keys:
            return draw.choice(VALUES)
        key = draw.choice(keys)
        inner = node[key]
        if isinstance(inner, dict | list) and inner and draw.random() < 0.7:
            node = inner
            continue
        if draw.random() < 0.2:
            del node[key]
        elif draw.random() < 0.1 and isinstance(node, dict):
            node[str(draw.choice(VALUES))] = node.pop(key)
        else:
            node[key] = draw.choice(VALUES)
        return record


def json_lines(draw: random.Random, data: bytes) -> bytes:
    """One value of one line is replaced."""
    lines = data.splitlines()
    at = draw.randrange(len(lines))
    lines[at] = json.dumps(change_record(draw, json.loads(lines[at]))).encode()
    return b"\n".join(lines)


def safetensors(draw: random.Random, data: bytes) -> bytes:
    """The head, or the record of ours in it, is changed and still has the right length."""
    (length,) = struct.unpack("<Q", data[:8])
    head = json.loads(data[8 : 8 + length])
    about = head.get("__metadata__", {})
    if "softonce" in about and draw.random() < 0.7:
        about["softonce"] = json.dumps(change_record(draw, json.loads(about["softonce"])))
    else:
        change_record(draw, head)
    text = json.dumps(head).encode()
    return struct.pack("<Q", len(text)) + text + data[8 + length :]


def tensor_values(draw: random.Random, data: bytes) -> bytes:
    """The numbers behind the head are others; the head is whole."""
    (length,) = struct.unpack("<Q", data[:8])
    start = 8 + length
    return data[:start] + (flip(draw, data[start:]) if len(data) > start else b"")


def tar(draw: random.Random, data: bytes) -> bytes:
    """A header is changed, and its checksum is right."""
    broken = bytearray(data)
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        start = draw.choice([member.offset for member in archive])
    if draw.random() < 0.4:  # the size, in base 256
        size = draw.choice((-1, -1024, 2**40, 2**63, 2**80, draw.randrange(4000)))
        broken[start + 124 : start + 136] = (size % 2**96 | 0x80 << 88).to_bytes(12, "big")
    else:
        field, size = draw.choice(((0, 100), (124, 12), (156, 1), (157, 100), (257, 8), (345, 155)))
        at = start + field + draw.randrange(size)
        value = draw.choice((b"/", b"..", b"\xff", b"7", b"x", b"L", b"S", b"g", draw.randbytes(2)))
        broken[at : at + len(value)] = value
    header = broken[start : start + 512]
    total = 256 + sum(header[:148]) + sum(header[156:])
    broken[start + 148 : start + 156] = b"%06o\0 " % total
    return bytes(broken)


def png(draw: random.Random, data: bytes) -> bytes:
    """A chunk is changed, and its checksum is right."""
    chunks, at = [], 8
    while at < len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        chunks.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + length]))
        at += 12 + length
    number = draw.randrange(len(chunks))
    kind, body = chunks[number]
    chunks[number] = (kind, draw.choice((flip, fill, cut))(draw, body) if body else b"x")
    if draw.random() < 0.2:
        chunks.insert(number, (draw.choice((b"zTXt", b"iCCP", b"tRNS", b"eXIf", b"acTL")), body))
    return data[:8] + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    )


def gz(draw: random.Random, data: bytes) -> bytes:
    """What is packed is changed; the packing is whole."""
    return gzip.compress(any_way(draw, gzip.decompress(data)), 1)


def zipped(draw: random.Random, data: bytes) -> bytes:
    """A member is changed, or comes under another name; the archive is whole."""
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(made, "w") as new:
        names = old.namelist()
        # What describes the others is small, and read first.
        chosen = draw.choice([n for n in names if old.getinfo(n).file_size < 5000] or names)
        for name in names:
            content = old.read(name)
            if name == chosen and content:
                content = _json_or_bytes(draw, content)
            new.writestr(
                "x/../" + name if name == chosen and draw.random() < 0.05 else name, content
            )
    return made.getvalue()


def _json_or_bytes(draw: random.Random, content: bytes) -> bytes:
    try:
        record = json.loads(content)
    except ValueError:
        return any_way(draw, content)
    if not isinstance(record, dict | list) or draw.random() < 0.3:
        return any_way(draw, content)
    return json.dumps(change_record(draw, record)).encode()
