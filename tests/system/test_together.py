"""Files that belong together: those that are there are of one time, wherever a process is killed or a disk is full."""

import errno
import os

import pytest

from distillkit.errors import DiskFull
from distillkit.system.together import write_together

NAMES = ("keys", "told", "vectors")


class Killed(BaseException):
    """What nobody catches: what was to be done after it is not done."""


def written(folder, word, names=NAMES, **more):
    write_together({folder / name: lambda file: file.write(word.encode()) for name in names}, **more)


def there(folder):
    return {path.name: path.read_text() for path in folder.iterdir() if path.name in (*NAMES, "gone")}


def test_they_come_in_their_order_and_what_belonged_to_the_old_ones_goes(tmp_path):
    written(tmp_path, "old", (*NAMES, "gone"))
    written(tmp_path, "new", without=[tmp_path / "gone"])
    assert there(tmp_path) == dict.fromkeys(NAMES, "new") and len([*tmp_path.iterdir()]) == 3


def test_wherever_it_is_killed_no_old_file_stands_beside_a_new_one(tmp_path, monkeypatch):
    """Before each removal and each renaming, as these are all that changes what is there."""
    real, left, at = type(tmp_path).replace, [0], 0

    def replace(self, target):
        if not left[0]:
            raise Killed
        left[0] -= 1
        return real(self, target)

    monkeypatch.setattr(type(tmp_path), "replace", replace)
    seen = set()
    for at in range(20):
        folder = tmp_path / str(at)
        left[0] = 99
        written(folder, "old", (*NAMES, "gone"))
        left[0] = at
        try:
            written(folder, "new", without=[folder / "gone"])
        except Killed:
            found = there(folder)
            assert len({*found.values()}) <= 1, f"killed at {at}: {found}"
            assert "vectors" not in found or (found["vectors"] == "old" and len(found) == 4), f"killed at {at}: {found}"
            seen.add(tuple(sorted(found.items())))
        else:
            break
    assert at == 7 and there(folder) == dict.fromkeys(NAMES, "new") and len(seen) > 3


@pytest.mark.parametrize("which", NAMES)
def test_a_full_disk_leaves_the_old_ones_and_names_the_file(tmp_path, which):
    written(tmp_path, "old", (*NAMES, "gone"))

    def full(file):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    files = {tmp_path / name: full if name == which else lambda file: file.write(b"new") for name in NAMES}
    with pytest.raises(DiskFull) as caught:
        write_together(files, without=[tmp_path / "gone"])
    assert str(caught.value).startswith(f"{tmp_path / which}: no space left")
    assert there(tmp_path) == dict.fromkeys((*NAMES, "gone"), "old") and len([*tmp_path.iterdir()]) == 4


def test_equal_ones_are_not_missed_by_who_reads_them(tmp_path, monkeypatch):
    written(tmp_path, "same")
    monkeypatch.setattr("distillkit.system.together.remove_file", lambda path: pytest.fail(f"{path} was taken away"))
    written(tmp_path, "same")
    assert there(tmp_path) == dict.fromkeys(NAMES, "same")
