"""The parts of mining, each by itself: searches agree, memory is shared out, costs are those one can do by hand."""

import mmap
import time
from functools import partial

import numpy as np
import pytest
import torch

from distillkit.errors import DistillkitError, StoreError
from distillkit.mine import without_itself
from distillkit.mining import choice, cost, memory
from distillkit.mining.approximate import Approximate, Effort
from distillkit.mining.cost import Cost, Rates, spell
from distillkit.mining.exact import Exact
from distillkit.mining.found import Found
from distillkit.mining.index import build
from distillkit.mining.recall import reach
from distillkit.mining.vectors import Vectors
from distillkit.recipe import MineRecipe, memory_bytes
from distillkit.recipe.schema import validate
from tests.mining.conftest import clustered, write
from tests.mining.test_exact_gpu import Rows


@pytest.fixture
def vectors(texts):
    return Vectors.of(texts, "text")


@pytest.fixture
def queries(images):
    return Vectors.of(images, "image").unit(slice(None))


def same(one, other):
    return np.allclose(one.scores, other.scores, atol=1e-5) and (one.places == other.places).mean() > 0.999


@pytest.mark.parametrize("block", [1, 7, 64, 998, 5000])
def test_exact_search_is_the_same_by_any_blocks_and_any_number_of_queries(vectors, queries, block):
    whole = Exact(vectors, len(vectors)).search(queries, 20)
    assert same(Exact(vectors, block).search(queries, 20), whole)
    assert same(Exact(vectors, len(vectors)).search(queries[:3], 20), type(whole)(whole.scores[:3], whole.places[:3]))


