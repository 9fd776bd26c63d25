import contextlib
import random
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from distillkit.errors import SourceError
from distillkit.recipe import Component
from distillkit.sources import _row_groups
from distillkit.sources.parquet import Parquet
from distillkit.store.format.plan import make_plan
from tests.sources.test_webdataset import picture


def write(path, columns, **knobs):
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path, **knobs)
    return path


def example(folder):
    """As img2dataset writes it."""
    rows = {"key": ["000", "001"], "caption": ["a cat", "a dog"], "jpg": [picture(), picture("blue")]}
    write(folder / "data/00000.parquet", rows)
    write(folder / "data/00001.parquet", {"key": ["010"], "caption": ["文"], "jpg": [picture("green")]})
    return {"root": str(folder / "data"), "image_column": "jpg", "text_column": "caption", "key_column": "key"}


def read(folder, **knobs):
    return list(Parquet(root=str(folder), **knobs))


def refusal(folder, **knobs):
    with pytest.raises(SourceError) as caught:
        read(folder, **knobs)
    assert "\n" not in str(caught.value) and str(folder) in str(caught.value)
    return str(caught.value)


def test_kind_g_a_file_whose_images_are_all_paths_has_no_type_of_bytes(tmp_path):
    (tmp_path / "a.png").write_bytes(picture("blue"))
    write(tmp_path / "0.parquet", {"image": [{"bytes": None, "path": "a.png"}]})
    write(tmp_path / "1.parquet", {"image": [{"bytes": picture(), "path": None}]})
    source = Parquet(root=str(tmp_path))
    found = [source.read(one.image) for one in source]
    assert found == [tmp_path / "a.png", picture()]


def test_hugging_face_images_are_structs(tmp_path):
    (tmp_path / "train").mkdir()
    (tmp_path / "train/b.png").write_bytes(picture("blue"))
    images = [{"bytes": picture(), "path": "a.png"}, {"bytes": None, "path": "train/b.png"}]
    write(tmp_path / "train/0.parquet", {"image": images, "label": [3, None]})
    source = Parquet(root=str(tmp_path), files="train/*.parquet", label_column="label")
    samples = list(source)
    assert [one.key for one in samples] == ["train/0.parquet#0", "train/0.parquet#1"]
    assert [one.label for one in samples] == [3, None]
    assert source.read(samples[0].image) == picture()
    assert source.read(samples[1].image) == tmp_path / "train/b.png"


def test_images_by_their_paths(tmp_path):
    write(tmp_path / "0.parquet", {"file": ["images/a.png", None, "b.png"], "text": ["a", "b", None]})
    source = Parquet(root=str(tmp_path), image_column="file", text_column="text")
    samples = list(source)
    assert [one.image for one in samples] == ["images/a.png", "0.parquet#1", "b.png"]
    assert source.read("images/a.png") == tmp_path / "images/a.png"
    with pytest.raises(SourceError, match=r"0\.parquet#1: the row has no image"):
        source.read("0.parquet#1")


@pytest.mark.parametrize("path", ["../secret.png", "/etc/passwd", "link.png", "", "a\0b.png", "a.parquet#3"])
def test_paths_that_leave_the_root_are_refused(tmp_path, path):
    root = tmp_path / "corpus"
    write(root / "0.parquet", {"image": [path]})
    (tmp_path / "secret.png").write_bytes(picture())
    (root / "link.png").symlink_to(tmp_path / "secret.png")
    source = Parquet(root=str(root))
    with pytest.raises(SourceError, match=r"^0\.parquet#0: "):
        source.read(next(iter(source)).image)
    write(root / "0.parquet", {"image": [{"bytes": None, "path": path}]})
    source = Parquet(root=str(root))
    if path != "a.parquet#3":
        with pytest.raises(SourceError):
            source.read(next(iter(source)).image)


