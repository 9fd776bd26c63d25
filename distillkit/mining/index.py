"""Building an index over a store's vectors, block by block, and keeping it beside the store.

<store>.index/<kind>-<rows>/index.json    what it was made from, and the size and sha256 of the index
<store>.index/<kind>-<rows>/index.faiss   the index, in FAISS' own format; written first

Where near duplicates are left out, the folder's name ends in a checksum of the rows that are not.
"""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import numpy as np

from distillkit.callable import Say
from distillkit.errors import StoreError
from distillkit.mining import gpu_index
from distillkit.mining.vectors import Vectors
from distillkit.mining.which_faiss import faiss
from distillkit.mining.whole import forget_damaged, made_from, with_digest
from distillkit.system.atomic import atomic_file, write_json
from distillkit.system.opening import refused_is_not_absent
from distillkit.system.turns import in_turn
from distillkit.system.wording import count as counted

BLOCK = 32_768  # rows that are added at once
PER_LIST = 50  # training vectors for each centroid of the lists
CODED = 32_768  # training vectors of the codes
ROUNDS = 6  # of k-means
_TOLD, _INDEX = "index.json", "index.faiss"
_LINKS = 32  # of each node of an HNSW graph


def lists(rows: int) -> int:
    """Inverted lists for a corpus: the power of two next to 4 sqrt(n)."""
    return 2 ** max(round(math.log2(4 * math.sqrt(rows))), 0)


