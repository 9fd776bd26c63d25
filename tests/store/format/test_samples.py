"""What a source of one's own gives in the place of samples is one line that shows it, before a row is planned."""

import re
from collections import namedtuple

import pytest

from distillkit.errors import SourceError
from distillkit.store.format.plan import make_plan
from distillkit.types import Sample


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (None, "the source: gives None, no sample; let it yield distillkit.types.Sample"),
        (("k", "a.png"), "the source: gives ('k', 'a.png'), no sample"),
        ({"key": "k"}, "the source: gives {'key': 'k'}, no sample"),
        (Sample(None, "a.png"), "the source: the key of a sample is None; let it be a str"),
        (Sample(7, "a.png"), "the source: the key of a sample is 7"),
        (Sample("k\udcff"), "the source: the key of a sample is 'k\\udcff'"),
        (Sample("k", text=5), "the source: the text of a sample is 5"),
        (Sample("k", text="t\udcff"), "the source: the text of a sample is 't\\udcff'"),
        (Sample(b"\xff"), "the source: the key of a sample is b'\\xff'"),
    ],
)
def test_what_is_no_sample_is_shown(given, told):
    with pytest.raises(SourceError, match=re.escape(told)) as refused:
        make_plan([Sample("first", text="good"), given], None)
    assert "\n" not in str(refused.value)


def test_rows_with_the_parts_of_a_sample_are_taken_for_it():
    row = namedtuple("row", "key image text label")
    plan, _ = make_plan([row("a", "a.png", "one", 3)], None)
    assert plan.to_pylist()[0] | {"key": "a", "image": "a.png", "text": "one", "label": 3} == plan.to_pylist()[0]


def test_texts_of_any_language_and_keys_as_utf8_bytes_are_planned():
    plan, _ = make_plan([Sample("größe", text="猫"), Sample("größer".encode())], None)
    assert plan["key"].to_pylist() == ["größe", "größer"] and plan["text"].to_pylist() == ["猫", None]
