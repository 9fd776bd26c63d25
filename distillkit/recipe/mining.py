"""The recipes of mining: neighbours across stores, and the texts that images look like."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from distillkit.recipe.extraction import Ray
from distillkit.recipe.schema import MOST, Strict
from distillkit.recipe.sizes import Size


class MineRecipe(Strict):
    """For each row of `queries`, find the `k` nearest rows of `corpus`, and keep them beside the query store.

    Images look for texts by default; swap the stores and fields for the other direction. To find neighbours within a
    store, name it twice; a row is no neighbour of itself.
    """

    name: str = Field(
        "neighbours", pattern=r"^\w[\w-]*$", description="under which the neighbours are kept, in the query store"
    )
    queries: str = Field(description="the store for whose rows neighbours are looked for")
    field: str = Field("image", description="the field of the query store that is compared")
    corpus: str = Field(description="the store whose rows can be neighbours")
    corpus_field: str = Field("text", description="the field of the corpus store that is compared")
    k: int = Field(256, gt=0, le=MOST, description="neighbours of each query")
    index: Literal["auto", "exact", "fp16", "sq8", "pq", "ivf_pq", "ivf_flat", "hnsw", "gpu_ivf_pq"] = Field(
        "auto",
        description='how neighbours are searched. "auto": exactly if that takes at most exact_within minutes, else by '
        "the index that is expected to be the quickest within max_memory. The recall of an index against exact search "
        "is measured on held_out queries, and raised to recall",
    )
    exact_within: float = Field(60.0, ge=0, description="the most minutes that exact search may take")
    recall: float = Field(
        0.95,
        gt=0,
        le=1,
        description="the share of the exact neighbours that an index must find on the held-out queries",
    )
    held_out: int = Field(1000, gt=0, le=MOST, description="how many queries the recall is measured on")
    candidates: int = Field(
        4,
        gt=0,
        le=MOST,
        description="an index proposes this times k rows for exact ranking; raised if recall is too low",
    )
    equal_texts: Literal["once", "each"] = Field(
        "once", description="whether equal texts of the corpus count once, or each by itself"
    )
    near_duplicates: float | None = Field(
        None, gt=0, le=1, description="texts whose cosine is at least this count as equal; not looked for, if not given"
    )
    max_memory: Size = Field("8GiB", description="the most memory that the search may take")
    threads: int | None = Field(None, gt=0, le=4096, description="threads that search; one a core, if not given")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description='"auto" is a GPU where PyTorch finds one')
    rows_per_shard: int = Field(16_384, gt=0, le=MOST, description="queries whose neighbours are committed together")
    seed: int = Field(0, ge=0, description="decides which queries are held out, and where clustering begins")
    ray: Ray = Field(default_factory=Ray)
    next: str | None = Field(None, description="a command to show as the next step once all is mined")


class SelectRecipe(Strict):
    """Keep the texts that are mined neighbours of some image, as a view of the text store, which copies nothing."""

    images: str = Field(description="an image store with mined neighbours")
    neighbours: str = Field("neighbours", description="the name under which the neighbours were mined")
    texts: str = Field(description="the text store in which they were mined")
    out: str = Field(description="the folder of the new store, a view of `texts`")
    k: int | None = Field(
        None, gt=0, le=MOST, description="neighbours of each image that count; all that were mined, if not given"
    )
    min_cosine: float = Field(
        -1.0, ge=-1, le=1, description="a text is kept if its cosine to its nearest image is above this"
    )
    examples: int = Field(40, ge=0, le=MOST, description="how many kept and how many dropped texts the page shows")
    next: str | None = Field(None, description="a command to show as the next step once texts are selected")
