"""Tables of Arrow files, of which nobody knows who wrote them, or what has become of them since.

Such a file is memory as it lies: where its offsets point anywhere, who follows them ends in a segmentation fault. So
they are looked at before anybody does (https://arrow.apache.org/docs/format/Security.html).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa


def table_at(path: Path) -> pa.Table:
    """The table of a file, mapped. OSError, ArrowException as `table_of`."""
    return table_of(pa.memory_map(str(path)))


def table_of(source: Any) -> pa.Table:
    """The table of an open file or a buffer. ArrowException where it is none, or where what it holds is no table:
    offsets beyond its values, texts that are not UTF-8.
    """
    table = pa.ipc.open_file(source).read_all()
    table.validate(full=True)
    return table
