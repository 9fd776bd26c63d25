"""The line of a shard is in the log before the shard is there: reports tell by it how the neighbours were mined."""

import shutil

import pytest

from distillkit.mine import mine_here
from distillkit.store.format.log import MINED, mined_of, unasked
from distillkit.store.reading.selection import select
from distillkit.store.writing.writer import StoreWriter
from distillkit.system.lines import read_lines
from distillkit.testing.promise import must
from tests.faults.check import Recording
from tests.faults.mining_jobs import Mined
from tests.mining.test_mine import recipe

SENTENCE = "A writer must make the line durable before the shard's commit"


def shards_told(addition):
    return [line["shard"] for line in read_lines(addition / MINED)]


class Told(Mined):
    """Mining, of whose shards each has its line whenever it is there."""

    def look(self, folder):
        super().look(folder)
        addition = folder / "images/added/neighbours"
        there = {int(path.stem) for path in addition.glob("commits/*.json") if path.stat().st_size}
        must(SENTENCE, there <= set(shards_told(addition)))


def test_after_a_power_cut_no_shard_is_there_without_its_line(tmp_path):
    (tmp_path / "disk").mkdir()
    assert Recording.of(Told(), tmp_path / "disk").check_some(0, 40) > 30


class Killed(BaseException):
    pass


@pytest.mark.parametrize("when", ["before", "behind"])
def test_killed_about_a_commit_each_shard_is_told(images, texts, tmp_path, monkeypatch, when):
    """Rows that are outside of a view count once, also of a shard that was told, and not committed, before."""
    select(images.path, images.ok_rows[:100], tmp_path / "view")
    asked, real = recipe(images, texts, queries=str(tmp_path / "view")), StoreWriter.commit

    def killing(self, shard, *rest):
        if when == "before" and shard == 1:
            raise Killed
        real(self, shard, *rest)
        if shard == 1:
            raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(StoreWriter, "commit", killing)
        with pytest.raises(Killed):
            mine_here(asked, 1, lambda line: None)
    addition = images.path / "added/neighbours"
    mine_here(asked, 1, lambda line: None)
    assert set(shards_told(addition)) == set(range(5)) and mined_of(addition) == tmp_path / "view"
    told = unasked(addition)
    shutil.rmtree(addition)
    mine_here(asked, 1, lambda line: None)
    assert told == unasked(addition) > 0
