"""The page of a store: what it shows is what the store holds, and what cannot be shown is one line."""

import json
import re
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from distillkit.errors import StoreError
from distillkit.report import near
from distillkit.report.store_look import ALIKE, alike, nearest_texts, norms, texts_for
from distillkit.report.store_page import _values, write_store
from distillkit.store.reading.reader import FeatureStore
from distillkit.store.reading.selection import select
from tests.store.conftest import make_toy  # noqa: F401


@pytest.fixture(scope="module")
def stores(toy_stores):
    return FeatureStore(toy_stores / "out/images"), FeatureStore(toy_stores / "out/texts")


def test_norms_are_those_of_the_rows(stores):
    images, _ = stores
    lengths = images.read("image", images.ok_rows).float().norm(dim=1)
    found = norms(images, images.field_name("image"))
    assert (found.low, found.high) == (pytest.approx(float(lengths.min())), pytest.approx(float(lengths.max())))
    assert sum(found.counts) == found.looked == len(images.ok_rows)


def test_nearest_texts_are_by_cosine_and_each_once(stores):
    images, texts = stores
    rows = images.ok_rows[:7]
    unit = [
        torch.nn.functional.normalize(one.float(), dim=1)
        for one in (images.read("image", rows), texts.read("text", texts.ok_rows))
    ]
    best = (unit[0] @ unit[1].T).max(1)
    found = nearest_texts(images, rows, texts, k=3)
    assert [one[0][1] for one in found] == pytest.approx(best.values.tolist(), abs=1e-5)
    said = texts.values("text", texts.ok_rows[best.indices.numpy()])
    assert [one[0][0] for one in found] == said
    assert all(len({text for text, _ in one}) == 3 for one in found)


def test_a_view_is_told_to_be_one_and_has_no_size_of_its_own(stores, tmp_path):
    images, _ = stores
    select(images.path, images.ok_rows[:9], tmp_path / "view")
    page = write_store(tmp_path / "view.html", FeatureStore(tmp_path / "view")).read_text()
    assert f"It is a view of 9 of the {len(images)} rows of {images.path}, where its features lie." in page
    assert " a row.</p>" not in page
    assert " a row.</p>" in write_store(tmp_path / "store.html", images).read_text()


def test_texts_beside_a_store_are_found(stores, tmp_path):
    images, texts = stores
    assert texts_for(images, None).path == texts.path
    alone = shutil.copytree(images.path, tmp_path / "alone")
    found = texts_for(FeatureStore(alone), None)
    assert found is not None and found.path == alone  # its own captions
    manifest = json.loads((texts.path / "manifest.json").read_text())
    next(iter(manifest["teachers"].values()))["weights_sha256"] = "0" * 64
    other = shutil.copytree(texts.path, tmp_path / "other")
    (other / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(StoreError, match="made by another teacher"):
        texts_for(images, other)


def test_rows_that_are_nearly_the_same(stores, monkeypatch):
    images, _ = stores
    x = torch.nn.functional.normalize(images.read("image", images.ok_rows).float(), dim=1)
    scores = (x @ x.T).fill_diagonal_(-1)
    found = alike(images, "image", 5)
    assert found.looked == len(x) and found.rows == int((scores.max(1).values >= ALIKE).sum())
    assert [pair[2] for pair in found.pairs] == sorted((pair[2] for pair in found.pairs), reverse=True)
    for a, b, cosine in found.pairs:
        assert cosine == pytest.approx(float(scores[a, b]), abs=1e-5)


def test_a_picture_with_several_captions_is_shown_once(make_toy, tmp_path):  # noqa: F811
    toy = make_toy(rows=60, failed=())
    toy.captions = 5
    toy.arrays["toy/image"][:] = toy.arrays["toy/image"][:1]  # all pictures are alike
    source = {"kind": "folder", "knobs": {"root": str(tmp_path)}, "root": str(tmp_path), "duplicates": 0}
    store = FeatureStore(toy.write(identity={"source": source}).path)
    values = _values(store, None, None)
    texts = [card["text"] for card in values["cards"]]
    assert texts == [f"text {row}" for row in range(0, 60, 5)], "twelve pictures, each by its first caption"
    (found,) = (one for one in values["alike"] if one["name"] == "image")
    assert found["told"] == "12 of 12 rows"


def test_a_page_of_neighbours_shows_a_picture_with_several_captions_once(make_toy, tmp_path, monkeypatch):  # noqa: F811
    toy = make_toy(rows=60, failed=())
    toy.captions = 5
    store = FeatureStore(toy.write().path)
    monkeypatch.setattr(near, "uri", lambda picture: None)
    neighbours = SimpleNamespace(
        store=store,
        ids=lambda rows: np.full((len(rows), 1), -1),
        scores=lambda rows: np.zeros((len(rows), 1)),
        facts={"distinct": 1, "k": 1, "model": "toy"},
    )
    page = near.write_neighbours(tmp_path / "near.html", neighbours, store).read_text()
    assert re.findall(r"<h3>text (\d+)</h3>", page) == [str(row) for row in range(0, 60, 5)]


def test_the_page_and_its_command(stores, run_cli, tmp_path):
    images, _ = stores
    code, out, err = run_cli("show", images.path, "--out", tmp_path / "page.html")
    assert (code, out.strip()) == (0, str(tmp_path / "page.html")), err
    page = (tmp_path / "page.html").read_text()
    for told in (
        "openclip/image",
        "openclip/text",
        "nearest texts",
        images.digest,
        "Nearly the same",
        "0 rows without features",
    ):
        assert told in page, told
    assert page.count("<article>") == 24 and page.count("data:image/jpeg") >= 24
    assert not re.search(r'(src|href)="(?!data:)', page)
    assert write_store(tmp_path / "again.html", images).read_text() == page


def test_what_cannot_be_shown_is_one_line(stores, toy_stores, run_cli, tmp_path):
    images, _ = stores
    code, out, err = run_cli("show", tmp_path / "absent", "--out", tmp_path / "page.html")
    assert (code, out) == (1, "") and err.count("\n") == 1 and not (tmp_path / "page.html").exists()
    code, _, err = run_cli("show", images.path, "--out", tmp_path / "page.html", "--root", tmp_path / "nowhere")
    page = (tmp_path / "page.html").read_text()
    assert code == 0 and "are not here" in page and "data:image" not in page


def test_failures_are_told(toy_stores, run_cli, tmp_path):
    from distillkit import extract
    from tests.conftest import EXTRACT, draw

    corpus = draw(tmp_path / "corpus", 40)
    (corpus / "images/003.png").write_bytes(b"no image")
    teacher = json.loads((toy_stores / "out/images/manifest.json").read_text())["teachers"]["openclip"]["model"]
    places = {"out": tmp_path / "out", "corpus": corpus, "teacher": teacher.removeprefix("local-dir:")}
    (tmp_path / "extract.toml").write_text(EXTRACT.format(**places))
    extract(tmp_path / "extract.toml", lambda line: None)
    page = write_store(tmp_path / "page.html", FeatureStore(tmp_path / "out/images")).read_text()
    assert "1 row without features" in page and "003.png" in page and "1 of them failed" in page
    assert np.isfinite(norms(FeatureStore(tmp_path / "out/images"), "openclip/image").high)
