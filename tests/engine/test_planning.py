"""Kind D: a corpus that is wrong as a whole is one line, before a teacher is loaded and without a folder left behind.

And kind C, where a finished store would make way for half a corpus.
"""

import json
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from distillkit.originals import Originals
from distillkit.store.reading.reader import FeatureStore
from distillkit.types import Sample
from tests.conftest import EXTRACT
from tests.engine.whole import checksums
from tests.sources.test_webdataset import picture, write_tar


@pytest.fixture
def extract(tmp_path, teacher_folder, run_cli):
    recipe = tmp_path / "extract.toml"
    recipe.write_text(EXTRACT.format(out=tmp_path / "out", corpus="unused", teacher=teacher_folder))

    def run(source, fields='["image"]', *words):
        corpus = f'[{{name = "images", source = {source}, fields = {fields}, rows_per_shard = 64, batch_size = 32}}]'
        code, _, err = run_cli("extract-teacher", recipe, "--set", f"corpora={corpus}", *words)
        assert "Traceback" not in err
        return code, err

    return run


def tars(folder, **members):
    write_tar(
        folder / "0.tar",
        [(f"{n:03d}.{part.replace('_', '.')}", made) for n in range(4) for part, made in members.items()],
    )
    return f'kind = "webdataset", root = "{folder}"'


def parquet(folder, **columns):
    folder.mkdir()
    pq.write_table(pa.table(columns), folder / "0.parquet")
    return f'kind = "parquet", root = "{folder}"'


def table(folder, header="title\tfilepath", row="a cat\t{n}.png", drawn=True):
    folder.mkdir()
    for n in range(4):
        (folder / f"{n}.png").write_bytes(picture() if drawn else b"<html>")
    (folder / "t.tsv").write_text("\n".join([header, *(row.format(n=n) for n in range(4))]))
    return f'kind = "csv", file = "{folder}/t.tsv"'


def lines(folder, **fields):
    folder.mkdir()
    (folder / "t.jsonl").write_text("".join(json.dumps(fields) + "\n" for _ in range(4)))
    return f'kind = "jsonl", file = "{folder}/t.jsonl"'


def saved(folder, **columns):
    datasets = pytest.importorskip("datasets")
    datasets.Dataset.from_dict(columns).save_to_disk(str(folder))
    return f'kind = "datasets", root = "{folder}"'


STRUCT = {"bytes": picture(), "path": None}
WRONG = {
    "tars of texts": (lambda f: tars(f, txt=b"a cat", json=b"{}"), "its members end in .json, .txt; mend source.image"),
    "an image by another name": (lambda f: tars(f, input_jpg=picture()), ".input.jpg; mend source.image"),
    "damaged images": (lambda f: tars(f, png=b"<html>"), "not one of 4 rows .* not an image"),
    "paths that miss": (lambda f: table(f, row="a cat\timages/{n}.png"), "mend source.image_column or source.root"),
    "pages for images": (lambda f: table(f, drawn=False), "not an image"),
    "a misspelt column": (
        lambda f: table(f, header="title\tpath"),
        "no column 'filepath' in its first line .*; set source.image_column to one of these",
    ),
    "a table without a header": (
        lambda f: table(f, header="a dog\t1.png"),
        "no column 'filepath' in its first line .*, or give the file a first line that names its columns",
    ),
    "a table of rows that are cut": (
        lambda f: table(f, row="a cat"),
        r"t\.tsv:2: 1 cell, the header has 2; mend the line, or source.separator, source.quoting",
    ),
    "a folder in place of a table": (
        lambda f: f'kind = "csv", file = "{f.parent}"',
        "a folder, no file; mend source.file",
    ),
    "a table in place of a folder": (
        lambda f: (table(f), f'kind = "folder", root = "{f}/t.tsv"')[1],
        "a file, no folder of images; mend that path",
    ),
    "objects without what is taken of them": (
        lambda f: lines(f, img="1.png", caption="a") + ', image_field = "image"',
        "its objects have the fields img, caption.*; mend source.image_field or source.text_field",
    ),
    "tars of nothing": (
        lambda f: f'kind = "webdataset", root = "{write_tar(f / "0.tar", []).parent}"',
        "its tars have no members.*; mend source.image or source.text or source.root",
    ),
    "pictures in base64": (
        lambda f: parquet(f, image=["iVBORw0KGgo" * 2000] * 3),
        "File name too long: .{0,300}; mend source.image_column",
    ),
    "lists of images": (
        lambda f: parquet(f, image=[[STRUCT, STRUCT]]),
        "of type list.* it cannot be source.image_column",
    ),
    "numbers for images": (lambda f: parquet(f, image=[1, 2]), "of type int64; it cannot be source.image_column"),
    "captions for images": (lambda f: parquet(f, image=["a cat", "a dog"]), "mend source.image_column or source.root"),
    "a field that is not there": (lambda f: lines(f, text="a"), "mend source.image_field or source.root"),
    "a list in a field": (
        lambda f: lines(f, image=["1.png", "2.png"]) + ', image_field = "image"',
        r"t\.jsonl:1: 'image' is .*not a text",
    ),
    "a dataset of lists of images": (
        lambda f: saved(f, image=[[STRUCT, STRUCT]] * 3),
        "is of type .*it cannot be source.image_column",
    ),
    "a dataset of numbers": (lambda f: saved(f, image=[1, 2]), "is of type .*it cannot be source.image_column"),
    "a dataset of texts": (lambda f: saved(f, image=["a", "b"]), "mend source.image_column or source.root"),
    "a dataset with another column": (
        lambda f: saved(f, picture=[STRUCT]),
        "no column 'image'; set source.image_column to one of: picture",
    ),
    "a folder of pages": (
        lambda f: f.mkdir() or (f / "1.png").touch() or f'kind = "folder", root = "{f}"',
        "not one of 1 .* mend source.root",
    ),
}


