"""numpy's files, written: numpy's own bytes, and an error that says what failed."""

import io

import numpy as np
import pytest

from distillkit.system import npy
from tests.small_disk import no_file_above

ARRAYS = [
    np.arange(12, dtype="<f4").reshape(3, 4),
    np.arange(12, dtype="<f2").reshape(3, 4)[:, ::2],
    np.zeros((0, 5), "<f4"),
    np.array(3, "<i8"),
    np.zeros(2, [("bytes", "<i8"), ("time", "<i8")]),
]


@pytest.mark.parametrize("array", ARRAYS, ids=lambda array: f"{array.dtype}{array.shape}")
def test_the_bytes_are_those_of_numpy(array, tmp_path):
    wanted = io.BytesIO()
    np.save(wanted, np.ascontiguousarray(array).reshape(array.shape))
    with (tmp_path / "a.npy").open("wb") as file:
        npy.save(file, array)
    assert (tmp_path / "a.npy").read_bytes() == wanted.getvalue()
    assert np.array_equal(npy.load(tmp_path / "a.npy"), array)


def test_a_disk_without_room_says_so_by_number(tmp_path):
    with no_file_above(1000), pytest.raises(OSError) as caught, (tmp_path / "a.npy").open("wb") as file:
        npy.save(file, np.zeros(10_000))
    assert caught.value.errno is not None
