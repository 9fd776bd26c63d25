"""DIME-FM's filter by hand: who is kept, what is told, and that training reads the view."""

import json

import numpy as np
import pytest

from distillkit.errors import DistillkitError
from distillkit.mine import mine_here
from distillkit.mining.select import nearest_image, select_texts
from distillkit.recipe import Data, MineRecipe, SelectRecipe
from distillkit.report import near
from distillkit.store.reading.neighbours import Neighbours
from distillkit.store.reading.reader import FeatureStore
from distillkit.store.reading.selection import select
from distillkit.store.upkeep.verify import verify
from distillkit.training.batches import Batches
from tests.mining.conftest import clustered, images, quick_disk, texts, truth, write
from tests.store.reading.test_neighbours import blind

__all__ = ["images", "quick_disk", "texts"]  # fixtures


@pytest.fixture
def stores(images, texts, monkeypatch):
    monkeypatch.setattr(near, "uri", lambda one: f"data:{one['row']}")  # the toy's images are names only
    mine_here(MineRecipe(queries=str(images.path), corpus=str(texts.path), k=32, rows_per_shard=64), 1, lambda _: None)
    return FeatureStore(images.path), texts


def recipe(stores, out, **knobs):
    return SelectRecipe(**{"images": str(stores[0].path), "texts": str(stores[1].path), "out": str(out)} | knobs)


def test_kept_are_the_texts_near_to_an_image_and_no_others(tmp_path, stores):
    said = []
    out = select_texts(recipe(stores, tmp_path / "view", k=4, min_cosine=0.8), said.append)
    rows, cosines = truth(*stores, 4)
    expected = np.unique(rows[cosines.astype(np.float16) > np.float32(0.8)])
    view = FeatureStore(out)
    assert view.ok_rows.tolist() == expected.tolist() and 10 < len(expected) < 900
    facts = json.loads((out / "selection.json").read_text())
    near = len(np.unique(rows))
    assert (facts["texts"], facts["kept"], facts["duplicates"]) == (999, len(expected), 0)
    assert (facts["never"], facts["too_far"]) == (999 - near, near - len(expected))
    assert sum(facts["histogram"]["counts"]) == near
    assert f"{len(expected)} of 999 texts kept" in said[0]
    assert sum(file.stat().st_size for file in out.iterdir() if file.suffix != ".html") < 40_000  # no vector is copied
    assert not verify(out)


@pytest.mark.parametrize("mined_in", ["all of them", "a half"])
def test_where_others_were_searched_nobody_is_called_equal_to_another(tmp_path, stores, mined_in):
    """Of texts that mining never looked at, half of a store was called "equal to another"."""
    images, texts = stores
    half = tmp_path / "half"
    select(texts.path, texts.ok_rows[::2], half)
    if mined_in == "a half":
        asked = {"queries": str(images.path), "corpus": str(half), "k": 32, "rows_per_shard": 64, "name": "halved"}
        mine_here(MineRecipe(**asked), 1, lambda _: None)
        stores, meant, usable, knobs = (FeatureStore(images.path), texts), 999, 999, {"neighbours": "halved"}
    else:
        meant, usable, knobs = 500, 500, {"texts": str(half)}
    said = []
    out = select_texts(recipe(stores, tmp_path / "view", k=4, min_cosine=0.8, **knobs), said.append)
    facts = json.loads((out / "selection.json").read_text())
    assert (facts["texts"], facts["duplicates"]) == (meant, None)
    assert facts["never"] + facts["too_far"] + facts["kept"] == usable
    told = "equal to another, not searched, or "
    assert f"{facts['never']:,} {told}no image's neighbour" in said[-1]
    assert f"{facts['never']:,} texts {told}near to no image" in (out / "selection.html").read_text()


@pytest.mark.parametrize(
    ("knobs", "told", "count"),
    [
        ({}, "equal to another or zeros", 4),
        ({"equal_texts": "each"}, "zeros", 3),
        ({"near_duplicates": 0.99}, "equal to another, nearly so or zeros", 5),
    ],
)
def test_what_mining_left_out_is_called_what_it_is(tmp_path, images, monkeypatch, knobs, told, count):
    """Three texts without a direction, one equal to another and one that nearly is were all "equal to another"."""
    monkeypatch.setattr(near, "uri", lambda one: f"data:{one['row']}")
    # One near to none but its like; of the others no two are.
    apart = np.eye(32)[:12]
    vectors = np.concatenate([apart, apart[:1] + 0.001, apart[1:2], np.zeros((3, 32))])
    words = [f"text {row}" for row in range(len(vectors))]
    words[13] = words[1]
    corpus = write(tmp_path / "corpus", "text", vectors, texts=words)
    asked = {"queries": str(images.path), "corpus": str(corpus.path), "k": 4, "rows_per_shard": 512} | knobs
    mine_here(MineRecipe(**asked), 1, lambda _: None)
    said = []
    out = select_texts(recipe((images, corpus), tmp_path / "view", k=4, min_cosine=-1.0), said.append)
    facts = json.loads((out / "selection.json").read_text())
    assert facts["duplicates"] == count and f", {count} {told}, " in said[-1]
    assert facts["never"] + facts["too_far"] + facts["kept"] == len(vectors) - count
    assert f"{count} texts {told}; " in (out / "selection.html").read_text()


