"""Lines of a text file, plain or packed (.gz, .zst; Arrow unpacks them, and notices when their end is missing)."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import BinaryIO, Literal, cast

import pyarrow as pa

from distillkit.errors import SourceError
from distillkit.sources._places import Place
from distillkit.system.opening import blame_the_file

# No caption is as long; a small packed file may well unpack to one line that fills the memory.
_LONGEST = 64 * 2**20
NumberedLines = Iterator[tuple[int, str]]
_PACKED = {".gz": "gzip", ".zst": "zstd"}


def numbered_lines(place: Place, name: str, errors: Literal["strict", "surrogateescape"] = "strict") -> NumberedLines:
    """Each line, with its end, and its number from 1. Only a line feed ends a line: captions may hold a CR or stranger
    characters. SourceError for bytes that are not UTF-8, unless they are asked for as surrogates (see `is_text`).
    """
    number, where = 0, place.where(name)
    try:
        with _opened(place, name) as lines:
            for number, line in enumerate(iter(lambda: lines.readline(_LONGEST), b""), start=1):
                if len(line) == _LONGEST:
                    raise SourceError(f"{where}:{number}: a line of more than {_LONGEST} bytes; is this a text file?")
                yield number, line.decode("utf-8-sig" if number == 1 else "utf-8", errors)
    except UnicodeDecodeError as error:
        raise SourceError(f"{where}:{number}: not UTF-8 ({error.reason}); convert the file") from error
    except OSError as error:
        blame_the_file(error, where)
        raise SourceError(f"{where}: cannot be read after line {number} ({error}); fetch it again") from error


def _opened(place: Place, name: str) -> BinaryIO:
    packed = _PACKED.get(name[name.rfind(".") :])
    if packed is None:
        return place.open(name)
    return cast(BinaryIO, io.BufferedReader(pa.input_stream(place.open(name), compression=packed), 2**16))


def is_text(line: str) -> bool:
    """Whether it has no halves of characters in it, which stand for bytes that are not UTF-8; no text can hold them."""
    try:
        line.encode()
    except UnicodeEncodeError:
        return False
    return True
