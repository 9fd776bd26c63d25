"""numpy's files, written: numpy's own bytes, and an error that says what failed."""

import io
import re
from pathlib import Path

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


# What writes a file past Python tells of a full disk in words of its own, or the process dies of it. Where it is known
# why not: into memory, or with its room taken first.
PAST_PYTHON = re.compile(r"\bsave_file\(|\bopen_memmap\(|\bnp\.savez?\(|\.tofile\(|torch\.save\(|torch\.export\.save\(")
KNOWN = {
    "exports/torch.py": "torch.export.save(program, made)",
    "store/upkeep/export.py": "np.save(file, values[name][place], allow_pickle=False)",
    "store/writing/stamps.py": "np.save(held, stamps, allow_pickle=False)",
    "training/pixel_cache.py": 'np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)',
}


def test_nothing_else_lets_a_library_write_a_file_past_python():
    root = Path(npy.__file__).parent.parent
    found = {
        (path.relative_to(root).as_posix(), line.strip())
        for path in root.rglob("*.py")
        for line in path.read_text().splitlines()
        if PAST_PYTHON.search(line)
    }
    assert {file for file, _ in found} == set(KNOWN)
    assert all(KNOWN[file] in line for file, line in found)
