"""What columns of Arrow tables hold, and their values; of a text that is not UTF-8 its other characters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from distillkit.errors import SourceError


def rows_of(batch: pa.RecordBatch) -> list[dict[str, Any]]:
    """The rows as Python sees them. Bytes that are not UTF-8 are surrogates (see `_lines.is_text`)."""
    try:
        return batch.to_pylist()
    except UnicodeDecodeError:
        columns = [_escaped(column) for column in batch.columns]
        return [dict(zip(batch.schema.names, values, strict=True)) for values in zip(*columns, strict=True)]


def _escaped(column: pa.Array) -> list[Any]:
    try:
        return column.to_pylist()
    except UnicodeDecodeError:
        column = column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
        kind = pa.list_(pa.binary()) if _is_list(column.type) else pa.binary()
        return [_text(value) for value in column.cast(kind).to_pylist()]


def _text(value: Any) -> Any:
    if isinstance(value, list):
        return [_text(one) for one in value]
    return value if value is None else value.decode("utf-8", "surrogateescape")


def holds_texts(kind: pa.DataType) -> bool:
    """Strings, or lists of them."""
    return is_text_type(kind) or (_is_list(kind) and is_text_type(kind.value_type))


def holds_keys(kind: pa.DataType) -> bool:
    return is_text_type(kind) or pa.types.is_integer(kind)


def is_text_type(kind: pa.DataType) -> bool:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def holds_labels(kind: pa.DataType) -> bool:
    """Which values of it are class numbers, the plan finds out."""
    return is_text_type(kind) or any(
        fits(kind) for fits in (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean, pa.types.is_null)
    )


def _is_list(kind: pa.DataType) -> bool:
    return pa.types.is_list(kind) or pa.types.is_large_list(kind)


def _is_bytes(kind: pa.DataType) -> bool:
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind)


def holds_images(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        fields = {kind.field(at).name: kind.field(at).type for at in range(kind.num_fields)}
        # Where all rows of a file are paths, their bytes have no type of their own there.
        known = "bytes" in fields and (_is_bytes(fields["bytes"]) or pa.types.is_null(fields["bytes"]))
        path = fields.get("path", pa.string())
        return known and (is_text_type(path) or pa.types.is_null(path))
    return _is_bytes(kind) or is_text_type(kind)


_FITS = {
    "image_column": holds_images,
    "text_column": holds_texts,
    "label_column": holds_labels,
    "key_column": holds_keys,
}


def refuse_unfit(where: str, schema: pa.Schema, columns: Mapping[str, str | None]) -> None:
    """SourceError for a column that is missing, or holds what it cannot be taken for. `columns`: by their knobs."""
    for knob, column in columns.items():
        if column is None:
            continue
        if column not in schema.names:
            raise SourceError(f"{where}: no column {column!r}; {_other(schema, knob)}")
        kind = schema.field(column).type
        # A column that is null in all rows of a file has no type of its own there.
        if not (_FITS[knob](kind) or pa.types.is_null(kind)):
            raise SourceError(
                f"{where}: column {column!r} is of type {kind!s:.80}; it cannot be source.{knob}; "
                f"{_other(schema, knob)}"
            )


def _other(schema: pa.Schema, knob: str) -> str:
    """The columns that could be what `knob` means; where there are none, all of them."""
    fit = [one.name for one in schema if _FITS[knob](one.type)]
    if fit:
        return f"set source.{knob} to one of: {', '.join(fit)}"
    return f"none of its columns can: {', '.join(f'{one.name} ({one.type!s:.80})' for one in schema)}"
