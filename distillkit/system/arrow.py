"""Tables of Arrow files, of which nobody knows who wrote them, or what has become of them since.

Such a file is memory as it lies: where its offsets point anywhere, who follows them ends in a segmentation fault. So
they are looked at before anybody does (https://arrow.apache.org/docs/format/Security.html).
"""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pyarrow as pa

from distillkit.system.opening import blame_the_file


def table_at(path: Path, schema: pa.Schema | None = None, mapped: bool = True) -> pa.Table:
    """The table of a file, `mapped` or read. OSError, ArrowException as `table_of`.

    A file is read, too, where the system maps no more of them for this process.
    """
    try:
        source = pa.memory_map(str(path)) if mapped else pa.py_buffer(path.read_bytes())
    except OSError as error:
        if error.errno != errno.ENOMEM:
            raise
        source = pa.py_buffer(path.read_bytes())
    return table_of(source, schema, path)


def table_of(source: Any, schema: pa.Schema | None = None, place: object = "a file of Arrow") -> pa.Table:
    """The table of an open file or a buffer. NotNow where no thread can be started, with which Arrow reads;
    ArrowException where it is none, or where what it holds is no table:
    offsets beyond its values, texts that are not UTF-8; and where it has not the columns of `schema`, of their types,
    or nothing where `schema` has something in every row.
    """
    try:
        table = pa.ipc.open_file(source).read_all()
    except pa.ArrowException as error:
        blame_the_file(error, place)  # who takes it for a damaged one has it deleted
        raise
    table.validate(full=True)
    return table if schema is None else _as_asked(table, schema)


def _as_asked(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """In the schema's order, and all columns such as may have nulls: tables of several files are put together."""
    if {(field.name, field.type) for field in table.schema} != {(field.name, field.type) for field in schema}:
        raise pa.ArrowInvalid("other columns, or of other types")
    if len(table.schema) != len(schema):
        raise pa.ArrowInvalid("a column twice")
    for field in schema:
        if not field.nullable and table[field.name].null_count:
            raise pa.ArrowInvalid(f"nothing in some rows of {field.name!r}")
    nullable = pa.schema([field.with_nullable(True) for field in schema])
    return pa.Table.from_arrays([table[field.name] for field in schema], schema=nullable)
