"""Mounts that go away and memory that ends during an extraction: nothing committed is lost, and no ledger lies."""

import builtins
import errno
import io
import json
import os
from pathlib import Path

import pytest
import torch

from distillkit.store.format import layout
from distillkit.store.format.manifest import Manifest
from distillkit.store.writing.writer import StoreWriter
from distillkit.teachers import _preprocess
from distillkit.teachers.openclip import Openclip
from tests.engine.whole import files


@pytest.fixture
def extract(recipes, run_cli):
    text = recipes[0].read_text()
    recipes[0].write_text(text[: text.rindex("[[corpora]]")])

    def run(*overrides):
        code, _, err = run_cli("extract-teacher", recipes[0], *(a for s in overrides for a in ("--set", s)))
        assert "Traceback" not in err
        return code, err

    return run


@pytest.fixture
def whole(extract, tmp_path):
    assert extract(f'out="{tmp_path}/whole"')[0] == 0
    return files(tmp_path / "whole/images")


def test_with_enough_memory_nothing_is_noted(whole, tmp_path, run_cli):
    assert "halved" not in (tmp_path / "whole/images/extract.jsonl").read_text()
    assert "note" not in run_cli("store", "info", tmp_path / "whole/images")[1]


def test_a_corpus_whose_mount_is_lost_makes_no_ledger_of_it(extract, whole, corpus, tmp_path, monkeypatch):
    """From the 66th image on there is nothing: the second shard is dropped, and done when the corpus is back."""
    real, seen = _preprocess.decode, []

    def unmounted(image, **limits):
        seen.append(image)
        if len(seen) == 66:
            corpus.rename(tmp_path / "away")
            corpus.mkdir()  # the empty folder that was mounted on
        return real(image, **limits)

    with monkeypatch.context() as patched:
        patched.setattr(_preprocess, "decode", unmounted)
        code, err = extract("decode_threads=1")
    assert code == 1 and "the corpus is gone (a mount that was lost?); the shard in hand is dropped" in err
    assert err.splitlines()[-1].startswith(f"error: {corpus}: ")
    assert [path.name for path in (tmp_path / "out/images/commits").iterdir()] == ["00000.json"]
    corpus.rmdir()
    (tmp_path / "away").rename(corpus)
    assert extract()[0] == 0
    assert files(tmp_path / "out/images") == whole


@pytest.mark.parametrize(
    ("number", "cure"),
    [
        (errno.EMFILE, "raise `ulimit -n`"),
        (errno.ESTALE, "mount its disk again"),
    ],
)
def test_what_the_machine_lacks_is_no_fault_of_a_sample(extract, whole, corpus, tmp_path, monkeypatch, number, cure):
    """The 66th image cannot be opened, of whichever reason that all others may have as well."""
    code, err = _with_one_refused(extract, corpus, monkeypatch, number)
    told = err.splitlines()[-1]
    assert code == 1 and told.startswith(f"error: {corpus}/") and f"({os.strerror(number).lower()})" in told
    assert cure in told and "run the same command again" in told
    assert [path.name for path in (tmp_path / "out/images/commits").iterdir()] == ["00000.json"]
    assert extract()[0] == 0
    assert files(tmp_path / "out/images") == whole


@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES])
def test_what_is_wrong_with_one_file_is_a_line_of_the_ledger(extract, corpus, tmp_path, monkeypatch, number):
    code, err = _with_one_refused(extract, corpus, monkeypatch, number)
    assert code == 0 and "1 of 70 samples failed" in err
    assert os.strerror(number) in (tmp_path / "out/images/failures/00001.jsonl").read_text()


def _with_one_refused(extract, corpus, monkeypatch, number):
    path = sorted(corpus.rglob("*.png"))[65]

    def refusing(real):
        def opened(place, *mode, **how):
            if isinstance(place, str | Path) and Path(place) == path:
                raise OSError(number, os.strerror(number), str(path))
            return real(place, *mode, **how)

        return opened

    with monkeypatch.context() as patched:
        for module in (io, builtins):
            patched.setattr(module, "open", refusing(module.open))
        return extract("decode_threads=1")


def test_a_store_whose_mount_is_lost_is_not_begun_elsewhere(extract, whole, tmp_path, monkeypatch):
    """Were its folder made again, shards would go to the disk below the mount."""
    store, real = tmp_path / "out/images", StoreWriter.commit

    def then_unmounted(self, shard, *rest):
        real(self, shard, *rest)
        store.rename(tmp_path / "away")

    with monkeypatch.context() as patched:
        patched.setattr(StoreWriter, "commit", then_unmounted)
        code, err = extract()
    assert code == 1 and not store.exists()
    assert "the store is gone (a mount that was lost, or a folder that was moved?)" in err.splitlines()[-1]
    (tmp_path / "away").rename(store)
    code, err = extract()
    assert code == 0 and "70 rows in 2 shards, 1 already committed" in err
    assert files(store) == whole


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.EROFS])
def test_a_disk_that_stops_answering_is_one_line(extract, whole, tmp_path, monkeypatch, number):
    real, calls = layout.shard_index, []

    def lost(*arguments):
        calls.append(arguments)
        if len(calls) == 3:
            raise OSError(number, os.strerror(number))
        return real(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(layout, "shard_index", lost)
        code, err = extract()
    assert code == 1 and f"the disk does not answer ({os.strerror(number)}); what is committed is kept" in err
    assert extract()[0] == 0
    assert files(tmp_path / "out/images") == whole


def test_a_teacher_without_memory_goes_on_in_halves(extract, tmp_path, monkeypatch, run_cli):
    real, sizes = Openclip.forward, []

    def little(self, **inputs):
        size = len(next(value for value in inputs.values() if isinstance(value, torch.Tensor)))
        sizes.append(size)
        if size > 8:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(self, **inputs)

    monkeypatch.setattr(Openclip, "forward", little)
    code, err = extract()
    assert code == 0 and err.count("out of memory with 16 at once; from here on half as many") == 1
    assert sizes.count(16) == 1 and max(sizes[1:]) == 8
    assert Manifest.read(tmp_path / "out/images").skipped == 0
    log = [json.loads(line) for line in (tmp_path / "out/images/extract.jsonl").read_text().splitlines()]
    assert [line["halved"] for line in log if "shard" in line] == [["openclip"]] * 2
    told = "note     teacher openclip ran out of memory in 2 shards: half batches may differ in their last bits"
    assert told in run_cli("store", "info", tmp_path / "out/images")[1].splitlines()


def test_a_teacher_without_memory_for_half_keeps_what_is_committed(extract, whole, tmp_path, monkeypatch):
    real, calls = Openclip.forward, []

    def no_more(self, **inputs):
        calls.append(1)
        if len(calls) > 8:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(self, **inputs)

    with monkeypatch.context() as patched:
        patched.setattr(Openclip, "forward", no_more)
        code, err = extract()
    assert code == 1 and "at once too; what is committed is kept, set batch_size = " in err.splitlines()[-1]
    assert [path.name for path in (tmp_path / "out/images/commits").iterdir()] == ["00000.json"]
    assert extract()[0] == 0 and files(tmp_path / "out/images") == whole
