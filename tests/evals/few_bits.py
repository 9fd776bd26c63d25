"""Grey PNGs of few bits, which Pillow reads and does not write."""

import struct
import zlib
from pathlib import Path

import numpy as np


def write_grey(path: Path, numbers: np.ndarray, bits: int) -> None:
    """`numbers`: [height, width], each below 2 ** bits."""
    packed = [np.packbits((row[:, None] >> np.arange(bits)[::-1]) & 1) for row in numbers]
    header = struct.pack(">IIBBBBB", numbers.shape[1], numbers.shape[0], bits, 0, 0, 0, 0)
    parts = [(b"IHDR", header), (b"IDAT", zlib.compress(b"".join(b"\0" + row.tobytes() for row in packed)))]
    with path.open("wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n")
        for name, body in [*parts, (b"IEND", b"")]:
            file.write(struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)))
