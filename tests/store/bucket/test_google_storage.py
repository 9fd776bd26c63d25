"""gs://, as gcsfs speaks it to a server on this machine: corpora are read there, stores written and read."""

import shutil
from http.server import ThreadingHTTPServer

import numpy as np
import pytest
from gcp_storage_emulator.server import create_server

from distillkit.store.bucket.remote import local
from distillkit.store.reading.reader import FeatureStore
from distillkit.store.upkeep.verify import verify
from distillkit.system.remote import Remote
from tests.sources.test_webdataset import sample, write_tar

BUCKET = "gs://corpora"


@pytest.fixture
def gs(monkeypatch):
    """An empty bucket, gs://corpora; returns a function that puts a folder there."""
    import gcsfs

    # It answers one connection at a time, so one that says nothing would keep all others waiting.
    monkeypatch.setattr("gcp_storage_emulator.server.server.HTTPServer", ThreadingHTTPServer)
    server = create_server("127.0.0.1", 0, in_memory=True, default_bucket="corpora")
    server.start()
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{server._api._httpd.server_port}")
    monkeypatch.setenv("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")  # it would ask the real one what this bucket is
    gcsfs.GCSFileSystem.clear_instance_cache()

    def put(folder, name):
        there = Remote(f"{BUCKET}/{name}")
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            there.upload(path, path.relative_to(folder).as_posix())
        return there.url

    yield put
    gcsfs.GCSFileSystem.clear_instance_cache()
    server.stop()


@pytest.fixture
def extract(recipes, run_cli, tmp_path, monkeypatch):
    """Extract the toy images, from a source, to a place; returns the store."""
    monkeypatch.setenv("DISTILLKIT_CACHE", str(tmp_path / "cache"))
    text = recipes[0].read_text()
    recipes[0].write_text(text[: text.rindex("[[corpora]]")].replace('["image", "text"]', '["image"]'))

    def run(source, out):
        code, _, err = run_cli(
            "extract-teacher", recipes[0], "--set", f"corpora.0.source={source}", "--set", f'out="{out}"'
        )
        assert code == 0, err
        return FeatureStore(f"{out}/images"), err

    return run


@pytest.mark.parametrize("kind", ["folder", "webdataset"])
def test_a_corpus_there_gives_the_rows_of_one_here(gs, extract, corpus, tmp_path, kind):
    here = corpus / "images"
    if kind == "webdataset":
        here = tmp_path / "tars"
        write_tar(here / "0.tar", sample("a") + sample("b"))
    stores = [
        extract(f'{{ kind = "{kind}", root = "{root}" }}', tmp_path / name)[0]
        for name, root in (("near", here), ("far", gs(here, "data")))
    ]
    near, far = (store.read("image", store.ok_rows) for store in stores)
    assert near.equal(far) and len(near) == (70 if kind == "folder" else 2)
    assert stores[0].index["key"] == stores[1].index["key"]


def test_a_store_there_is_that_of_a_disk_and_goes_on_anywhere(gs, extract, corpus, tmp_path):
    source = f'{{ kind = "folder", root = "{corpus}/images" }}'
    near, _ = extract(source, tmp_path / "near")
    far, _ = extract(source, f"{BUCKET}/stores")
    assert far.digest == near.digest and verify(local(f"{BUCKET}/stores/images")) == []
    rows = np.array([65, 3])
    assert far.read("image", rows).equal(near.read("image", rows))

    bucket = Remote(f"{BUCKET}/stores/images")
    for name in ("manifest.json", "commits/00001.json"):  # as if it had been killed
        bucket.remove(name)
    shutil.rmtree(tmp_path / "cache")
    again, told = extract(source, f"{BUCKET}/stores")
    assert "70 rows in 2 shards, 1 already committed" in told and again.digest == near.digest


def test_what_is_not_there_is_said_in_one_line(gs, extract, run_cli, recipes):
    code, _, err = run_cli(
        "extract-teacher", recipes[0], "--set", f'corpora.0.source={{kind="csv",file="{BUCKET}/a.csv"}}'
    )
    assert code == 1 and f"{BUCKET}/a.csv: no such" in err.splitlines()[-1]
