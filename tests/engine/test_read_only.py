"""Stores that somebody lends, on a disk that can only be read: a finished one is left alone there."""

from tests.small_disk import only_read


def test_a_finished_store_needs_nothing_to_be_written(extract, stores, tmp_path, monkeypatch):
    assert extract()[0] == 0
    only_read(monkeypatch, tmp_path)
    code, err = extract()
    assert code == 0 and err.count("already complete") == 2, err
    (stores / "texts/manifest.json").unlink()
    (stores / "texts/commits/00001.json").unlink()
    code, err = extract()
    assert code == 1 and "loading" not in err and "or name another place" in err.splitlines()[-1], err
