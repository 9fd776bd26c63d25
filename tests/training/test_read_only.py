"""Runs that somebody lends, on a disk that can only be read: a finished one is left alone there."""

from tests.small_disk import only_read


def test_a_finished_run_needs_nothing_to_be_written(student, tmp_path, monkeypatch):
    assert student()[0] == 0
    only_read(monkeypatch, tmp_path)
    code, err = student()
    assert code == 0 and "already trained, nothing to do" in err
    (student.run / "student.json").unlink()
    code, err = student()
    assert code == 1 and "read-only file system" in err.lower()


def test_a_finished_run_is_left_as_it_is(student):
    """No record is written anew."""
    assert student()[0] == 0
    before = {path: path.stat().st_mtime_ns for path in student.run.rglob("*")}
    assert student()[0] == 0
    assert {path: path.stat().st_mtime_ns for path in student.run.rglob("*")} == before
