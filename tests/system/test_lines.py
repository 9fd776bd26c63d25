"""Logs: whole lines come back, whatever a kill or a power cut left of the others."""

import json

import pytest

from distillkit.system.lines import append_line, keep_lines, read_lines, settle


def test_a_log_grows_by_lines(tmp_path):
    append_line(tmp_path / "log.jsonl", {"a": 1})
    append_line(tmp_path / "log.jsonl", {"a": "two\nlines"})
    assert [json.loads(line)["a"] for line in (tmp_path / "log.jsonl").read_text().splitlines()] == [1, "two\nlines"]
    assert read_lines(tmp_path / "log.jsonl") == [{"a": 1}, {"a": "two\nlines"}]


@pytest.mark.parametrize("left", [b'{"a": 2', b'{"a": 2}', b'{"a\0\0\0}', bytes(9), b"[1]", b"\xff{}"])
def test_what_was_cut_off_takes_no_other_line_with_it(tmp_path, left):
    log = tmp_path / "log.jsonl"
    append_line(log, {"a": 1})
    log.write_bytes(log.read_bytes() + left)
    append_line(log, {"a": 3})
    whole = [2] if left == b'{"a": 2}' else []
    assert [line["a"] for line in read_lines(log)] == [1, *whole, 3]
    keep_lines(log, lambda line: line["a"] > 1)
    assert [line["a"] for line in map(json.loads, log.read_text().splitlines())] == [*whole, 3]


def test_no_log_has_no_lines(tmp_path):
    settle(tmp_path / "log.jsonl")
    keep_lines(tmp_path / "log.jsonl", lambda line: True)
    assert read_lines(tmp_path / "log.jsonl") == [] and not list(tmp_path.iterdir())