@pytest.mark.parametrize("groups", [3, 1, 0.1])
def test_rows_are_found_in_their_row_groups_with_little_memory(tmp_path, monkeypatch, groups):
    images = [picture((n, 0, 0)) for n in range(50)]
    write(tmp_path / "0.parquet", {"image": images}, row_group_size=7)
    write(tmp_path / "1.parquet", {"image": images[::-1]}, row_group_size=9)
    monkeypatch.setattr(_row_groups, "_KEPT_BYTES", int(groups * 7 * len(images[0])))
    source = Parquet(root=str(tmp_path))
    places = [one.image for one in source]
    assert [source.read(place) for place in places] == images + images[::-1]
    assert [source.read(place) for place in reversed(places)] == images + images[::-1]
    kept = [values.nbytes for values in source._images._kept.values()]
    assert len(kept) == 1 or sum(kept) <= _row_groups._KEPT_BYTES
    for place in ("0.parquet#50", f"0.parquet#{10**30}", "2.parquet#0"):
        with pytest.raises(SourceError, match="cannot be read"):
            source.read(place)


def test_a_corpus_read_in_order_reads_each_row_group_once(tmp_path, monkeypatch):
    write(tmp_path / "0.parquet", {"image": [picture()] * 40}, row_group_size=10)
    source, groups, real = Parquet(root=str(tmp_path)), [], pq.ParquetFile.iter_batches
    rows = [one.image for one in source]

    def counted(*arguments, row_groups, **knobs):
        groups.extend(row_groups)
        return real(*arguments, row_groups=row_groups, **knobs)

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", counted)
    for row in [*rows, *rows[::3]]:
        source.read(row)
    assert groups == [0, 1, 2, 3]


def test_nulls_are_lines_of_the_ledger_or_absent(tmp_path):
    rows = {"image": pa.array([picture(), None], pa.binary()), "text": ["a cat", None], "label": [None, 2]}
    write(tmp_path / "0.parquet", rows)
    source = Parquet(root=str(tmp_path), text_column="text", label_column="label")
    assert [(one.text, one.label) for one in source] == [("a cat", None), (None, 2)]
    with pytest.raises(SourceError, match=r"0\.parquet#1: the row has no image"):
        source.read("0.parquet#1")
    write(tmp_path / "0.parquet", {"image": [picture()], "key": pa.array([None], pa.string())})
    assert "row 0 has no key in 'key'" in refusal(tmp_path, key_column="key")


def test_columns_that_are_missing_or_of_another_type_are_named(tmp_path):
    images = [{"pixels": [1, 2]}]
    write(tmp_path / "0.parquet", {"image": [picture()], "n": [1.5], "odd": images, "texts": [["a", "b"]]})
    assert refusal(tmp_path, image_column="jpg").endswith("no column 'jpg'; set source.image_column to one of: image")
    assert "no column 'key'; none of its columns can: image (" in refusal(tmp_path, key_column="key")
    for knob in ("image_column", "text_column", "key_column"):
        assert f"column 'n' is of type double; it cannot be source.{knob}" in refusal(tmp_path, **{knob: "n"})
    assert "it cannot be source.image_column" in refusal(tmp_path, image_column="odd")
    assert "it cannot be source.label_column" in refusal(tmp_path, label_column="texts")


def test_other_string_types_and_lists_of_captions(tmp_path):
    captions = pa.array([["one", None, "two"], [], None], pa.list_(pa.string()))
    text = pa.array(["a", "b", "a"]).dictionary_encode()
    write(tmp_path / "0.parquet", {"image": [picture()] * 3, "captions": captions, "text": text, "id": [7, 8, 9]})
    told = {one.key: one.text for one in read(tmp_path, text_column="captions", key_column="id", captions="all")}
    assert told == {"7/0": "one", "7/1": "two", "8": None, "9": None}
    assert [one.text for one in read(tmp_path, text_column="text")] == ["a", "b", "a"]
    assert [one.text for one in read(tmp_path, text_column="captions", captions=1)] == ["two", None, None]


def test_texts_alone(tmp_path):
    write(tmp_path / "0.parquet", {"text": ["a cat", "", "a dog"]})
    assert [(one.image, one.text) for one in read(tmp_path, image_column=None, text_column="text")] == [
        (None, "a cat"),
        (None, None),
        (None, "a dog"),
    ]


