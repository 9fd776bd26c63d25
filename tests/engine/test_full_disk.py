"""Stage 1 on a full disk: one line, and what is committed stays."""

import errno
import gc
import os
import shutil
import subprocess

import pytest

from distillkit.store.format import layout
from distillkit.system.temporary import TEMPORARY
from tests.engine.whole import files


def test_a_full_disk_is_one_line_and_what_is_committed_stays(extract, stores, tmp_path, monkeypatch):
    assert extract(f'out="{tmp_path}/whole"')[0] == 0
    real, calls = layout.shard_index, []

    def full(*arguments):
        calls.append(arguments)
        if len(calls) == 4:  # the second field of the second shard
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(*arguments)

    monkeypatch.setattr(layout, "shard_index", full)
    code, err = extract()
    assert code == 1 and "no space left on the disk; what is committed is kept, make room" in err.splitlines()[-1]
    assert sorted(path.name for path in (stores / "images/commits").iterdir()) == ["00000.json"]
    assert not list(stores.rglob(f"*{TEMPORARY}"))
    code, err = extract()
    assert code == 0 and "70 rows in 2 shards, 1 already committed" in err
    assert files(stores / "images") == files(tmp_path / "whole/images")


def test_a_disk_that_is_really_full(extract, stores, tmp_path, monkeypatch):
    stores.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=120k", "tmpfs", str(stores)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("cannot mount a file system here")
    try:
        code, err = extract()
        assert code == 1 and "no space left on the disk" in err.splitlines()[-1]
        assert not list(stores.rglob(f"*{TEMPORARY}"))
        subprocess.run(["mount", "-o", "remount,size=10m", str(stores)], check=True)
        assert extract()[0] == 0
        extract(f'out="{tmp_path}/whole"')
        assert files(stores / "texts") == files(tmp_path / "whole/texts")
    finally:
        gc.collect()  # plans are mapped files beside the stores; the first run's error still holds one
        subprocess.run(["umount", str(stores)], check=True)
