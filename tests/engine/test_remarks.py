"""What the manifest tells of the log is durable before the shard that it is told of: a kill changes no remark."""

from contextlib import contextmanager

import pytest

from distillkit.engine import successor
from distillkit.engine.append import append
from distillkit.extract import extract
from distillkit.store.format.log import FILE_NAME, logged
from distillkit.store.format.manifest import Manifest
from distillkit.store.writing.writer import StoreWriter
from distillkit.system.lines import append_line
from tests.faults import world
from tests.faults.check import Recording
from tests.faults.extraction_jobs import Appended, Extracted, Retried
from tests.faults.world import recipe, squares

REMARK = "texts cut to what the teacher reads"


class Killed(BaseException):
    pass


@pytest.fixture(autouse=True)
def cutting(monkeypatch):
    """A teacher that tells how many texts it cut, as those of open_clip do."""
    monkeypatch.setattr(world.Colour, "cut", lambda self, texts, lengths=None: len(texts), raising=False)


@pytest.mark.long
@pytest.mark.parametrize("job", [Extracted, Appended, Retried])
def test_after_a_power_cut_the_manifest_is_that_of_an_undisturbed_run(job, tmp_path):
    (tmp_path / "disk").mkdir()
    assert Recording.of(job(), tmp_path / "disk").check_some(0, 40) > 30


@pytest.fixture
def store(tmp_path, monkeypatch):
    """100 squares in two shards, then a run that may be killed just before, or just behind, a commit."""
    corpus, place = squares(tmp_path / "corpus", 100), tmp_path / "recipe.toml"
    place.write_text(recipe(tmp_path / "out", corpus, {"one": 1.0}, ["one/text"]))
    commit, kills = StoreWriter.commit, {}

    def killing(self, shard, *rest):
        if kills.get("before") == shard:
            raise Killed
        commit(self, shard, *rest)
        if kills.get("behind") == shard:
            raise Killed

    monkeypatch.setattr(StoreWriter, "commit", killing)

    def run(**options):
        kills.clear()
        kills.update({name: options.pop(name) for name in ("before", "behind") if name in options})
        try:
            extract(place, lambda line: None, **options)
        except Killed:
            return None
        return Manifest.read(tmp_path / "out/images").remarks[REMARK]

    run.corpus, run.store = corpus, tmp_path / "out/images"
    return run


@pytest.mark.usefixtures("quick_disk")
@pytest.mark.parametrize("when", ["before", "behind"])
@pytest.mark.parametrize("shard", [0, 1])
def test_killed_about_a_commit_each_text_counts_once(store, when, shard):
    assert store(**{when: shard}) is None
    assert store() == {"one": 100}


@pytest.mark.usefixtures("quick_disk")
@pytest.mark.parametrize("when", ["before", "behind"])
def test_killed_about_the_border_of_what_grew_each_text_counts_once(store, when):
    store()
    squares(store.corpus, 120)
    assert store(instead=append, **{when: 1}) is None
    assert store(instead=append) == {"one": 120}
    squares(store.corpus, 125)
    assert store(instead=append) == {"one": 125}, "it grew twice within one shard"


@pytest.mark.usefixtures("quick_disk")
def test_half_a_log_is_never_taken_along(store, monkeypatch):
    """Its copy is whole, or not there: then it is copied again."""
    store()
    squares(store.corpus, 120)
    real = successor.atomic_file

    @contextmanager
    def torn(*place, **named):
        with real(*place, **named) as file:
            yield file
            raise Killed

    monkeypatch.setattr(successor, "atomic_file", torn)
    assert store(instead=append) is None
    monkeypatch.setattr(successor, "atomic_file", real)
    assert store(instead=append) == {"one": 120}


def test_rows_that_were_appended_twice_behind_as_many_are_told_once(tmp_path):
    lines = [
        {"shard": 0, "cut": 1},
        {"more_of": 0, "cut": 2},  # of an older version
        {"more_of": 0, "behind": 9, "cut": 3},
        {"more_of": 0, "behind": 9, "cut": 4},
        {"more_of": 0, "behind": 12, "cut": 5},
    ]
    for line in lines:
        append_line(tmp_path / FILE_NAME, line)
    assert [line["cut"] for line in logged(tmp_path)] == [1, 2, 4, 5]
