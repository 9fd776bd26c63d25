"""Corpora laid out as the tools that make them lay them out.

img2dataset: https://github.com/rom1504/img2dataset, img2dataset/writer.py (WebDatasetSampleWriter, ParquetSampleWriter,
FilesSampleWriter). Hugging Face: https://huggingface.co/docs/hub/datasets-image, Parquet files `data/SPLIT-*-of-*`.
"""

import gzip
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from distillkit.errors import SourceError
from distillkit.sources.folder import Folder
from distillkit.sources.jsonl import Jsonl
from distillkit.sources.parquet import Parquet
from distillkit.sources.webdataset import WebDataset
from tests.sources.test_jsonl import packed
from tests.sources.test_webdataset import picture, write_tar

CAPTIONS = {"000000000": ["a cat", "an animal"], "000000002": ["a dog", "another animal"]}
STATUS = {"000000000": "success", "000000001": "failed_to_download", "000000002": "success"}


def facts(key):
    """What img2dataset keeps of a sample; the caption as the URL list had it, here a list."""
    return {"key": key, "status": STATUS[key], "url": f"https://example.org/{key}", "caption": CAPTIONS.get(key)}


def write_metadata(path):
    rows = [facts(key) for key in STATUS]
    pq.write_table(pa.Table.from_pylist(rows), path)


def test_img2dataset_tars_with_several_captions(tmp_path):
    """A list of captions is printed into the txt and whole in the json; tables and statistics lie beside."""
    members = [
        (f"{key}.{suffix}", content)
        for key in CAPTIONS
        for suffix, content in (
            ("jpg", picture()),
            ("txt", str(CAPTIONS[key])),
            ("json", json.dumps(facts(key), indent=4)),
        )
    ]
    write_tar(tmp_path / "00000.tar", members)
    write_metadata(tmp_path / "00000.parquet")
    (tmp_path / "00000_stats.json").write_text("{}")
    source = WebDataset(root=str(tmp_path), text="json.caption", captions="all")
    assert [(one.key, one.text) for one in source] == [
        ("000000000/0", "a cat"),
        ("000000000/1", "an animal"),
        ("000000002/0", "a dog"),
        ("000000002/1", "another animal"),
    ]
    assert {source.read(one.image) for one in source} == {picture()}
    second = WebDataset(root=str(tmp_path), text="json.caption", captions=1)
    assert [one.text for one in second] == ["an animal", "another animal"]


def test_img2dataset_parquet_where_some_downloads_failed(tmp_path):
    rows = [
        facts(key)
        | {"txt": str(CAPTIONS[key][0]) if key in CAPTIONS else None, "jpg": picture() if key in CAPTIONS else None}
        for key in STATUS
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "00000.parquet", row_group_size=2)
    source = Parquet(root=str(tmp_path), image_column="jpg", text_column="txt", key_column="key")
    assert [(one.key, one.text) for one in source] == [
        ("000000000", "a cat"),
        ("000000001", None),
        ("000000002", "a dog"),
    ]
    failed = [one for one in source if one.key == "000000001"]
    with pytest.raises(SourceError, match="the row has no image"):
        source.read(failed[0].image)
    several = Parquet(root=str(tmp_path), image_column="jpg", text_column="caption", key_column="key", captions="all")
    assert [one.key for one in several] == ["000000000/0", "000000000/1", "000000001", "000000002/0", "000000002/1"]


def test_img2dataset_files(tmp_path):
    for key in CAPTIONS:
        (tmp_path / "00000").mkdir(exist_ok=True)
        (tmp_path / f"00000/{key}.jpg").write_bytes(picture())
        (tmp_path / f"00000/{key}.txt").write_text(CAPTIONS[key][0])
        (tmp_path / f"00000/{key}.json").write_text(json.dumps(facts(key)))
    write_metadata(tmp_path / "00000.parquet")
    assert [one.key for one in Folder(root=str(tmp_path))] == [f"00000/{key}.jpg" for key in CAPTIONS]


IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def write_split(path, images, **columns):
    """As `Dataset.push_to_hub` writes it: images are structs, and the features stand in the schema's metadata."""
    features = {"image": {"_type": "Image"}, "label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}
    table = pa.table({"image": pa.array(images, IMAGE), **columns})
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table.replace_schema_metadata(metadata), path)


def test_hugging_face_images_with_class_labels(tmp_path):
    for part in range(2):
        images = [{"bytes": picture(), "path": f"{part}{n}.jpg"} for n in range(2)]
        write_split(tmp_path / f"data/train-0000{part}-of-00002.parquet", images, label=[0, 1])
    write_split(tmp_path / "data/test-00000-of-00001.parquet", [{"bytes": picture(), "path": None}], label=[1])
    source = Parquet(root=str(tmp_path), files="data/train-*.parquet", label_column="label")
    assert [one.label for one in source] == [0, 1, 0, 1]
    assert [one.key for one in source][2] == "data/train-00001-of-00002.parquet#0"
    assert {source.read(one.image) for one in source} == {picture()}


def test_hugging_face_images_with_lists_of_captions(tmp_path):
    """The layout of huggingface.co/datasets/lmms-lab/flickr30k."""
    images = [{"bytes": picture(), "path": "1.jpg"}, {"bytes": picture("blue"), "path": "2.jpg"}]
    columns = {"caption": [["one", "two"], ["three"]], "sentids": [["0", "1"], ["2"]], "filename": ["1.jpg", "2.jpg"]}
    write_split(tmp_path / "data/test-00000-of-00009.parquet", images, **columns)
    knobs = {"text_column": "caption", "key_column": "filename"}
    source = Parquet(root=str(tmp_path / "data"), files="test-*.parquet", captions="all", **knobs)
    assert [(one.key, one.text) for one in source] == [("1.jpg/0", "one"), ("1.jpg/1", "two"), ("2.jpg/0", "three")]
    first = Parquet(root=str(tmp_path / "data"), files="test-*.parquet", captions=0, **knobs)
    assert [(one.key, one.text) for one in first] == [("1.jpg", "one"), ("2.jpg", "three")]


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst"])
def test_hugging_face_metadata_jsonl(tmp_path, suffix):
    """`metadata.jsonl` beside the images, with `file_name` and further columns; packed or not."""
    (tmp_path / "1.png").write_bytes(picture())
    line = json.dumps({"file_name": "1.png", "text": "a cat", "label": 3}).encode() + b"\n"
    content = {"": line, ".gz": gzip.compress(line), ".zst": packed(line, "zst")}[suffix]
    (tmp_path / f"metadata.jsonl{suffix}").write_bytes(content)
    source = Jsonl(file=str(tmp_path / f"metadata.jsonl{suffix}"), image_field="file_name", label_field="label")
    assert [(one.key, one.text, one.label) for one in source] == [("1.png", "a cat", 3)]
    assert source.read(next(iter(source)).image).read_bytes() == picture()
