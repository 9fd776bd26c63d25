"""The recipes of mining: neighbours across stores, and the texts that images look like."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from distillkit.recipe.extraction import Ray
from distillkit.recipe.schema import MOST, Strict
from distillkit.recipe.sizes import Size


class MineRecipe(Strict):
    """For each row of `queries`, the `k` nearest rows of `corpus`; kept as the addition `name` of the query store.

    Images look for texts by default; swap the stores and fields for the other way, name one store twice for its own
    near ones (a row is no neighbour of itself). `index = "auto"`: exact search where that takes no longer than
    `exact_within` minutes, else what promises to be quickest within `max_memory`; its recall against exact search is
    measured on `held_out` queries and raised to `recall`. `candidates`, times k, are ranked exactly to begin with.
    Equal texts count once; `near_duplicates` is the cosine from which other ones do, too.
    """

    name: str = Field("neighbours", pattern=r"^\w[\w-]*$", description="of the addition that they become")
    queries: str = Field(description="the store whose rows look for neighbours")
    field: str = Field("image", description="of the queries")
    corpus: str = Field(description="the store among whose rows they look")
    corpus_field: str = Field("text", description="of the corpus")
    k: int = Field(256, gt=0, le=MOST, description="neighbours of each row")
    index: Literal["auto", "exact", "fp16", "sq8", "pq", "ivf_pq", "ivf_flat", "hnsw", "gpu_ivf_pq"] = "auto"
    exact_within: float = Field(60.0, ge=0, description="minutes that exact search may take")
    recall: float = Field(0.95, gt=0, le=1, description="of another index, against exact search")
    held_out: int = Field(1000, gt=0, le=MOST, description="queries by which the recall is measured")
    candidates: int = Field(4, gt=0, le=MOST, description="this many times k are ranked exactly to begin with")
    equal_texts: Literal["once", "each"] = Field("once", description="whether texts that are equal count once, or each")
    near_duplicates: float | None = Field(
        None, gt=0, le=1, description="texts with such a cosine count as equal; not looked for, if it is not said"
    )
    max_memory: Size = Field("8GiB", description="of the search")
    threads: int | None = Field(None, gt=0, le=4096, description="of the search; all cores, if not given")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description='"auto" is a GPU where PyTorch finds one')
    rows_per_shard: int = Field(16_384, gt=0, le=MOST, description="queries that are committed at once")
    seed: int = Field(0, ge=0, description="which queries are held out, and where clusters begin")
    ray: Ray = Field(default_factory=Ray)
    next: str | None = Field(None, description="the command to name when all is mined")


class SelectRecipe(Strict):
    """The texts that images look like: among the `k` mined neighbours of an image, with a cosine above `min_cosine`.

    What is kept becomes the store `out`, a view of `texts` that copies nothing.
    """

    images: str = Field(description="an image store with mined neighbours")
    neighbours: str = Field("neighbours", description="the name that they were mined under")
    texts: str = Field(description="the store of texts in which they were mined")
    out: str = Field(description="the folder of the store that is kept")
    k: int | None = Field(None, gt=0, le=MOST, description="all that were mined, if it is not said")
    min_cosine: float = Field(-1.0, ge=-1, le=1, description="of a text and its nearest image, at least")
    examples: int = Field(40, ge=0, le=MOST, description="texts of either kind on the page")
    next: str | None = Field(None, description="the command to name when all is selected")
