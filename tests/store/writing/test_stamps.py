"""What is kept of an image's file, to know it again."""

from pathlib import Path

import pytest

from distillkit.store.writing import stamps


@pytest.mark.parametrize("small", [10, 1])
def test_a_large_file_is_known_by_the_same_and_stays_where_it_is(tmp_path, monkeypatch, small):
    path = tmp_path / "a.png"
    path.write_bytes(b"abcd")
    whole = stamps.read_stamped(path)[1]
    monkeypatch.setattr(stamps, "_SMALL", small)
    data, stamp = stamps.read_stamped(path)
    assert stamp == whole and stamp.bytes == 4 and stamp.time == path.stat().st_mtime_ns
    assert data == (path if small < 4 else b"abcd")


def test_what_cannot_be_read_has_no_stamp(tmp_path):
    assert stamps.read_stamped(tmp_path / "absent.png") is None
    assert stamps.read_stamped(Path(tmp_path)) is None
