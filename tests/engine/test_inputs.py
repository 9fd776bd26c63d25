"""The same images from a table, from tars and from Parquet: the same bytes in, the same rows out, the same student."""

import json
import random
import shutil
import tarfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from distillkit.errors import SourceError
from distillkit.originals import Originals
from distillkit.store.reading.reader import FeatureStore
from tests.servers import bad_line, serving


@pytest.fixture
def items(corpus):
    """(key, bytes, text) of each image of the toy corpus, in the order of its table."""
    rows = [line.split("\t") for line in (corpus / "pairs.tsv").read_text().splitlines()[1:]]
    return [(name, (corpus / name).read_bytes(), text) for text, name in rows]


def as_tars(folder, items, shards=3):
    for shard in range(shards):
        folder.mkdir(parents=True, exist_ok=True)
        place = folder / f"{shard:05d}"
        place.mkdir()
        with tarfile.open(folder / f"{shard:05d}.tar", "w") as tar:
            for name, image, text in items[shard * len(items) // shards : (shard + 1) * len(items) // shards]:
                stem = name.removesuffix(".png")
                for extension, content in (("png", image), ("txt", text.encode()), ("json", b"{}")):
                    (place / "member").write_bytes(content)
                    tar.add(place / "member", f"{stem}.{extension}")
        shutil.rmtree(place)
    return f'{{ kind = "webdataset", root = "{folder}", shards = "{{00000..{shards - 1:05d}}}.tar" }}'


def as_parquet(folder, items):
    folder.mkdir(parents=True)
    keys, images, texts = zip(*items, strict=True)
    structs = [{"bytes": image, "path": key} for image, key in zip(images, keys, strict=True)]
    pq.write_table(pa.table({"id": keys, "image": structs, "text": texts}), folder / "0.parquet", row_group_size=16)
    return f'{{ kind = "parquet", root = "{folder}", text_column = "text", key_column = "id" }}'


@pytest.fixture
def job(recipes, run_cli, tmp_path):
    """Extract, train and evaluate with the images of a source, into `out`; no pixel cache unless asked for."""
    extract, train = recipes

    def run(out, source=None, trained=True, cache=False):
        knobs = ["--set", f'out="{out}"']
        knobs += ["--set", f"corpora.0.source={source}"] if source else []
        code, _, err = run_cli("extract-teacher", extract, *knobs)
        assert code == 0, err
        if trained:
            path = tmp_path / f"train-{out.name}.toml"
            content = train.read_text().replace(f"{tmp_path}/out/", f"{out}/")
            path.write_text(content if cache else content.replace("pixel_cache = 32", ""))
            code, _, err = run_cli("train-student", path, "--set", "optim.epochs=2")
            assert code == 0, err
            code, _, err = run_cli("evaluate", out / "run")
            assert code == 0, err
        return FeatureStore(out / "images")

    return run


def content(store):
    """By image name without its extension: what the teacher said of image and text, as bytes."""
    rows = store.ok_rows
    names = [key.removesuffix(".png") for key in store.index["key"].take(rows).to_pylist()]
    image, text = (store.read(name, rows).numpy() for name in ("image", "text"))
    return {name: (image[at].tobytes(), text[at].tobytes()) for at, name in enumerate(names)}


def test_tars_and_parquet_give_the_rows_and_the_student_that_files_give(job, items, tmp_path):
    torch.set_num_threads(1)
    table = job(tmp_path / "files")
    tars = job(tmp_path / "tars", as_tars(tmp_path / "data/tars", items))
    parquet = job(tmp_path / "parquet", as_parquet(tmp_path / "data/parquet", items), cache=True)
    assert len(content(table)) == 70 and content(table) == content(tars) == content(parquet)
    assert table.index["text"] == tars.index["text"] == parquet.index["text"]

    for row in (0, 33, 69):
        pixels = [np.asarray(Originals(store, None).open(row)[0]) for store in (table, tars, parquet)]
        assert all(np.array_equal(pixels[0], other) for other in pixels[1:])

    results = [json.loads((tmp_path / out / "run/evaluation.json").read_text()) for out in ("files", "tars", "parquet")]
    assert results[0]["results"]["retrieval"]["teacher"] == results[1]["results"]["retrieval"]["teacher"]
    assert all(list((tmp_path / out / "run").glob("report.html")) for out in ("files", "tars", "parquet"))


def test_parquet_with_the_same_keys_trains_the_same_student(job, items, tmp_path):
    torch.set_num_threads(1)
    job(tmp_path / "files")
    job(tmp_path / "parquet", as_parquet(tmp_path / "data", items))
    one, other = ((tmp_path / out / "run/student.safetensors").read_bytes() for out in ("files", "parquet"))
    assert one == other


def test_another_order_gives_the_same_keys_and_the_same_rows(job, items, tmp_path):
    shuffled = items.copy()
    random.Random(0).shuffle(shuffled)
    for make in (as_tars, as_parquet):
        name = make.__name__
        one = content(job(tmp_path / f"{name}-1", make(tmp_path / f"{name}-data/1", items), trained=False))
        other = content(job(tmp_path / f"{name}-2", make(tmp_path / f"{name}-data/2", shuffled), trained=False))
        assert one.keys() == other.keys() and len(one) == 70
        for key in one:
            first, second = (np.frombuffer(rows[key][0], np.float16).astype(np.float32) for rows in (one, other))
            np.testing.assert_allclose(first, second, rtol=2e-3, atol=1e-4)


def test_damaged_members_are_lines_of_the_ledger(job, items, tmp_path):
    items[3] = (items[3][0], items[3][1][:100], items[3][2])
    items[5] = ("../up.png", *items[5][1:])
    store = job(tmp_path / "out", as_tars(tmp_path / "data", items), trained=False)
    first, second = (line for line in store.failures() if line["stage"] == "decode")
    assert first["key"] == "images/003" and "truncated" in first["error"]
    assert second == {
        "key": "../up",
        "stage": "decode",
        "error": "00000.tar: the member '../up.png' leaves its archive; refused",
    }


def test_a_corpus_that_moved_is_found_through_data_root(job, items, tmp_path):
    for make in (as_tars, as_parquet):
        data = tmp_path / make.__name__
        store = job(tmp_path / f"out-{make.__name__}", make(data, items), trained=False)
        data.rename(tmp_path / f"moved-{make.__name__}")
        with pytest.raises(SourceError, match=r"no such folder of images"):
            Originals(store, None).open(0)
        assert Originals(store, str(tmp_path / f"moved-{make.__name__}")).open(0)[1:] == (48, 40)


def test_a_table_may_be_gone_when_students_are_trained(job, corpus, tmp_path):
    store = job(tmp_path / "out", trained=False)
    (corpus / "pairs.tsv").unlink()
    assert Originals(store, None).open(0)[1:] == (48, 40)
    (corpus / "images/000.png").unlink()
    with pytest.raises(SourceError, match=r"images/000\.png: could be read when its features were extracted, now: "):
        Originals(store, None).open(0)


def test_texts_have_no_images_to_train_on(job, tmp_path):
    job(tmp_path / "out", trained=False)
    with pytest.raises(SourceError, match=r"its corpus has no images on disk; choose another store for data\.images"):
        Originals(FeatureStore(tmp_path / "out/texts"), None)


def test_a_corpus_in_a_bucket_gives_the_rows_and_the_student_that_the_disk_gives(job, items, tmp_path, s3):
    torch.set_num_threads(1)
    data = tmp_path / "data"
    near = job(tmp_path / "near", as_tars(data, items))
    far = job(tmp_path / "far", as_tars(data, items).replace(str(data), s3(data)))
    assert content(near) == content(far) and len(content(far)) == 70
    assert far.manifest.source["root"] == "s3://corpora"
    one, other = ((tmp_path / out / "run/student.safetensors").read_bytes() for out in ("near", "far"))
    assert one == other


def test_a_line_that_dies_is_a_line_of_the_ledger(job, corpus, tmp_path, web, impatient):
    lost = ["/images/003.png", "/images/068.png"]
    with (
        web(corpus) as address,
        serving(bad_line(address, lambda number, path: "at once" if path in lost else None)) as bad,
    ):
        store = job(tmp_path / "out", f'{{ kind = "csv", file = "{bad}/pairs.tsv" }}', trained=False)
    assert [line["key"] for line in store.failures()] == [name[1:] for name in lost]
    assert all(bad in line["error"] and line["stage"] == "decode" for line in store.failures())
