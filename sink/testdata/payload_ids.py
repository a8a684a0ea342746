"""Recomputes the payload IDs of TestPayloadIDsAreFrozen, independently of the program.

Run it with Python 3 and compare its output with the test. It requires only the standard library.
"""

import hashlib
import uuid

MASK = (1 << 64) - 1
P1, P2, P3, P4, P5 = (
    0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5,
)


def rotate(x, n):
    return (x << n | x >> (64 - n)) & MASK


def mix(word):
    return rotate(word * P2 & MASK, 31) * P1 & MASK


def xxh64(data):
    """Return the XXH64 of data with seed 0. data must be shorter than 32 bytes."""
    assert len(data) < 32
    h = P5 + len(data) & MASK
    while len(data) >= 8:
        h = (rotate(h ^ mix(int.from_bytes(data[:8], "little")), 27) * P1 + P4) & MASK
        data = data[8:]
    if len(data) >= 4:
        h = (rotate(h ^ int.from_bytes(data[:4], "little") * P1 & MASK, 23) * P2 + P3) & MASK
        data = data[4:]
    for byte in data:
        h = rotate(h ^ byte * P5 & MASK, 11) * P1 & MASK
    h = (h ^ h >> 33) * P2 & MASK
    h = (h ^ h >> 29) * P3 & MASK
    return h ^ h >> 32


def text(s):
    """Encode s, preceded by its length. The length must be below 128, so that it fits in one byte."""
    assert len(s) < 128
    return bytes([len(s)]) + s.encode()


def number(n, size):
    return n.to_bytes(size, "big", signed=n < 0)


def payload_id(destination, low, high, body, topic_id=bytes([1, 2, 3, *[0] * 12, 16]), epoch=5):
    name = (
        text("segment-to-launchdarkly") + text("segment") + topic_id + number(7, 4) + number(epoch, 4)
        + number(40, 8) + number(43, 8) + text(destination) + number(low, 8) + number(high, 8) + number(xxh64(body), 8)
    )
    # uuid.uuid5 accepts bytes only in Python 3.12 or later.
    namespace = uuid.UUID("7d1f3b52-6f0c-5a55-9d0e-3c1b6a0f2e84")
    return uuid.UUID(bytes=hashlib.sha1(namespace.bytes + name).digest()[:16], version=5)


WHOLE, LEFT, RIGHT = b'[{"a":1},{"a":2},{"a":3}]', b'[{"a":1}]', b'[{"a":2},{"a":3}]'
for destination in "client_side/5f0c1d2e3b4a59687766554f", "metric_import/sample-project/test":
    print(destination)
    print(payload_id(destination, 0, 3, WHOLE), "whole")
    print(payload_id(destination, 0, 1, LEFT), "left half")
    print(payload_id(destination, 1, 3, RIGHT), "right half")
    print(payload_id(destination, 0, 3, WHOLE, bytes(16), -1), "whole, topic ID and epoch unknown")
