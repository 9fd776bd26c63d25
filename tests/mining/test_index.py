"""What the codes of an index are of: the axes and their parts, and what centroids leave over."""

import faiss
import numpy as np
import pytest

from distillkit.mining import index


def unit(vectors):
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def test_axes_are_dealt_out_so_that_parts_vary_alike():
    random = np.random.default_rng(0)
    turned = np.linalg.qr(random.standard_normal((16, 16)))[0]
    rows = (random.standard_normal((20_000, 16)) * 2.0 ** (-np.arange(16) / 2)).astype(np.float32) @ turned.astype(
        np.float32
    )
    rotation = index._rotation(rows, 4)
    matrix = faiss.vector_to_array(rotation.A).reshape(16, 16)
    assert np.allclose(matrix @ matrix.T, np.eye(16), atol=1e-5)
    # Variances 2**-n of 16 axes: each part gets a great, a small and two middling ones, and 2**-30 in all.
    exponents = -2 * np.log2(rotation.apply(rows).std(axis=0)).reshape(4, 4)
    assert exponents.sum(axis=1) == pytest.approx([30] * 4, abs=0.2)
    assert sorted(exponents.round().ravel()) == list(range(16))


def test_centroids_are_as_long_as_leaves_least():
    random = np.random.default_rng(1)
    centres = unit(random.standard_normal((8, 32)))
    sample = unit(centres[random.integers(8, size=4000)] + 0.15 * random.standard_normal((4000, 32)))
    left, scaled = index._coded(sample, centres)
    assert np.allclose(scaled / np.linalg.norm(scaled, axis=1, keepdims=True), centres, atol=1e-5)
    nearest = (sample @ centres.T).argmax(axis=1)
    assert np.allclose(left, sample - scaled[nearest], atol=1e-6)
    assert all((left**2).sum() < ((sample - scale * scaled[nearest]) ** 2).sum() for scale in (0.9, 1.1))
    assert index._coded(sample, None)[0] is sample


@pytest.mark.parametrize(("width", "parts"), [(768, 192), (30, 10), (7, 7), (14, 7)])
def test_parts_of_a_vector(width, parts):
    assert index.pieces(width) == parts