def test_a_corpus_that_fills_a_card_never_lies_in_the_machines_memory(monkeypatch):
    """28 million rows are 86 GB: they go to the card in pieces of what max_memory leaves."""
    rows = Rows(28_000_000)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda *_: (130 << 30, 141 << 30))
    sizes, empty = [], torch.empty

    def noted(count, width, **knobs):
        sizes.append(count)
        return empty(count, width, device="meta") if count > 100_000 else empty(count, width)

    monkeypatch.setattr(torch, "empty", noted)
    monkeypatch.setattr(torch.Tensor, "copy_", lambda self, other: self)
    recipe = MineRecipe(name="n", queries="q", corpus="c", device="cuda", max_memory="8GiB")
    monkeypatch.setattr(choice, "on_gpu", lambda recipe: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    block = choice.share(recipe, "exact", rows, threads=2).block
    search = choice.searcher("exact", recipe, rows, block, 2, pytest.fail)
    assert search.block == len(rows) == sum(rows.asked)
    assert max(rows.asked) * 4 * rows.width < 256 << 20 and sizes == [max(rows.asked), len(rows)]


@pytest.fixture
def in_lists(vectors):
    return Approximate("ivf_pq", build("ivf_pq", vectors, 0, lambda _: None), vectors, Effort(8, 4), threads=2)


def visited(search, queries, k=20):
    """Which lists, for each query."""
    lists, scores = search.lists, search.lists._scores(search.lists._turned(queries))
    return scores >= lists._reached(scores, k) - search.effort.margin


@pytest.mark.parametrize("probes", [10, 30, 64])
def test_a_margin_visits_as_many_lists_as_are_asked_for(in_lists, queries, probes):
    in_lists.effort = in_lists.fitted(Effort(probes, 4), queries, 20)
    assert visited(in_lists, queries).sum() / len(queries) == pytest.approx(probes, abs=0.01)


def test_a_query_visits_lists_until_they_have_k_rows(in_lists, vectors, queries):
    in_lists.effort = Effort(1, 1, margin=0.0)
    for k in (1, 20, 200, len(vectors)):
        counts = [sum(in_lists.lists._sizes[row]).item() for row in visited(in_lists, queries, k)]
        assert min(counts) >= k and (k == 1) == (min(counts) < 20)
    assert (in_lists.search(queries, 200).places >= 0).all()


def test_a_query_finds_the_same_whatever_it_is_asked_with(in_lists, queries):
    in_lists.effort = in_lists.fitted(Effort(10, 2), queries, 20)
    together = in_lists.search(queries, 20).places
    alone = [in_lists.search(queries[row : row + 1], 20).places[0] for row in range(len(queries))]
    # The codes' scores are rounded by the range of all queries' lists, so that a last candidate may be another one.
    assert np.mean([np.isin(one, both).mean() for one, both in zip(alone, together, strict=True)]) > 0.98


@pytest.mark.parametrize("effort", [Effort(8, 1000), Effort(64, 1000, margin=2.0)])
def test_with_every_list_and_every_candidate_the_search_is_exact(in_lists, vectors, queries, effort):
    in_lists.effort = effort
    assert same(in_lists.search(queries, 20), Exact(vectors, len(vectors)).search(queries, 20))


@pytest.mark.parametrize(("wanted", "candidates"), [(0.25, 8), (0.26, 9), (0.30, 10), (0.32, 11), (0.35, 12)])
def test_half_of_the_last_step_of_effort_is_taken_where_it_will_do(vectors, queries, monkeypatch, wanted, candidates):
    """A search that finds three hundredths for each of its candidates, and one more."""
    search = Approximate("pq", build("pq", vectors, 0, lambda _: None), vectors, Effort(0, 8), threads=1)

    def pretended(queries, k):
        found = np.arange(100) < 3 * search.effort.candidates + 1
        return Found(np.tile(found.astype(np.float32), (4, 1)), np.zeros((4, 100)))

    monkeypatch.setattr(search, "search", pretended)
    true = Found(np.ones((4, 100)), np.zeros((4, 100)))
    assert reach(wanted, search, queries[:4], true, lambda _: None) == pytest.approx((3 * candidates + 1) / 100)
    assert search.effort.candidates == candidates


def test_effort_is_raised_until_the_recall_is_there_or_refused(vectors, queries):
    search = Approximate("pq", build("pq", vectors, 0, lambda _: None), vectors, Effort(0, 1), threads=1)
    true, said = Exact(vectors, len(vectors)).search(queries, 20), []
    reached = reach(0.99, search, queries, true, said.append)
    assert reached >= 0.99 and search.effort.candidates > 1
    assert "effort raised to candidates 2 x k" in said[1]
    with pytest.raises(DistillkitError, match=r"recall = 1\.1 cannot be reached by index 'pq'"):
        reach(1.1, search, queries, true, said.append)


def test_a_row_that_asks_does_not_count_as_its_own_neighbour(vectors, queries, monkeypatch):
    """A search that finds the asking row and nothing else: within a store that is a recall of 0, not of a half."""
    search = Approximate("pq", build("pq", vectors, 0, lambda _: None), vectors, Effort(0, 1), threads=1)
    asking = np.arange(4)

    def only_itself(queries, k):
        far = np.full((4, k - 1), len(vectors) - 1)
        return Found(np.c_[np.ones(4), np.full(far.shape, -1.0)], np.c_[asking, far])

    monkeypatch.setattr(search, "search", only_itself)
    monkeypatch.setattr(search, "harder", lambda *_: [])
    own = vectors.unit(asking)
    true, others = Exact(vectors, len(vectors)).search(own, 2), partial(without_itself, corpus=vectors, rows=asking)
    assert reach(0.5, search, own, true, lambda _: None) == 0.5
    assert reach(0.0, search, own, true, lambda _: None, others) == 0
    with pytest.raises(DistillkitError, match=r"recall = 0\.5 cannot be reached"):
        reach(0.5, search, own, true, lambda _: None, others)


@pytest.mark.parametrize("among", [1, 2, 7])
def test_no_row_keeps_itself_however_few_are_found(texts, among):
    """-1 is where nothing was found; as a place it would be the corpus' last row."""
    vectors = Vectors.of(texts, "text")
    corpus = vectors.only(vectors.rows[-among:])
    for own in range(among):
        row = corpus.rows[own]
        others = [place for place in range(among) if place != own]
        for found in ([own, *others], [*others, own], others):
            places = np.array([[*found, *[-1] * (among + 2 - len(found))]])
            left = without_itself(Found(np.linspace(1, 0, places.size)[None], places), corpus, np.array([row]))
            kept = corpus.rows_at(left.places)[0]
            assert left.places.shape == (1, among + 1) and row not in kept
            assert kept[kept >= 0].tolist() == corpus.rows[others].tolist()
    assert corpus.rows_at(np.full((2, 3), -1)).tolist() == [[-1] * 3] * 2


def test_memory_is_shared_out_and_too_little_says_what_works(monkeypatch):
    monkeypatch.setattr(memory, "private_bytes", lambda: 100 << 20)
    sizes = {"width": 768, "k": 256, "queries": 16_384, "corpus": 1_000_000}
    plenty = memory.share_out(8 << 30, 0, **sizes)
    assert (plenty.queries, plenty.block) == (16_384, 1_000_000)
    for cap in (1 << 30, 512 << 20):
        share = memory.share_out(cap, 10 << 20, **sizes)
        used = share.queries * (4 * 768 + 48 * 256) + share.block * 4 * 768
        assert used + (206 << 20) <= cap and share.block < 1_000_000
    with pytest.raises(DistillkitError, match=r"max_memory = 64 MiB .* least that works: (\d+)MiB") as told:
        memory.share_out(64 << 20, 0, **sizes)
    least = int(str(told.value).split()[-1].removesuffix("MiB"))
    memory.share_out(least << 20, 0, **sizes)
    with pytest.raises(DistillkitError):
        memory.share_out((least - 2) << 20, 0, **sizes)


def test_private_memory_is_watched():
    with memory.watched(every=0.01) as peak:
        before = peak[0]
        # Pages of their own: an array might be put where another one has been.
        with mmap.mmap(-1, 20 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as taken:
            for page in range(0, len(taken), mmap.PAGESIZE):
                taken[page] = 1
            time.sleep(0.1)
    assert peak[0] - before >= (20 << 20) * 0.9


def test_a_field_of_texts_that_no_row_has_is_refused_by_name(tmp_path):
    silent = write(tmp_path / "silent", "text", clustered(4, 1), texts=[None] * 4)
    with pytest.raises(StoreError, match="silent: no row has a text, so 'text' has no vectors; name another field"):
        Vectors.of(silent, "text")
    some = write(tmp_path / "some", "text", clustered(4, 1), texts=[None, "a", None, "b"], failed=(3,))
    assert Vectors.of(some, "text").rows.tolist() == [1]


def test_sizes_are_written_as_people_do():
    assert (memory_bytes("8GiB"), memory_bytes("1.5 GB")) == (8 << 30, 1_500_000_000)
    with pytest.raises(DistillkitError, match="max_memory: write a size such as 8GiB or 500MB"):
        validate(MineRecipe, {"queries": "a", "corpus": "b", "max_memory": "eight"}, "recipe")


def test_costs_by_hand():
    """A million queries against a million rows of 500 numbers is 1e15 operations: 10,000 s at 1e11 a second."""
    rates = Rates(1e11, scan=1e-9, rank=1e-3, add=1e-5)
    exact, scan = (cost.cost(kind, rates, 10**6, 10**6, 500) for kind in ("exact", "pq"))
    assert exact.seconds == pytest.approx(10_000) and exact.held == 8 * 10**6
    assert scan.build == pytest.approx(10) and scan.search == pytest.approx(10**6 * (1e-3 + 1e-3))
    assert str(scan) == "pq about 34 min (10 s of it for the index)"
    assert [spell(x) for x in (40, 7000, 36_000, 1e6)] == ["40 s", "117 min", "10.0 h", "12 days"]


@pytest.mark.parametrize(
    ("within", "seconds", "expected"),
    [(60, {"exact": 1000, "pq": 10, "ivf_pq": 5}, "exact"), (10, {"exact": 1000, "pq": 10, "ivf_pq": 5}, "ivf_pq"),
     (0, {"exact": 1000, "pq": 2000, "ivf_pq": 3000}, "exact"), (0, {"exact": 50, "pq": 1, "ivf_pq": 1}, "exact")],
)  # fmt: skip
def test_exact_is_taken_where_the_time_allows_and_both_estimates_are_told(
    texts, images, monkeypatch, within, seconds, expected
):
    monkeypatch.setattr(cost, "exact_rate", lambda *_: None)
    monkeypatch.setattr(cost, "all_rates", lambda *_: None)
    monkeypatch.setattr(cost, "cost", lambda kind, *_: Cost(kind, 0.0, seconds[kind], 0))
    recipe = MineRecipe(queries="q", corpus="c", k=32, exact_within=float(within), device="cpu")
    said = []
    kind = choice.choose(recipe, Vectors.of(texts, "text"), Vectors.of(images, "image"), 1, said.append)
    assert kind == expected and f"exact about {spell(seconds['exact'])}" in said[0]
    assert ("pq about" in said[0]) == (seconds["exact"] > 60)