def test_a_text_is_as_near_as_its_nearest_image(stores):
    best, image = nearest_image(Neighbours(stores[0], "neighbours", stores[1]), len(stores[1]))
    rows, cosines = truth(*stores, 32)
    for text in (0, 5, 500):
        hits = np.argwhere(rows == text)
        if not len(hits):
            assert best[text] == -np.inf and image[text] == -1
            continue
        nearest = max(hits.tolist(), key=lambda hit: cosines[tuple(hit)])
        assert best[text] == pytest.approx(cosines[tuple(nearest)], abs=1e-3)
        assert image[text] == stores[0].ok_rows[nearest[0]]


def test_the_page_shows_both_kinds_and_the_histogram(tmp_path, stores):
    out = select_texts(recipe(stores, tmp_path / "view", k=4, min_cosine=0.8, examples=5), lambda _: None)
    page = (out / "selection.html").read_text()
    assert page.count("<article") == 10 and page.count("<rect") == 60 and "<svg" in page
    page = near.write_neighbours(
        tmp_path / "n.html", Neighbours(*stores[:1], "neighbours", stores[1]), stores[1], 7
    ).read_text()
    first = Neighbours(*stores[:1], "neighbours", stores[1]).ids(stores[0].ok_rows[:1])[0, 0]
    assert page.count("<article") == 7 and f"<span>text {first}</span>" in page


def test_training_reads_the_view(tmp_path, stores):
    out = select_texts(recipe(stores, tmp_path / "view", k=4), lambda _: None)
    data = Data(images=str(stores[0].path), texts=str(out), batch_size=16, text_batch_size=64)
    kept = {row.numpy().tobytes() for row in stores[1].read("text", FeatureStore(out).ok_rows)}
    batch = Batches(data, 0, blind()).at(0)
    assert len(batch.teacher.text) == 64 and all(row.numpy().tobytes() in kept for row in batch.teacher.text)


def test_refusals_are_one_line(tmp_path, stores):
    other = write(tmp_path / "other", "text", np.ones((5, 32)))
    for knobs, pair, message in (
        (
            {"k": 33},
            stores,
            "32 'neighbours' were mined of each row, 33 are asked for; ask for fewer, or mine again with k = 33",
        ),
        ({"min_cosine": 1.0}, stores, r"no text is above min_cosine = 1\.0, the best at 0\.9\d+; lower min_cosine"),
        ({"neighbours": "absent"}, stores, "no neighbours 'absent'"),
        ({}, (stores[0], other), "mined in the text store"),
        ({"out": str(stores[1].path)}, stores, "holds a store; move it away"),
    ):
        with pytest.raises(DistillkitError, match=message) as told:
            select_texts(recipe(pair, **({"out": str(tmp_path / "no")} | knobs)))
        assert "\n" not in str(told.value)


def test_selecting_ends_with_the_command_that_uses_what_was_kept(tmp_path, stores, run_cli):
    file = tmp_path / "select.toml"
    file.write_text(f'images = "{stores[0].path}"\ntexts = "{stores[1].path}"\nout = "{tmp_path / "kept"}"\n')
    told = f"next: distillkit recipe new FILE --images {stores[0].path} --texts {tmp_path / 'kept'}  (asks"
    assert told in run_cli("select-texts", file)[2]
    assert run_cli("select-texts", file, "--set", 'next="other"')[2].endswith("next: other\n")


