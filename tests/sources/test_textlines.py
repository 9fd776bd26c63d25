import random

import pytest

from distillkit.errors import SourceError
from distillkit.sources.textlines import TextLines
from distillkit.store.format.plan import make_plan


def example(folder):
    (folder / "texts.txt").write_text("a cat\na dog\na café — 文\n")
    return {"file": str(folder / "texts.txt")}


def read(folder, content):
    (folder / "texts.txt").write_bytes(content if isinstance(content, bytes) else content.encode())
    return list(TextLines(file=str(folder / "texts.txt")))


def texts(folder, content):
    return [sample.text for sample in read(folder, content)]


def test_blank_lines_marks_and_line_ends_are_no_content(tmp_path):
    assert texts(tmp_path, "\ufeffa cat\r\n\r\n \t \n  a dog  \n\n\na bird") == ["a cat", "a dog", "a bird"]


def test_only_a_line_feed_ends_a_line(tmp_path):
    assert texts(tmp_path, "one\rtwo\x0bthree\u2028four\x85five\n") == ["one\rtwo\x0bthree\u2028four\x85five"]


def test_a_sentence_that_comes_twice_is_planned_once(tmp_path):
    plan, duplicates = make_plan(read(tmp_path, "a cat\na dog\na cat \na cat\n"), None)
    assert plan["text"].to_pylist() == ["a cat", "a dog"] and duplicates == 2


def test_another_order_gives_the_same_keys(tmp_path):
    lines = [f"sentence {n}" for n in range(20)]
    first = {sample.text: sample.key for sample in read(tmp_path, "\n".join(lines))}
    random.Random(0).shuffle(lines)
    assert {sample.text: sample.key for sample in read(tmp_path, "\n".join(lines))} == first
    assert len(set(first.values())) == 20


def test_what_is_not_utf_8_is_named_by_its_line(tmp_path):
    with pytest.raises(SourceError, match=r"texts\.txt: not one caption .* texts\.txt:1: not UTF-8; convert"):
        read(tmp_path, b"caf\xe9\n\xe9\n")
    bad, fine = read(tmp_path, b"caf\xe9\nfine\n")
    assert fine.text == "fine"
    assert (bad.key, bad.text, bad.image) == ("texts.txt:1", None, "?texts.txt:1: not UTF-8")


def test_an_empty_file_makes_no_plan(tmp_path):
    with pytest.raises(SourceError, match=r"texts\.txt: empty, there is no line with a text"):
        make_plan(read(tmp_path, "\n\n"), None)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(SourceError, match=r"absent: no such file; mend source\.file"):
        TextLines(file=str(tmp_path / "absent"))
