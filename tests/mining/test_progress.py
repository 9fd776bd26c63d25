"""What is said while one waits, with a clock that one can follow in the head."""

from pathlib import Path

import pytest

from distillkit.mining import progress
from distillkit.mining.exact import Exact
from distillkit.mining.found import scaled
from distillkit.mining.vectors import Vectors


def test_a_line_for_every_shard_and_one_every_ten_seconds(monkeypatch):
    clock, said = [0.0], []
    monkeypatch.setattr(progress.time, "perf_counter", lambda: clock[0])
    told = progress.Progress(Path("s"), 2, 5, said.append)
    for clock[0], share in ((4, 0.1), (20, 0.5), (25, 0.6), (40, 1.0)):
        told.within(3, share)
    assert told.took() == 40
    told.finished(3, 80, 5 << 20)
    assert said == [
        "s: shard 4/5, 50 % of its queries, 60 s left",  # a quarter of two shards in 20 s
        "s: shard 4/5, 2 queries/s, memory at most 5 MiB, 40 s left",
    ]


@pytest.mark.parametrize("block", [300, 1000])
def test_a_search_tells_how_far_it_is(images, texts, block, monkeypatch):
    monkeypatch.setattr("distillkit.mining.exact._A_CALL", 100)
    queries, shares = Vectors.of(images, "image").unit(slice(None)), []
    search = Exact(Vectors.of(texts, "text"), block)
    together = search.search(queries, 5, scaled(shares.append, 0.5, 1.0))
    assert shares == sorted(shares) and len(shares) >= 3 and shares[-1] == 1.0
    alone = search.search(queries[150:], 5)
    assert (together.places[150:] == alone.places).all()
