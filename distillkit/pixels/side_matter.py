"""What lies beside the pixels of a PNG or JPEG: texts, profiles, previews, numbers of a camera. No network sees any of
it, so none of it may cost a picture: where a file cannot be decoded as it is, it is decoded without.

https://www.w3.org/TR/png-3/ (a chunk whose type begins with a small letter is ancillary),
https://www.w3.org/Graphics/JPEG/itu-t81.pdf (annex B.1.1: markers)
"""

from __future__ import annotations

import io
import struct
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path

_PNG, _JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8"
# Ancillary, but pixels: which of them are transparent. How the picture was held is in the second.
_TRANSPARENCY, _HELD = b"tRNS", b"eXIf"
# Camera data may be in texts, too, that are called so (Pillow's Image.getexif).
_TEXTS, _CAMERA_TEXTS = (b"tEXt", b"zTXt", b"iTXt"), (b"exif", b"xmp", b"Raw profile type exif", b"XML:com.adobe.xmp")
_LONGEST_NAME = 80  # bytes of a text, with the zero behind it
# JFIF and Adobe's segment say what the colours are; camera data may say how the picture was held.
_JFIF, _ADOBE, _CAMERA, _COMMENT, _SCAN = 0xE0, 0xEE, 0xE1, 0xFE, 0xDA

_here = threading.local()


def drop() -> None:
    """Note that side matter was left out of a picture that was decoded here, in this thread."""
    _here.dropped = True


def was_dropped() -> bool:
    """Whether it was since the last question, in this thread."""
    dropped, _here.dropped = getattr(_here, "dropped", False), False
    return dropped


def without(data: bytes) -> Iterator[bytes]:
    """A PNG or JPEG without its side matter, but for how the picture was held; then without that, too.

    Nothing where it is none, or is cut off before its pixels end. The bytes of the pixels stay as they are.
    """
    parts = _png_parts if data.startswith(_PNG) else _jpeg_parts if data.startswith(_JPEG) else None
    for keep_held in (True, False) if parts else ():
        try:
            yield b"".join(parts(data, keep_held))  # type: ignore[misc]
        except (struct.error, IndexError):
            return


def may_be_turned(png: io.BytesIO | Path) -> bool:
    """Whether a PNG has a part that may say how the picture was held: camera data, be it in a text. No pixel is read.

    OSError or struct.error where it is cut off.
    """
    with png.open("rb") if isinstance(png, Path) else io.BytesIO(png.getbuffer()) as file:
        file.seek(len(_PNG))
        while True:
            length, kind = struct.unpack(">I4s", file.read(8))
            begin = file.read(min(length, _LONGEST_NAME))
            if kind == _HELD or (kind in _TEXTS and begin.partition(b"\0")[0] in _CAMERA_TEXTS):
                return True
            if kind == b"IEND":
                return False
            file.seek(length - len(begin) + 4, io.SEEK_CUR)


def _png_parts(data: bytes, keep_held: bool) -> Iterator[bytes]:
    yield _PNG
    at = len(_PNG)
    while at < len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        if end > len(data):
            raise IndexError("cut off")
        chunk = data[at:end]
        if kind == b"IEND":
            yield struct.pack(">I4sI", 0, kind, zlib.crc32(kind))  # the mark of the end is no pixel, either
            return
        ancillary = bool(kind[0] & 0x20)
        if not ancillary or kind == _TRANSPARENCY or (kind == _HELD and keep_held):
            yield chunk
        at = end


def _jpeg_parts(data: bytes, keep_held: bool) -> Iterator[bytes]:
    yield _JPEG
    at = len(_JPEG)
    while True:
        fill, marker = data[at], data[at + 1]
        if fill != 0xFF:
            raise IndexError("no marker where one belongs")
        if marker == 0xFF:
            at += 1
            continue
        if marker == _SCAN:
            yield data[at:]
            return
        end = at + 2 + struct.unpack_from(">H", data, at + 2)[0]
        aside = (0xE0 <= marker <= 0xEF and marker not in (_JFIF, _ADOBE)) or marker == _COMMENT
        held = marker == _CAMERA and data[at + 4 : at + 10] == b"Exif\0\0"
        if not aside or (held and keep_held):
            yield data[at:end]
        at = end
