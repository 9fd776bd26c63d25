"""What a stranger's bucket can do to the disk of whoever opens it: nothing outside the cache."""

import json

import fsspec
import pytest

from distillkit.errors import StoreError
from distillkit.store.reading.reader import FeatureStore

URL = "memory://strange/store"


@pytest.fixture
def bucket(toy, tmp_path, monkeypatch):
    monkeypatch.setenv("DISTILLKIT_CACHE", str(tmp_path / "deep/down/cache"))
    files = fsspec.filesystem("memory")
    for path in toy.path.rglob("*"):
        if path.is_file():
            files.pipe_file(f"{URL}/{path.relative_to(toy.path).as_posix()}", path.read_bytes())
    yield files
    files.rm("memory://strange", recursive=True)


def everything(folder):
    return {path for path in folder.rglob("*") if path.is_file() and "cache" not in path.relative_to(folder).parts}


def test_files_of_its_manifest_lead_nowhere(bucket, tmp_path):
    before = everything(tmp_path)
    manifest = json.loads(bucket.cat_file(f"{URL}/manifest.json"))
    manifest["files"] = {"../../../out.txt": {"bytes": 1, "sha256": "0" * 64}}
    bucket.pipe_file(f"{URL}/manifest.json", json.dumps(manifest).encode())
    bucket.pipe_file("memory://out.txt", b"x")
    with pytest.raises(StoreError, match=r"memory://strange/store/manifest\.json: not a manifest \(.*files"):
        FeatureStore(URL)
    assert everything(tmp_path) == before


@pytest.mark.parametrize("content", [b"{", b"[]", b"null", b'{"files": 3, "version": 2}'])
def test_what_is_no_manifest_is_one_line(bucket, content):
    bucket.pipe_file(f"{URL}/manifest.json", content)
    with pytest.raises(StoreError, match=r"memory://strange/store/manifest\.json: not "):
        FeatureStore(URL)


def test_names_that_lead_out_of_it_are_none_of_its_files(bucket, tmp_path):
    before = everything(tmp_path)
    bucket.store["/strange/store/added/../../../../extract.jsonl"] = bucket.store["/strange/store/plan.json"]
    assert len(FeatureStore(URL)) and everything(tmp_path) == before