def test_images_that_mining_did_not_ask_about_are_told(tmp_path, images, texts, monkeypatch):
    """Where none was asked, no threshold would be low enough."""
    monkeypatch.setattr(near, "uri", lambda one: f"data:{one['row']}")
    fit = select(images.path, np.arange(100), tmp_path / "fit").path
    held = select(images.path, np.arange(100, 300), tmp_path / "held").path
    mine_here(MineRecipe(queries=str(fit), corpus=str(texts.path), k=32, rows_per_shard=64), 1, lambda _: None)
    told = (
        f"{held}: none of its 199 images has neighbours (mined were those of {fit}); mine them: "
        f"distillkit mine-neighbours RECIPE --set 'queries=\"{held}\"' "
        "(and another name, if those that are there are to stay)"
    )
    with pytest.raises(DistillkitError) as refused:
        select_texts(recipe((FeatureStore(held), texts), tmp_path / "out", min_cosine=0.25))
    assert str(refused.value) == told
    said = []
    select_texts(recipe((images, texts), tmp_path / "out"), said.append)
    assert said[0].startswith(f"{images.path}: 199 of 298 images have no neighbours (mined were those of {fit}) and ")
    select_texts(recipe((FeatureStore(fit), texts), tmp_path / "out"), said.clear() or said.append)
    assert len(said) == 1
    (images.path / "added/neighbours/mine.jsonl").unlink()  # of an older one nobody knows
    with pytest.raises(DistillkitError, match="has neighbours; mine them"):
        select_texts(recipe((FeatureStore(held), texts), tmp_path / "out"))


def test_texts_of_which_none_is_a_neighbour_are_told_as_such(tmp_path, stores):
    ids = Neighbours(stores[0], "neighbours", stores[1], 1).ids(stores[0].ok_rows)
    far = select(stores[1].path, np.setdiff1d(stores[1].ok_rows, ids), tmp_path / "far").path
    with pytest.raises(DistillkitError, match=r"none of its \d+ texts is a neighbour of an image of .*; raise k, or"):
        select_texts(recipe((stores[0], FeatureStore(far)), tmp_path / "out", k=1))


def test_a_selection_of_other_settings_is_replaced_only_when_that_is_asked_for(tmp_path, stores, run_cli):
    out = select_texts(recipe(stores, tmp_path / "view", k=4, min_cosine=0.8))
    before, digest = FeatureStore(out).ok_rows, FeatureStore(out).digest
    select_texts(recipe(stores, out, k=4, min_cosine=0.8, examples=3))
    assert FeatureStore(out).digest == digest
    told = rf"view: is a view of {len(before)} texts, now \d+ are kept \(min_cosine: 0.8 -> 0.7\); name another out, or"
    with pytest.raises(DistillkitError, match=told):
        select_texts(recipe(stores, out, k=4, min_cosine=0.7))
    assert FeatureStore(out).digest == digest
    file = tmp_path / "select.toml"
    file.write_text(
        f'images = "{stores[0].path}"\ntexts = "{stores[1].path}"\nout = "{out}"\nk = 4\nmin_cosine = 0.7\n'
    )
    assert run_cli("select-texts", file)[0] == 1 and FeatureStore(out).digest == digest
    assert run_cli("select-texts", file, "--overwrite")[0] == 0 and len(FeatureStore(out).ok_rows) > len(before)
    other = select(stores[1].path, np.arange(5), tmp_path / "by-hand").path  # made by store view
    with pytest.raises(DistillkitError, match=r"by-hand: is a view of 5 other rows of .*; name another place, or add"):
        select_texts(recipe(stores, other, k=4))


def test_images_without_a_direction_were_asked_in_vain_here_as_in_training(tmp_path, texts, monkeypatch):
    monkeypatch.setattr(near, "uri", lambda one: f"data:{one['row']}")
    vectors = clustered(300, 1)
    vectors[[7, 250]] = 0
    store, said = write(tmp_path / "some", "image", vectors, failed=(3,)), []
    mine_here(MineRecipe(queries=str(store.path), corpus=str(texts.path), k=8), 1, lambda _: None)
    select_texts(recipe((store, texts), tmp_path / "out"), said.append)
    assert len(said) == 1, "mining again would not help them"
    fit = select(store.path, np.arange(100), tmp_path / "fit").path
    asked = MineRecipe(queries=str(fit), corpus=str(texts.path), k=8, name="of_fit")
    mine_here(asked, 1, lambda _: None)
    store = FeatureStore(store.path)
    select_texts(recipe((store, texts), tmp_path / "more", neighbours="of_fit"), said.clear() or said.append)
    assert said[0].startswith(f"{store.path}: 199 of 299 images have no of_fit"), said
    data = {"images": str(store.path), "texts": str(texts.path), "batch_size": 16, "sampling": "proximal"}
    with pytest.raises(DistillkitError, match="199 of 299 images have no 'of_fit'"):
        Batches(Data(**data, neighbours="of_fit"), 0, blind())
