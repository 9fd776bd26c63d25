"""The mining part of docs/scaling.md, and its picture, are what the result file makes them."""

import json

from tests.bench.scaling import BEGIN, PAGE, PICTURE, RESULT, measured, page, picture, section

ROWS = [
    {"name": "index of 1,000 texts by pq / exact mining of as many", "ours": 50.0, "theirs": 500.0, "unit": "s"},
    {
        "name": "mining 1,000 texts by pq at recall >= 0.965 / exact",
        "ours": 60.0,
        "theirs": 10.0,
        "unit": "q/s (recall 0.9700)",
    },
    {"name": "index of 100 texts by pq / exact mining of as many", "ours": 5.0, "theirs": 9.0, "unit": "s"},
    {
        "name": "mining 100 texts by pq at recall >= 0.965 / exact",
        "ours": 90.0,
        "theirs": 80.0,
        "unit": "(recall 0.9800)",
    },
]
TOY = {"rows": ROWS, "machine": {"cpu": "a cpu", "cores": 2}, "load": 0.5, "date": "2026-01-01"}


def test_by_hand():
    """40 M x 28.4 M at 10 x 1,000 scores a second is 113.6e9 s; six times that, and 50 s to build a thousand rows."""
    assert [line.texts for line in measured(TOY)] == [1000, 100]
    told = section(TOY)
    assert "| 1,000 | 10 | pq | 0.970 | 60 | 6.0 | 50 s |" in told
    assert "1,314,815 days" in told and "219,152 days" in told
    assert picture(TOY).count("<polyline") == 3


def test_a_page_keeps_what_others_wrote():
    once = page("# Title\n\nengine\n", TOY)
    assert page(once, TOY) == once and once.startswith("# Title\n\nengine\n")


def test_the_page_is_what_was_measured():
    """Before the first full run there is neither a result nor a part of the page."""
    if not RESULT.is_file():
        assert not PICTURE.is_file() and not (PAGE.is_file() and BEGIN in PAGE.read_text())
        return
    result = json.loads(RESULT.read_bytes())
    assert page(PAGE.read_text(), result) == PAGE.read_text() and picture(result) == PICTURE.read_text()
