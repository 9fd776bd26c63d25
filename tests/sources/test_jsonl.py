import gzip
import json
import random

import pyarrow as pa
import pytest
from PIL import Image

from distillkit.errors import SourceError
from distillkit.sources.jsonl import Jsonl
from distillkit.sources.textlines import TextLines


def example(folder):
    for name in ("a.png", "b.png"):
        Image.new("RGB", (4, 4)).save(folder / name)
    return {
        "file": str(write(folder, [{"image": "a.png", "text": "a cat"}, {"image": "b.png"}])),
        "image_field": "image",
    }


def write(folder, items, name="items.jsonl"):
    path = folder / name
    path.write_text("".join((one if isinstance(one, str) else json.dumps(one)) + "\n" for one in items))
    return path


def read(path, **knobs):
    return [(one.key, one.text, one.label) for one in Jsonl(file=str(path), **knobs)]


def test_fields_at_any_depth(tmp_path):
    item = {"image": "a.png", "meta": {"caption": "a cat", "class": 3, "id": 17}}
    knobs = {"text_field": "meta.caption", "label_field": "meta.class", "image_field": "image"}
    path = write(tmp_path, [item, "", {"image": "b.png", "meta": None}])
    assert read(path, **knobs) == [("a.png", "a cat", 3), ("b.png", None, None)]
    path = write(tmp_path, [item])
    assert read(path, **knobs, key_field="meta.id") == [("17", "a cat", 3)]


def test_the_key_of_a_text_is_that_of_text_lines(tmp_path):
    sentences = [f"sentence {n}" for n in range(20)]
    (tmp_path / "lines.txt").write_text("\n".join(sentences))
    random.Random(0).shuffle(sentences)
    keys = {text: key for key, text, _ in read(write(tmp_path, [{"text": text} for text in sentences]))}
    assert keys == {one.text: one.key for one in TextLines(file=str(tmp_path / "lines.txt"))}


def test_several_captions(tmp_path):
    path = write(tmp_path, [{"image": "a.png", "text": ["one", "two"]}])
    assert [row[:2] for row in read(path, image_field="image", captions="all")] == [
        ("a.png/0", "one"),
        ("a.png/1", "two"),
    ]
    assert [row[:2] for row in read(path, image_field="image", captions=1)] == [("a.png", "two")]
    with pytest.raises(SourceError, match=r"items\.jsonl:1: a\.png: has 2 captions"):
        read(path, image_field="image")


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("{", "items.jsonl:2: "),
        ("[1]", "a JSON list, not an object"),
        ('{"text": 3}', "'text' is 3, not a text"),
        ('{"text": ["a", 3]}', "something else than texts"),
        ('{"text": "\\ud800"}', "surrogates"),
        ('{"text": "a", "image": "../a.png"}', "leaves"),
        ('{"text": "a", "image": "a\\u0000"}', "no path"),
        ("[" * 100_000, "items.jsonl:2: "),
    ],
)
def test_what_cannot_be_used_is_named_by_its_line(tmp_path, line, told):
    path = write(tmp_path, [{"text": "fine", "image": "b.png"}, line])
    assert [row[0] for row in read(path, image_field="image", label_field="label")] == ["b.png", "items.jsonl:2"]
    source = Jsonl(file=str(path), image_field="image", label_field="label")
    with pytest.raises(SourceError) as caught:
        source.read(list(source)[1].image)
    assert "items.jsonl:2: " in str(caught.value) and told in str(caught.value) and "\n" not in str(caught.value)
    with pytest.raises(SourceError, match=r"items\.jsonl:1: "):  # where nothing was usable before, a knob is wrong
        read(write(tmp_path, [line]), image_field="image", label_field="label")


def packed(content, codec):
    if codec == "gz":
        return gzip.compress(content)
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(content)
    return sink.getvalue().to_pybytes()


@pytest.mark.parametrize("codec", ["gz", "zst"])
def test_packed_files_are_the_same_and_cut_ones_are_told(tmp_path, codec):
    path = write(tmp_path, [{"text": f"sentence {n} café"} for n in range(3000)])
    content = path.read_bytes()
    lines = tmp_path / f"items.jsonl.{codec}"
    lines.write_bytes(packed(content[:5000], codec) + packed(content[5000:], codec))  # several parts in one file
    assert read(lines) == read(path)
    whole = lines.read_bytes()
    for length in (10, len(whole) // 2, len(whole) - 1):
        lines.write_bytes(whole[:length])
        with pytest.raises(SourceError, match=rf"items\.jsonl\.{codec}: cannot be read after line \d+"):
            read(lines)
    lines.write_bytes(content)
    with pytest.raises(SourceError, match="cannot be read after line 0"):
        read(lines)

    sentences = tmp_path / f"texts.txt.{codec}"
    sentences.write_bytes(packed(b"a cat\na dog\n", codec))
    assert [one.text for one in TextLines(file=str(sentences))] == ["a cat", "a dog"]


def test_missing_places_are_named(tmp_path):
    with pytest.raises(SourceError, match=r"absent\.jsonl: no such file"):
        Jsonl(file=str(tmp_path / "absent.jsonl"))
    with pytest.raises(SourceError, match=r"neither source\.text_field nor"):
        Jsonl(file=str(write(tmp_path, [])), text_field=None)


def test_a_caption_that_is_none_costs_no_picture(tmp_path):
    said = ['"a cat"', "3", r'"\ud800"', '"caf\udce9"']
    lines = [f'{{"image": "{name}.png", "text": {text}}}\n' for name, text in zip("abcd", said, strict=True)]
    path = tmp_path / "items.jsonl"
    path.write_bytes("".join(lines).encode("utf-8", "surrogateescape"))
    source = Jsonl(file=str(path), image_field="image")
    assert [(one.key, one.text) for one in source] == [("a.png", "a cat")] + [(f"{n}.png", None) for n in "bcd"]
    assert source.account.lost == {"caption(s) without a text": 3}
    assert [loss["key"] for loss in source.account.losses] == ["b.png", "c.png", "d.png"]


def test_links_are_those_of_tables(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "corpus").mkdir()
    Image.new("RGB", (4, 4)).save(tmp_path / "disk/a.png")
    (tmp_path / "corpus/images").symlink_to("../disk")
    (tmp_path / "corpus/b.png").symlink_to("../disk/a.png")
    path = write(tmp_path / "corpus", [{"image": "images/a.png"}, {"image": "b.png"}])
    assert [row[0] for row in read(path, image_field="image")] == ["images/a.png", "items.jsonl:2"]
    assert [row[0] for row in read(path, image_field="image", follow_links=True)] == ["images/a.png", "b.png"]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b'[\n{"text": "a"}\n]\n', r"items\.jsonl:1: no JSON object in UTF-8 \(.*\); write one object a line"),
        (
            '{"text": "a"}\n'.encode("utf-16"),
            r"items\.jsonl:1: no JSON object in UTF-8 \(.*\); write one object a line",
        ),
        (b'{"text": ' + b"9" * 5000 + b"}", r"no JSON object in UTF-8 \(Exceeds[^;]*\); write one object a line$"),
        (b'{"text": 5}', r"'text' is 5, not a text or a list; mend it, or name another field$"),
    ],
)
def test_kind_f_a_file_that_is_no_jsonl_says_how_it_should_be(tmp_path, content, told):
    (tmp_path / "items.jsonl").write_bytes(content)
    with pytest.raises(SourceError, match=told):
        list(Jsonl(file=str(tmp_path / "items.jsonl")))