@pytest.mark.parametrize("kind", WRONG)
def test_a_corpus_that_is_wrong_as_a_whole_is_one_line(kind, extract, tmp_path):
    make, told = WRONG[kind]
    code, err = extract(f"{{ {make(tmp_path / 'corpus')} }}")
    *before, line = err.splitlines()
    assert code == 1 and line.startswith("error: ") and not any("loading" in one for one in before)
    assert re.search(told, line), line
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("made", "fields", "told"),
    [
        (lambda f: lines(f, txet="a", id=1) + ', key_field = "id"', '["text"]', "source.text_field"),
        (
            lambda f: lines(f, text="a", id=1) + ', key_field = "id", captions = 1',
            '["text"]',
            "mend source.captions or",
        ),
        (lambda f: tars(f, png=picture(), txt=b""), '["image", "text"]', r"\.png, \.txt; mend source\.text"),
        (lambda f: tars(f, png=picture()) + ', label = "cls"', '["image"]', r"has a label.* mend source\.label"),
        (
            lambda f: parquet(f, image=[picture()], y=pa.array([None], pa.int64())) + ', label_column = "y"',
            '["image"]',
            r"has a label.* mend source\.label_column",
        ),
    ],
)
def test_texts_and_labels_that_no_row_has_are_one_line(made, fields, told, extract, tmp_path):
    code, err = extract(f"{{ {made(tmp_path / 'corpus')} }}", fields)
    assert code == 1 and re.search(told, err.splitlines()[-1]), err
    assert "loading" not in err and not (tmp_path / "out").exists()


def test_a_few_bad_rows_stop_nothing(extract, tmp_path):
    source = f"{{ {table(tmp_path / 'corpus')} }}"
    (tmp_path / "corpus/0.png").write_bytes(b"<html>")
    (tmp_path / "corpus/3.png").unlink()
    _, err = extract(source)
    assert "2 of 4 samples failed" in err and len(FeatureStore(tmp_path / "out/images").ok_rows) == 2


def test_a_walk_is_summed_up_in_the_log_and_in_store_info(extract, tmp_path, run_cli):
    table(tmp_path / "corpus")
    (tmp_path / "corpus/clip.mp4").touch()
    code, err = extract(f'{{ kind = "folder", root = "{tmp_path}/corpus" }}')
    told = "4 samples taken; passed over: 1 .mp4, 1 .tsv"
    assert code == 0 and f"{tmp_path}/out/images: {told}" in err.splitlines()
    assert f"corpus   {told}" in run_cli("store", "info", tmp_path / "out/images")[1].splitlines()