def pieces(width: int) -> int:
    """Parts of a vector that get a 4-bit code each: of 4 numbers, or fewer where the width asks for it."""
    return next(width // size for size in (4, 3, 2, 1) if width % size == 0)


def row_bytes(kind: str, width: int) -> float:
    """Bytes that an index keeps of a row; ids of lists and links of graphs included."""
    codes, links = pieces(width) / 2, 8 * _LINKS + 16
    whole = {"fp16": 2 * width, "sq8": width, "ivf_flat": 2 * width + 8, "hnsw": 2 * width + links}
    whole[gpu_index.KIND] = gpu_index.parts(width) + 8  # its copy, while that is written or read
    return whole.get(kind, codes + 8 * (kind == "ivf_pq"))


def training_rows(kind: str, rows: int) -> int:
    """Vectors that are in memory to train an index."""
    return min(rows, max(CODED, PER_LIST * lists(rows)) if "ivf" in kind else CODED)


def opened(folder: Path, kind: str, vectors: Vectors, identity: dict[str, Any], say: Say) -> Any:
    """The index of that kind kept in `folder`, or a new one. StoreError when it was made from something else.

    Who wants one that another process is building, or looks at, waits for it.
    """
    with in_turn(folder, waits=lambda: say(f"{folder}: another process is building it; waiting")):
        forget_damaged(folder / _TOLD, folder / _INDEX, identity, say)
        if not (folder / _TOLD).is_file():
            return _kept(folder, kind, build(kind, vectors, identity["seed"], say), identity)
        return _read(folder, kind, identity, say)


def _read(folder: Path, kind: str, identity: dict[str, Any], say: Say) -> Any:
    made, path = made_from(folder / _TOLD), folder / _INDEX
    if made != identity:
        name = next(key for key in {**made, **identity} if made.get(key) != identity.get(key))
        raise StoreError(
            f"{folder}: this index was made from something else ({name}: {made.get(name)!r} against "
            f"{identity.get(name)!r}); delete that folder to build it anew"
        )
    say(f"{path}: the index of an earlier run is used again")
    try:
        with refused_is_not_absent(path):
            read = faiss.read_index(str(path))
    except RuntimeError as error:  # FAISS tells all that is wrong with a file so, over several lines
        raise StoreError(f"{path}: damaged; delete {folder} to build the index anew") from error
    return gpu_index.on_card(read) if kind == gpu_index.KIND else read


def _kept(folder: Path, kind: str, index: Any, identity: dict[str, Any]) -> Any:
    path = folder / _INDEX
    with atomic_file(path) as file:
        kept = gpu_index.on_host(index) if kind == gpu_index.KIND else index
        faiss.write_index(kept, faiss.PyCallbackIOWriter(file.write))
    write_json(folder / _TOLD, with_digest(identity, path))
    return index


def build(kind: str, vectors: Vectors, seed: int, say: Say) -> Any:
    """Train on a sample, then add every row; progress goes to `say`."""
    index = _empty(kind, vectors, seed, say)
    started = said = time.perf_counter()
    for first in range(0, len(vectors), BLOCK):
        index.add(vectors.unit(slice(first, first + BLOCK)))
        now = time.perf_counter()
        if now - said > 10 or index.ntotal == len(vectors):
            left = (now - started) * (len(vectors) / index.ntotal - 1)
            say(f"index: {index.ntotal:,} of {counted(len(vectors), 'row')} added, {left:.0f} s left")
            said = now
    return index


def _empty(kind: str, vectors: Vectors, seed: int, say: Say) -> Any:
    if kind == gpu_index.KIND:
        return _empty_on_gpu(vectors, seed, say)
    width, count, metric = vectors.width, lists(len(vectors)), faiss.METRIC_INNER_PRODUCT
    names = {
        "fp16": "SQfp16",
        "sq8": "SQ8",
        "pq": f"PQ{pieces(width)}x4fs",
        "ivf_pq": f"IVF{count},PQ{pieces(width)}x4fsr",
        "ivf_flat": f"IVF{count},SQfp16",
        "hnsw": f"HNSW{_LINKS}_SQfp16",
    }
    index: Any = faiss.index_factory(width, names[kind], metric)
    if kind.endswith("pq"):
        index.pq.cp.min_points_per_centroid = 1  # a small corpus is no reason for a warning a piece
    sample = vectors.unit(vectors.sample(training_rows(kind, len(vectors)), seed))
    np.random.default_rng(seed).shuffle(sample)
    centroids = _centroids(sample, count, seed, say) if kind.startswith("ivf") else None
    sample, rotation = sample[:CODED], None
    if kind.endswith("pq"):
        coded, centroids = _coded(sample, centroids)
        rotation = _rotation(coded, pieces(width))
        sample = rotation.apply(sample)
    if centroids is not None:
        index.quantizer.add(centroids if rotation is None else rotation.apply(centroids))
    say(f"index: training {names[kind]} on {counted(len(sample), 'row')}")
    index.train(sample)
    return index if rotation is None else faiss.IndexPreTransform(rotation, index)


def _empty_on_gpu(vectors: Vectors, seed: int, say: Say) -> Any:
    """Trained there, lists and codes, on the same rows."""
    index = gpu_index.empty(vectors.width, lists(len(vectors)), seed)
    sample = vectors.unit(vectors.sample(training_rows(gpu_index.KIND, len(vectors)), seed))
    say(f"index: training {counted(lists(len(vectors)), 'centroid')} on {counted(len(sample), 'row')}, on the GPU")
    index.train(sample)
    return index


def _coded(sample: np.ndarray, centroids: np.ndarray | None) -> tuple[np.ndarray, np.ndarray | None]:
    """What codes have to tell of a sample: what is left without the centroids, which become as long as leaves least."""
    if centroids is None:
        return sample, None
    cosines, nearest = faiss.knn(sample, centroids, 1, metric=faiss.METRIC_INNER_PRODUCT)
    centroids = centroids * cosines.mean()
    return sample - centroids[nearest[:, 0]], centroids


def _rotation(coded: np.ndarray, parts: int) -> Any:
    """Principal axes, dealt out so that the variances of a part have about the same product in all: codes tell as much.

    https://openaccess.thecvf.com/content_cvpr_2013/html/Ge_Optimized_Product_Quantization_2013_CVPR_paper.html, 3.3
    """
    width = coded.shape[1]
    centred = coded - coded.mean(axis=0)
    variances, axes = np.linalg.eigh(centred.T @ centred / len(coded))
    product, places = np.zeros(parts), np.empty((width // parts, parts), int)
    for turn, block in enumerate(np.arange(width)[::-1].reshape(-1, parts)):
        order = np.argsort(product, kind="stable")
        places[turn, order] = block
        product[order] += np.log(np.maximum(variances[block], np.finfo(np.float32).tiny))
    rotation: Any = faiss.LinearTransform(width, width, False)
    faiss.copy_array_to_vector(np.ascontiguousarray(axes.T[places.T.ravel()], np.float32).ravel(), rotation.A)
    rotation.is_trained = rotation.is_orthonormal = True
    return rotation


def _centroids(sample: np.ndarray, count: int, seed: int, say: Say) -> np.ndarray:
    """Spherical k-means, a round at a time, so that somebody who waits knows how long."""
    options = {"niter": 1, "spherical": True, "seed": seed, "max_points_per_centroid": PER_LIST}
    kmeans: Any = faiss.Kmeans(sample.shape[1], count, min_points_per_centroid=1, **options)
    centroids: Any = None
    started = time.perf_counter()
    for done in range(1, ROUNDS + 1):
        kmeans.train(sample, init_centroids=centroids)
        centroids = kmeans.centroids.copy()
        left = (time.perf_counter() - started) / done * (ROUNDS - done)
        say(
            f"index: {counted(count, 'centroid')} of {counted(len(sample), 'row')}, round {done} of "
            f"{ROUNDS}, {left:.0f} s left"
        )
    return centroids
