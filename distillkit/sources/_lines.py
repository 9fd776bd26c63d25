"""Lines of a text file, plain or packed (.gz, .zst; Arrow unpacks them, and notices when their end is missing)."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

import pyarrow as pa

from distillkit.errors import SourceError

# No caption is as long; a small packed file may well unpack to one line that fills the memory.
_LONGEST = 64 * 2**20


def numbered_lines(file: Path) -> Iterator[tuple[int, str]]:
    """Each line with its number from 1. Only a line feed ends a line: captions may hold a CR or stranger characters."""
    number = 0
    try:
        with _opened(file) as lines:
            for number, line in enumerate(iter(lambda: lines.readline(_LONGEST), b""), start=1):
                if len(line) == _LONGEST:
                    raise SourceError(f"{file}:{number}: a line of more than {_LONGEST} bytes; is this a text file?")
                yield number, line.decode("utf-8-sig" if number == 1 else "utf-8")
    except UnicodeDecodeError as error:
        raise SourceError(f"{file}:{number}: not UTF-8 ({error.reason}); convert the file") from error
    except OSError as error:
        raise SourceError(f"{file}: cannot be read after line {number} ({error}); fetch it again") from error


def _opened(file: Path) -> BinaryIO:
    if file.suffix in (".gz", ".zst"):
        return cast(BinaryIO, io.BufferedReader(pa.input_stream(file, compression="detect"), 2**16))
    return file.open("rb")
