"""What a store calls its fields, and what is no store that can be read."""

import json

import pytest

from distillkit.errors import StoreError
from distillkit.store.format import manifest
from distillkit.store.format.manifest import Manifest
from distillkit.store.reading.contents import refuse_other_teacher
from distillkit.store.reading.reader import FeatureStore


def refusal(path, use=lambda store: None):
    with pytest.raises(StoreError) as caught:
        use(FeatureStore(path))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def change_manifest(path, **changes):
    manifest = json.loads((path / "manifest.json").read_bytes())
    manifest = {key: value for key, value in (manifest | changes).items() if value is not None}
    (path / "manifest.json").write_text(json.dumps(manifest))


def test_fields_have_short_names_where_there_is_no_doubt(toy):
    store = FeatureStore(toy.path)
    assert store.field_name("image") == store.field_name("toy/image") == "toy/image"
    assert store.field("patches").shape == [2, 16] and store.teacher("image")["model"] == "toy"
    assert "no field 'cls'; it has: toy/image, toy/patches, toy/text" in refusal(
        toy.path, lambda store: store.field("cls")
    )


def test_a_whole_store_is_opened_without_asking_what_would_make_it_again(toy, monkeypatch):
    """That is read off the manifest, which may be large: once is enough."""
    monkeypatch.setattr(manifest, "how_again", lambda store: pytest.fail("asked"))
    assert len(FeatureStore(toy.path))


def test_a_store_that_is_not_there(tmp_path):
    assert "no complete feature store" in refusal(tmp_path / "absent")


@pytest.mark.parametrize("version", [0, 3, "1", None])
def test_other_versions_of_the_format(toy, version):
    change_manifest(toy.path, version=version)
    assert f"store format version {version!r}, this distillkit reads 1 to 2" in refusal(toy.path)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b'"text"', b"[]", b"{}", b"null"])
def test_what_is_no_manifest(toy, content):
    (toy.path / "manifest.json").write_bytes(content)
    assert "manifest.json" in refusal(toy.path) and "extract" in refusal(toy.path)


@pytest.mark.parametrize(
    "change",
    [
        {"extra": 1},
        {"format": "other"},
        {"rows": "150"},
        {"rows": 151},
        {"rows_per_shard": 32},
        {"skipped": 0},
        {"fields": {"toy/image": {"teacher": "other", "shape": [32], "dtype": "float16"}}},
        {"fields": {"toy/image": {"teacher": "toy", "shape": [32], "dtype": "float64"}}},
        {"teachers": None},
    ],
    ids=str,
)
def test_a_manifest_that_does_not_add_up(toy, change):
    change_manifest(toy.path, **change)
    assert "not a manifest" in refusal(toy.path)


def test_shards_of_uneven_size(toy):
    """Reading them back to back would read past the end of a file, which the system answers with SIGBUS."""
    shards = [shard.model_dump() for shard in Manifest.read(toy.path).shards]
    change_manifest(toy.path, shards=shards[::-1])
    assert "do not add up" in refusal(toy.path)


def test_missing_and_truncated_shards(toy):
    path = toy.path / "toy/image/c/1/0"
    raw = path.read_bytes()
    path.write_bytes(raw[:-1])
    assert f"has {len(raw) - 1} bytes instead of {len(raw)}; run: distillkit store verify" in refusal(
        toy.path, lambda store: store.read("image", [0])
    )
    path.unlink()
    assert "c/1/0 is missing" in refusal(toy.path, lambda store: store.read("image", [0]))
    FeatureStore(toy.path).read("text", [0])  # the other fields are whole


@pytest.mark.parametrize("name", ["index/00001.arrow", "failures/00001.jsonl"])
def test_missing_and_damaged_tables(toy, name):
    raw = (toy.path / name).read_bytes()
    use = (lambda store: store.index) if "index" in name else (lambda store: store.failures())
    (toy.path / name).write_bytes(raw[:-1])
    assert f"{name} has {len(raw) - 1} bytes" in refusal(toy.path, use)
    (toy.path / name).unlink()
    assert f"{name} is missing" in refusal(toy.path, use)


def test_an_index_of_rubbish(toy):
    path = toy.path / "index/00000.arrow"
    path.write_bytes(bytes(path.stat().st_size))
    assert "index/00000.arrow is damaged; run: distillkit store verify" in refusal(toy.path, lambda store: store.index)


def test_stores_of_two_teachers_do_not_go_together(make_toy, tmp_path):
    one = FeatureStore(make_toy(path=tmp_path / "a").write().path)
    same = FeatureStore(make_toy(rows=80, failed=(), path=tmp_path / "b").write().path)
    teachers = {"teachers": {"toy": {"model": "toy", "weights_sha256": "1" * 64}}}
    other = FeatureStore(make_toy(path=tmp_path / "c").write(identity=teachers).path)
    refuse_other_teacher(one, "image", same, "text")
    with pytest.raises(StoreError, match=rf"different teachers \(weights_sha256: '{'0' * 64}' against '{'1' * 64}'\)"):
        refuse_other_teacher(one, "image", other, "image")
