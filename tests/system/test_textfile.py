from distillkit.system.textfile import lines_of


def test_a_line_feed_ends_a_line_and_nothing_else_does():
    odd = "a\u2028b\x85c\x0bd\x0ce\x1cf\rg"
    assert lines_of(f"\ufeff{odd}\r\nsecond\n\nlast".encode()) == [odd, "second", "", "last"]
    assert lines_of(b"one\n") == ["one"] and lines_of(b"") == []
