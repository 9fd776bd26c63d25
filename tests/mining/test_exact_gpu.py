"""Exact search on a GPU against NumPy's: a machine with a GPU and without FAISS runs these, too."""

import numpy as np
import pytest
import torch

from distillkit.mining.exact_gpu import ExactOnGPU, device_rows
from distillkit.mining.vectors import Vectors
from tests.mining.conftest import truth

CPU = torch.device("cpu")


class Units:
    """Unit vectors without a store."""

    def __init__(self, count, width):
        rows = np.random.default_rng(0).standard_normal((count, width), dtype=np.float32)
        self.rows, self.width = rows / np.linalg.norm(rows, axis=1, keepdims=True), width

    def __len__(self):
        return len(self.rows)

    def unit(self, places, out):
        out[:] = self.rows[places]
        return out


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
@pytest.mark.parametrize(("block", "piece"), [(100, 100), (300, 64), (5000, 5000), (5000, 77)])
def test_it_finds_what_numpy_finds(images, texts, device, block, piece):
    vectors, asked = Vectors.of(texts, "text"), Vectors.of(images, "image").unit(slice(None))
    found = ExactOnGPU(vectors, block, piece, torch.device(device)).search(asked, 20)
    rows, scores = truth(images, texts, 20)
    assert np.allclose(found.scores, scores, atol=1e-5) and (vectors.rows[found.places] == rows).mean() > 0.999


def test_a_second_search_has_the_memory_of_the_first(monkeypatch):
    """What PyTorch keeps of it counts as taken, until it is given back."""
    kept = [100 << 30]
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda *_: ((101 << 30) - kept[0], 141 << 30))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: kept.__setitem__(0, 0))
    assert device_rows(768, torch.device("cuda:0")) == (97 << 30) // (4 * 768)


class Rows:
    """A corpus that is only looked at for its size: how many rows are asked for at once."""

    width = 768

    def __init__(self, count):
        self.count, self.asked = count, []

    def __len__(self):
        return self.count

    def unit(self, places, out):
        self.asked.append(places.stop - places.start)
        return out


@pytest.mark.parametrize("queries", [1, 8, 4096])
def test_few_queries_do_not_score_all_rows_at_once(monkeypatch, queries):
    """Of ten queries or fewer, top-k sorts whole rows of scores: six GB for 2^28 of them."""
    widths, topk = [], torch.Tensor.topk
    vectors = Rows(9_000_000)
    vectors.width = 1
    monkeypatch.setattr(torch.Tensor, "topk", lambda self, k, dim: widths.append(self.shape[1]) or topk(self, k, dim))
    if queries > 8:
        vectors.count = 70_000
    ExactOnGPU(vectors, 10_000_000, 10_000_000, CPU).search(np.ones((queries, 1), np.float32), 2)
    assert max(widths) <= 1 << 22 and max(widths) * queries <= 1 << 28 and sum(widths) == vectors.count
