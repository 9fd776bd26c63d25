"""Which search is used, and why, said before it starts."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import torch

from distillkit.callable import Say
from distillkit.errors import RecipeError, StoreError
from distillkit.mining import cost, gpu_index, index
from distillkit.mining.approximate import Approximate, Effort, search_bytes
from distillkit.mining.approximate_gpu import ApproximateOnGPU
from distillkit.mining.exact import Exact
from distillkit.mining.exact_gpu import ExactOnGPU, device_rows
from distillkit.mining.memory import Share, share_out
from distillkit.mining.vectors import Vectors
from distillkit.recipe import MineRecipe, memory_bytes
from distillkit.system.wording import count

STREAMED = 65_536  # rows at a time, where exact search only checks another, or goes on to a GPU
_WORTH = 60.0  # seconds of exact search from which another way is even looked at
_HNSW_KEPT = 2  # times k, nodes that a search of an HNSW graph keeps to begin with


def on_gpu(recipe: MineRecipe) -> bool:
    """Whether exact search runs on a GPU. RecipeError when one is asked for that PyTorch does not find."""
    if recipe.device == "cuda" and not torch.cuda.is_available():
        raise RecipeError('device = "cuda": PyTorch finds no GPU here; see nvidia-smi, or set device = "auto"')
    return recipe.device != "cpu" and torch.cuda.is_available()


def choose(recipe: MineRecipe, corpus: Vectors, queries: Vectors, threads: int, say: Say) -> str:
    """The kind of search: what the recipe says, or what fits the memory and the time. Both estimates are told."""
    if recipe.index == gpu_index.KIND and recipe.device == "cpu":
        raise RecipeError(f'index = "{recipe.index}" needs a GPU, but device = "cpu"; leave one of them out')
    if recipe.index != "auto":
        return recipe.index
    if on_gpu(recipe):
        return _choose_on_gpu(recipe, corpus, queries, say)
    shape = (len(corpus), len(queries), corpus.width)
    rates = cost.exact_rate(corpus, queries, recipe.k)
    exact = cost.cost("exact", rates, *shape)
    told = f"{count(len(queries), 'query', 'queries')} against {count(len(corpus), 'row')}: {exact}"
    if exact.seconds < _WORTH:
        say(f"{told}; no index would be worth its making")
        return "exact"
    rates = cost.all_rates(rates, corpus, queries, recipe.k, recipe.candidates, threads)
    others = [cost.cost(kind, rates, *shape) for kind in ("pq", "ivf_pq")]
    say(f"{told}, {', '.join(map(str, others))}")
    if exact.seconds <= 60 * recipe.exact_within:
        say(f"search: exact, which takes no longer than exact_within = {count(recipe.exact_within, 'minute')}")
        return "exact"
    fits = [other for other in others if _fits(recipe, other, corpus, threads)]
    best = min([exact, *fits], key=lambda one: one.seconds)
    say(f"search: {best.kind}, the quickest within max_memory = {recipe.max_memory}")
    return best.kind


def _choose_on_gpu(recipe: MineRecipe, corpus: Vectors, queries: Vectors, say: Say) -> str:
    """Exact search, unless the corpus outgrows the card, and to send it there for every part of the queries takes
    longer than `exact_within`; then an index there, where FAISS can make one.
    """
    if len(corpus) <= device_rows(corpus.width, _card()):
        say("search: exact, on the GPU, which holds all rows and which no index beats then")
        return "exact"
    seconds = -(-len(queries) // recipe.rows_per_shard) * len(corpus) * cost.seconds_to_read(corpus)
    told = (
        f"search: the GPU lacks room for {count(len(corpus), 'row')}; sent there again and again, {cost.spell(seconds)}"
    )
    if seconds <= 60 * recipe.exact_within or not gpu_index.cards():
        say(f"{told}: exact" + ("" if gpu_index.cards() else ", as FAISS finds no GPU (distillkit[mining-gpu])"))
        return "exact"
    say(f"{told}, longer than exact_within = {count(recipe.exact_within, 'minute')}: {gpu_index.KIND}")
    return gpu_index.KIND


def _card() -> torch.device:
    return torch.device("cuda", torch.cuda.current_device())


def share(recipe: MineRecipe, kind: str, corpus: Vectors, threads: int) -> Share:
    """How max_memory is shared out to that kind of search. Asked before anything large is in memory."""
    held = cost.held_bytes(kind, len(corpus), corpus.width)
    if kind != "exact":
        # The effort may be raised: to four times the candidates.
        held += search_bytes(kind, len(corpus), corpus.width, 4 * recipe.candidates * recipe.k, threads)
    sizes = {"width": corpus.width, "k": recipe.k, "queries": recipe.rows_per_shard, "corpus": len(corpus)}
    return share_out(memory_bytes(recipe.max_memory), held, **sizes)


def searcher(
    kind: str, recipe: MineRecipe, corpus: Vectors, block: int, threads: int, say: Say
) -> Exact | ExactOnGPU | Approximate:
    """The search of that kind over `corpus`; its index is opened, or built, beside the corpus' store."""
    if kind == "exact" and on_gpu(recipe):
        return ExactOnGPU(corpus, device_rows(corpus.width, _card()), min(block, STREAMED), _card())
    if kind == "exact":
        return Exact(corpus, block)
    if kind == gpu_index.KIND:
        gpu_index.refuse_without_cards()
    store = corpus.store
    made_from = {
        "corpus": store.digest,
        "field": store.field_name(corpus.field),
        "rows": len(corpus),
        "seed": recipe.seed,
    }
    name = f"{kind}-{len(corpus)}"
    if recipe.near_duplicates is not None:  # which rows are alike, the number of those that are left does not tell
        which = hashlib.sha256(corpus.rows.astype(np.int64).tobytes()).hexdigest()
        made_from["which"], name = which, f"{name}-{which[:8]}"
    folder = indexes(store.path) / name
    made = index.opened(folder, kind, corpus, made_from, say)
    probes = {"pq": 0, "hnsw": _HNSW_KEPT * recipe.k}.get(kind, max(index.lists(len(corpus)) // cost.VISITED, 1))
    if kind == gpu_index.KIND:
        candidates = max(min(recipe.candidates, gpu_index.MOST // recipe.k), 1)
        return ApproximateOnGPU(kind, made, corpus, Effort(min(probes, gpu_index.MOST), candidates), threads)
    return Approximate(kind, made, corpus, Effort(probes, recipe.candidates), threads)


def _fits(recipe: MineRecipe, other: cost.Cost, corpus: Vectors, threads: int) -> bool:
    try:
        share(recipe, other.kind, corpus, threads)
    except StoreError:
        return False
    return True


def indexes(store: Path) -> Path:
    """The folder beside a store in which its indexes are kept."""
    return store.with_name(f"{store.name}.index")
