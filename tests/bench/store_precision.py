"""What int8 fields take and lose, through the store: written by its writer, read by its reader.

Vectors of length 1 in clusters, with a cosine of about 0.5 between any two, to which four dimensions that are large in
every vector contribute, as in embeddings of CLIP.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import normalize

from distillkit.store.format.encode import encode
from distillkit.store.format.field import Field
from distillkit.store.format.steps import Steps, sample_of
from distillkit.store.reading.reader import FeatureStore
from distillkit.store.writing.writer import StoreWriter
from tests.bench.clustered import WIDTH, Clustered
from tests.bench.measure import Row, at_least, at_most
from tests.bench.stores import plan

_NEIGHBOURS = 256


def run(folder: Path, quick: bool) -> list[Row]:
    rows, queries = (2_048, 20) if quick else (20_480, 500)
    vectors = torch.from_numpy(Clustered().draw(rows, seed=1))
    vectors[:, :4] += torch.tensor([0.25, -0.2, 0.2, 0.15])
    vectors = normalize(vectors, dim=1)
    store = _int8_store(folder / "int8", vectors)
    read = store.read("image", np.arange(rows))
    errors = (normalize(vectors.double()) - normalize(read.double())).square().sum(1) / 2
    held = sum(path.stat().st_size for path in (folder / "int8/bench").rglob("*") if path.is_file())
    kept = _nearest(vectors, queries), _nearest(read, queries)
    same = [len(set(one) & set(other)) / _NEIGHBOURS for one, other in zip(*kept, strict=True)]
    return [
        at_most(f"int8 field of {WIDTH}: a row with all that belongs to the field", [held / rows], 772, "bytes"),
        at_most(
            "int8 field: 1 - cosine to what was said, of the worst row", [1e6 * float(errors.max())], 100, "millionths"
        ),
        at_least(f"int8 field: overlap of the {_NEIGHBOURS} nearest neighbours", [sum(same) / queries], 0.99, ""),
    ]


def _int8_store(path: Path, vectors: torch.Tensor) -> FeatureStore:
    field = Field(teacher="bench", shape=[WIDTH], dtype="int8")
    identity = {"source": {"kind": "bench", "knobs": {}, "root": None}, "teachers": {"bench": {}}, "views": {}}
    writer = StoreWriter(path, plan(0, len(vectors)), {"bench/image": field}, 1_024, identity)
    steps = Steps.of(vectors[sample_of(len(vectors), [field])])
    writer.steps = {"bench/image": steps}
    writer.begin()
    for shard in range(writer.shards):
        said = encode(vectors[slice(*writer.span(shard))], field, steps)
        writer.commit(shard, {"bench/image": said.rows}, [], {"bench/image": said.clipped})
    writer.finish({})
    return FeatureStore(path)


def _nearest(vectors: torch.Tensor, queries: int) -> list[list[int]]:
    unit = normalize(vectors.float(), dim=1)
    return (unit[:queries] @ unit.T).topk(_NEIGHBOURS).indices.tolist()