def test_the_order_of_the_rows_changes_no_key(tmp_path):
    rows = {"image": [picture((n, 0, 0)) for n in range(9)], "id": [f"k{n}" for n in range(9)]}
    write(tmp_path / "a/0.parquet", rows)
    write(tmp_path / "b/0.parquet", {name: values[::-1] for name, values in rows.items()})

    def content(folder):
        source = Parquet(root=str(folder), key_column="id")
        return {one.key: source.read(one.image) for one in source}

    assert content(tmp_path / "a") == content(tmp_path / "b") and len(content(tmp_path / "a")) == 9


def test_files_cut_anywhere_and_other_files_are_named(tmp_path):
    path = write(tmp_path / "0.parquet", {"image": [picture()] * 20, "text": [f"text {n}" for n in range(20)]})
    whole = path.read_bytes()
    for length in (0, 3, 4, 100, len(whole) // 2, len(whole) - 9, len(whole) - 1):
        path.write_bytes(whole[:length])
        assert "0.parquet: damaged, or no Parquet file" in refusal(tmp_path, text_column="text")
    damaged = bytearray(whole)
    damaged[4:200] = b"\xff" * 196
    path.write_bytes(damaged)
    with pytest.raises(SourceError):
        source = Parquet(root=str(tmp_path), text_column="text")
        [source.read(one.image) for one in source]


def test_an_empty_file_makes_no_plan(tmp_path):
    write(tmp_path / "0.parquet", {"image": pa.array([], pa.binary())})
    with pytest.raises(SourceError, match="no sample of it can be taken"):
        make_plan(Parquet(root=str(tmp_path)), tmp_path)


@pytest.mark.parametrize("knobs", [{}, {"text_column": "text", "key_column": "id"}])
def test_bytes_flipped_anywhere_are_an_error_of_one_line_or_a_line_of_the_ledger(tmp_path, knobs):
    columns = {"image": images_of(20), "text": [f"text {n}" for n in range(20)], "id": list(range(20))}
    path = write(tmp_path / "0.parquet", columns, row_group_size=7)
    whole, draw = path.read_bytes(), random.Random(0)
    for _ in range(300):
        content = bytearray(whole)
        for _ in range(draw.choice((1, 3, 30))):
            content[draw.randrange(len(content))] = draw.choice((0, 255, draw.randrange(256)))
        path.write_bytes(content)
        source = Parquet(root=str(tmp_path), **knobs)
        try:
            plan, _ = make_plan(source, source.root)
        except SourceError as error:
            assert "\n" not in str(error)
            continue
        for place in plan["image"].to_pylist():
            with contextlib.suppress(SourceError):
                source.read(place)


def images_of(count):
    return [{"bytes": picture((n, 0, 0)), "path": None} for n in range(count)]


def test_kind_i_a_row_group_above_2_gb_is_read_in_order_within_little_memory(tmp_path):
    """As a whole it is beyond Arrow's structs, and its failure took seconds for each image."""
    code = f"""
import resource, time
import pyarrow as pa, pyarrow.parquet as pq
from distillkit.sources.parquet import Parquet
image = bytes(range(256)) * 4096
struct = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
chunk = pa.array([{{"bytes": image, "path": None}}] * 64, struct)
table = pa.table({{"image": pa.chunked_array([chunk] * 34)}})
options = dict(write_statistics=False, dictionary_pagesize_limit=2**30)  # equal images: a small file
pq.write_table(table, "{tmp_path}/0.parquet", row_group_size=10**6, **options)
assert pq.read_metadata("{tmp_path}/0.parquet").num_row_groups == 1 and table.nbytes > 2**31
del table, chunk
before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
source = Parquet(root="{tmp_path}")
rows = [sample.image for sample in source]
assert len(rows) == 2176 and all(source.read(row) == image for row in rows)
assert source.read(rows[2100]) == image and source.read(rows[3]) == image  # a look back, and to the beginning
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    grown = int(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True).stdout)
    assert grown < 450 * 1024  # KiB: 256 MiB are kept


def test_a_column_that_is_null_in_one_file_of_many_costs_nothing(tmp_path):
    rows = {"image": [picture()], "text": ["a cat"], "label": [1], "id": ["a"]}
    write(tmp_path / "0.parquet", rows)
    write(tmp_path / "1.parquet", rows | {"text": pa.nulls(1), "label": pa.nulls(1), "id": ["b"]})
    write(tmp_path / "2.parquet", rows | {"image": pa.nulls(1), "label": [2.0], "id": ["c"]})
    knobs = {"text_column": "text", "label_column": "label", "key_column": "id"}
    source = Parquet(root=str(tmp_path), **knobs)
    plan, _ = make_plan(source, source.root)
    assert plan["text"].to_pylist() == ["a cat", None, "a cat"] and plan["label"].to_pylist() == [1, None, 2]
    assert source.read(plan["image"][1].as_py()) == picture()
    with pytest.raises(SourceError, match="the row has no image"):
        source.read(plan["image"][2].as_py())


@pytest.mark.parametrize("listed", [False, True])
def test_a_caption_that_is_not_utf_8_costs_no_picture(tmp_path, listed):
    texts = pa.array([b"a cat", b"caf\xe9", b"a dog"]).view(pa.string())
    texts = pa.ListArray.from_arrays([0, 1, 2, 3], texts) if listed else texts
    write(tmp_path / "0.parquet", {"image": [picture()] * 3, "text": texts, "id": ["a", None, "c"]})
    source = Parquet(root=str(tmp_path), text_column="text", key_column="id")
    assert [(one.key, one.text) for one in source] == [("a", "a cat"), ("0.parquet#1", None), ("c", "a dog")]
    assert source.account.lost == {"caption(s) not in UTF-8": 1, "key(s)": 1}


def test_links_to_folders_and_to_blobs_of_the_hub_are_read(tmp_path):
    blobs, snapshot = tmp_path / "datasets--o--n/blobs", tmp_path / "datasets--o--n/snapshots/0123abc"
    (snapshot / "data").mkdir(parents=True)
    blobs.mkdir()
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk/a.png").write_bytes(picture())
    (blobs / "66").write_bytes(picture("blue"))
    write(blobs / "55", {"image": ["images/a.png", "b.png"]})
    (snapshot / "images").symlink_to(tmp_path / "disk")
    (snapshot / "b.png").symlink_to("../../blobs/66")
    (snapshot / "data/0.parquet").symlink_to("../../../blobs/55")
    source = Parquet(root=str(snapshot), files="data/*.parquet")
    assert [source.read(one.image).read_bytes() for one in source] == [picture(), picture("blue")]


# A table of paths, as of the kinds csv and jsonl: `file`, and `root` for where its paths start.


def test_a_table_of_paths_need_not_lie_among_its_images(tmp_path):
    path = write(tmp_path / "tables/photos.parquet", {"image": ["a.png", "deep/b.png"], "id": ["x", "y"]})
    (tmp_path / "photos/deep").mkdir(parents=True)
    for name in ("a.png", "deep/b.png"):
        (tmp_path / "photos" / name).write_bytes(picture())
    source = Parquet(file=str(path), root=str(tmp_path / "photos"), key_column="id")
    assert [(one.key, one.image) for one in source] == [("x", "a.png"), ("y", "deep/b.png")]
    assert [source.read(one.image) for one in source] == [tmp_path / "photos/a.png", tmp_path / "photos/deep/b.png"]
    path.unlink()  # a store knows all that was in it, so training goes on without it
    gone = Parquet(file=str(path), root=str(tmp_path / "photos"))
    assert gone.read("a.png") == tmp_path / "photos/a.png"
    with pytest.raises(SourceError, match=r"photos\.parquet: no such file"):
        list(gone)


def test_paths_of_a_table_start_in_its_folder_if_nothing_is_said(tmp_path):
    path = write(tmp_path / "photos.parquet", {"image": ["a.png"]})
    (tmp_path / "a.png").write_bytes(picture())
    source = Parquet(file=str(path))
    assert source.root == tmp_path and [source.read(one.image) for one in source] == [tmp_path / "a.png"]
    assert [(one.key, one.image) for one in source] == [("a.png", "a.png")]  # the keys of csv


@pytest.mark.parametrize("path", ["../secret.png", "../tables/secret.png", "link.png"])
@pytest.mark.parametrize("struct", [False, True])
def test_paths_of_a_table_elsewhere_stay_below_the_root(tmp_path, path, struct):
    (tmp_path / "photos").mkdir()
    table = write(tmp_path / "tables/0.parquet", {"image": [{"bytes": None, "path": path} if struct else path]})
    for secret in ("secret.png", "tables/secret.png"):
        (tmp_path / secret).write_bytes(picture())
    (tmp_path / "photos/link.png").symlink_to(tmp_path / "secret.png")
    source = Parquet(file=str(table), root=str(tmp_path / "photos"))
    with pytest.raises(SourceError, match="leaves"):
        source.read(next(iter(source)).image)


def test_images_in_the_rows_of_one_table_are_read_beside_it_or_where_they_were_moved_to(tmp_path):
    path = write(tmp_path / "tables/0.parquet", {"image": [picture(), picture("blue")]})
    (tmp_path / "photos").mkdir()
    source = Parquet(file=str(path), root=str(tmp_path / "photos"))
    assert [source.read(one.image) for one in source] == [picture(), picture("blue")]
    path.rename(tmp_path / "photos/0.parquet")
    assert Parquet(file=str(path), root=str(tmp_path / "photos")).read("0.parquet#1") == picture("blue")


def test_a_table_and_a_pattern_of_tables_are_not_both_meant(tmp_path):
    path = write(tmp_path / "0.parquet", {"image": ["a.png"]})
    with pytest.raises(SourceError, match=r"is one table, but source\.files = 'x\*'; leave out"):
        Parquet(file=str(path), files="x*")
    with pytest.raises(SourceError, match=r"parquet: set source\.file .* or source\.root"):
        Parquet()


def test_a_store_of_before_is_the_same_corpus_and_stays(tmp_path):
    """Its identity holds the knobs as they were written: none of them is another one by now."""
    (tmp_path / "a.png").write_bytes(picture())
    write(tmp_path / "0.parquet", {"image": ["a.png"]})
    component = Component(kind="parquet", root=str(tmp_path))
    component.check("sources", "source")
    source = component.build("sources")
    assert component.knobs == {"root": str(tmp_path)} and str(source.root) == str(tmp_path)
    assert [(one.key, one.image) for one in source] == [("0.parquet#0", "a.png")]


def test_a_column_may_be_called_anything_and_the_refusal_is_one_line_that_commands_no_terminal(tmp_path):
    pq.write_table(pa.table({"imag\n\x1b[2J": [b"x"], "text": ["a"]}), tmp_path / "rows.parquet")
    with pytest.raises(SourceError) as refused:
        list(Parquet(root=str(tmp_path)))
    assert r"set source.image_column to one of: imag\n\x1b[2J" in str(refused.value)


@pytest.mark.parametrize(
    ("files", "told"),
    [("pairs.parquet", "pairs.parquet"), ("{table}", "{table}"), ("*.parquet", "FOLDER/TABLE.parquet")],
)
def test_a_table_that_is_not_below_the_root_of_its_images_is_told_the_knob_for_one(tmp_path, files, told):
    """`files` are looked for below the root, so a table elsewhere is none of them."""
    (tmp_path / "images").mkdir()
    (tmp_path / "images/a.png").write_bytes(picture())
    table = str(write(tmp_path / "pairs.parquet", {"image": ["a.png"]}))
    found = refusal(tmp_path / "images", files=files.format(table=table))
    assert f'say source.file = "{told.format(table=table)}", its path, in place of source.files' in found
    source = Parquet(file=table, root=str(tmp_path / "images"))
    assert source.images_elsewhere == "" and [source.read(one.image) for one in source] == [tmp_path / "images/a.png"]


def test_tables_whose_images_are_not_below_their_folder_are_told_the_same(tmp_path):
    from distillkit.engine.planning import planned
    from distillkit.recipe import Corpus

    (tmp_path / "images").mkdir()
    (tmp_path / "images/a.png").write_bytes(picture())
    write(tmp_path / "tables/pairs.parquet", {"image": ["a.png"]})
    source = {"kind": "parquet", "root": str(tmp_path / "tables"), "files": "pairs.parquet"}
    with pytest.raises(SourceError) as refused:
        planned(Corpus(name="one", source=source, fields=["image"]), tmp_path / "store", lambda line: None)
    assert 'source.root in the recipe; of one table whose images lie in another folder say source.file = "' in str(
        refused.value
    )