def test_a_finished_store_is_not_set_aside_because_its_corpus_shrank(extract, tmp_path):
    table(tmp_path / "corpus")
    source, store = f'{{ kind = "folder", root = "{tmp_path}/corpus" }}', tmp_path / "out/images"
    assert extract(source)[0] == 0
    before = checksums(store)
    (tmp_path / "corpus/2.png").rename(tmp_path / "2.png")
    code, err = extract(source)
    line = err.splitlines()[-1]
    assert (
        code == 1 and "1 of its 4 rows gone from the corpus, the first is '2.png'" in line and "--allow-smaller" in line
    )
    assert (
        "loading" not in err
        and checksums(store) == before
        and [one.name for one in store.parent.glob("images*")] == ["images"]
    )
    assert extract(source, '["image"]', "--allow-smaller")[0] == 0
    assert len(FeatureStore(store)) == 3 and len(list(store.parent.glob("images.before-*"))) == 1


def test_a_store_does_not_make_way_where_as_many_rows_came_as_went(extract, tmp_path):
    table(tmp_path / "corpus")
    source, store = f'{{ kind = "folder", root = "{tmp_path}/corpus" }}', tmp_path / "out/images"
    assert extract(source)[0] == 0
    before = checksums(store)
    (tmp_path / "corpus/2.png").rename(tmp_path / "corpus/9.png")
    code, err = extract(source)
    assert code == 1 and "1 of its 4 rows gone from the corpus, the first is '2.png'" in err.splitlines()[-1]
    assert "loading" not in err and checksums(store) == before
    assert extract(source, '["image"]', "--allow-smaller")[0] == 0
    assert len(list(store.parent.glob("images.before-*"))) == 1


def test_another_source_with_fewer_rows_is_what_was_asked_for(extract, tmp_path):
    assert extract(f"{{ {table(tmp_path / 'corpus')} }}")[0] == 0
    (tmp_path / "corpus/t.tsv").rename(tmp_path / "corpus/u.tsv")
    (tmp_path / "corpus/t2.tsv").write_text("title\tfilepath\na cat\t1.png\n")
    other = f'{{ kind = "csv", file = "{tmp_path}/corpus/t2.tsv" }}'
    code, err = extract(other)
    assert code == 1 and "; to extract anew means 1 row," in err and len(FeatureStore(tmp_path / "out/images")) == 4
    assert extract(other, '["image"]', "--overwrite")[0] == 0
    assert len(FeatureStore(tmp_path / "out/images")) == 1


class OfOnesOwn:
    """A source of one's own whose root is no knob; `how`: what its read gives."""

    def __init__(self, *, folder: str, how: str = "file"):
        self.root, self.how = Path(folder), how

    def __iter__(self):
        return (Sample(f"k{n}", f"{n}.png", f"text {n}") for n in range(4))

    def read(self, location):
        content = (self.root / location).read_bytes()
        return {"file": self.root / location, "bytes": content, "none": None, "array": bytearray(content)}[self.how]


class WithoutRead:
    root = None

    def __iter__(self):
        return iter([Sample("k", "a.png", "text")])


def test_a_source_of_ones_own_that_gives_no_image_is_one_line(extract, tmp_path):
    table(tmp_path / "own")
    own = f'kind = "tests.engine.test_planning:OfOnesOwn", folder = "{tmp_path}/own"'
    for how, given in (("none", "NoneType"), ("array", "bytearray")):
        code, err = extract(f'{{{own}, how = "{how}"}}')
        assert code == 1 and f"sources: OfOnesOwn.read gives {given} for '0.png'; let it give bytes or a Path" in err
    code, err = extract('{kind = "tests.engine.test_planning:WithoutRead"}')
    assert code == 1 and "sources: WithoutRead has no read(location), by which an image is read" in err
    assert not (tmp_path / "out/images").exists()


def test_images_of_a_source_whose_root_is_no_knob_are_found_again(extract, tmp_path):
    table(tmp_path / "own")
    code, err = extract(f'{{kind = "tests.engine.test_planning:OfOnesOwn", folder = "{tmp_path}/own"}}')
    assert code == 0, err
    assert Originals(FeatureStore(tmp_path / "out/images"), None).open(2)[1:] == (4, 4)
