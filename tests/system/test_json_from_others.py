"""JSON that anybody may have written: a value, or a ValueError that a reader makes a line of."""

import pytest

from distillkit.system.atomic import as_json, parsed_json


def test_what_is_written_is_read():
    assert parsed_json(as_json({"a": [1, None, "é"]})) == {"a": [1, None, "é"]}


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"\xff", b"[" * 200_000, b'{"a":' * 200_000, '{"a":[' * 200_000],
    ids=["nothing", "half", "no text", "lists", "tables", "both"],
)
def test_what_is_no_json_is_a_value_error(content):
    """However deep it is nested: Python has an error of its own for that, which nobody expects."""
    with pytest.raises(ValueError):
        parsed_json(content)
