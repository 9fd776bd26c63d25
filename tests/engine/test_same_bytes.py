"""Stage 1 again: what changes no byte, and what is never lost."""

import json
import random

import numpy as np

from distillkit.store.reading.reader import FeatureStore
from tests.engine.whole import checksums, files, rows


def test_threads_and_place_of_the_store_change_no_byte(extract, stores, tmp_path):
    assert extract()[0] == 0
    assert extract("decode_threads=5", f'out="{tmp_path}/other"')[0] == 0
    assert files(stores / "images") == files(tmp_path / "other/images")


def test_the_order_of_the_corpus_changes_rows_but_no_key(extract, corpus, stores, tmp_path):
    assert extract()[0] == 0
    header, *lines = (corpus / "pairs.tsv").read_text().splitlines()
    random.Random(0).shuffle(lines)
    (corpus / "pairs.tsv").write_text("\n".join([header, *lines]))
    assert extract(f'out="{tmp_path}/other"')[0] == 0
    keys = [f"images/{n:03d}.png" for n in range(70)]
    one, other = FeatureStore(stores / "images"), FeatureStore(tmp_path / "other/images")
    assert one.index["key"] != other.index["key"]
    np.testing.assert_allclose(rows(one, keys), rows(other, keys), rtol=2e-3, atol=1e-4)


def test_going_back_and_forth_between_recipes_loses_no_store(extract, stores):
    """Committed rows make way only where --overwrite says so, and even then they are set aside whole."""
    wide = 'corpora.0.dtype="float32"'
    assert extract()[0] == 0
    first = checksums(stores / "images")
    code, err = extract(wide)
    assert code == 1 and "--overwrite" in err
    assert checksums(stores / "images") == first and not list(stores.glob("images.before-*"))
    assert extract(wide, "--overwrite")[0] == 0
    assert extract("--overwrite")[0] == 0
    assert extract(wide, "--overwrite")[0] == 0
    kept = [checksums(path) for path in stores.glob("images.before-*")]
    assert len(kept) == 3 and kept.count(first) == 2


def test_the_log_tells_what_each_shard_cost(extract, stores):
    extract()
    lines = [json.loads(line) for line in (stores / "images/extract.jsonl").read_text().splitlines()]
    lines = [line for line in lines if "shard" in line]  # beside what the walk of the corpus told
    assert [line["rows"] for line in lines] == [64, 6] and all(line["failed"] == 0 for line in lines)
