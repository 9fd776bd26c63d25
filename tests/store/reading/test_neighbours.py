"""Mined neighbours in training: L_vlalign's negatives from the batch's union, and texts near to the batch's images."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from distillkit.errors import DistillkitError
from distillkit.mine import mine_here
from distillkit.recipe import Data, MineRecipe, Term
from distillkit.recipe.schema import validate
from distillkit.store.reading.neighbours import Neighbours
from distillkit.store.reading.reader import FeatureStore
from distillkit.store.reading.selection import select
from distillkit.training.batches import Batches
from distillkit.training.objective import Objective
from distillkit.training.texts import proximal
from distillkit.types import Batch, Features, Widths
from tests.mining.conftest import clustered, images, quick_disk, texts, write

__all__ = ["images", "quick_disk", "texts"]  # fixtures


@pytest.fixture
def stores(images, texts):
    recipe = MineRecipe(queries=str(images.path), corpus=str(texts.path), k=64, rows_per_shard=64)
    mine_here(recipe, 1, lambda _: None)
    return FeatureStore(images.path), texts


def data(stores, **knobs):
    images, texts = stores
    return Data(
        **{"images": str(images.path), "texts": str(texts.path), "batch_size": 16, "text_batch_size": 128} | knobs
    )


def blind(**extra):
    return SimpleNamespace(**({"image_size": None} | extra))


def test_a_batch_of_neighbours_is_the_union_and_each_image_has_its_nearest(stores):
    batches = Batches(data(stores, sampling="neighbours", neighbours_k=8), 0, blind())
    batch, ids = batches.at(3), Neighbours(*stores[:1], "neighbours", stores[1], 8).ids
    rows = stores[0].rows_of(list(batch.keys))
    union = np.unique(ids(rows))
    assert torch.equal(batch.teacher.text, stores[1].read("text", union))
    assert union[batch.match.numpy()].tolist() == ids(rows)[:, 0].tolist()
    scores = (
        torch.nn.functional.normalize(batch.teacher.image.float())
        @ torch.nn.functional.normalize(batch.teacher.text.float()).T
    )
    assert (scores.gather(1, batch.match[:, None])[:, 0] >= scores.max(1).values - 1e-3).all()


def test_l_vlalign_with_corpus_neighbours_is_the_divergence_over_each_images_own(stores):
    """Of the union, an image's top k are its k mined neighbours: the loss is that of the paper with them as classes."""
    batch = Batches(data(stores, sampling="neighbours", neighbours_k=8), 0, blind()).at(0)
    term = Term(kind="affinity", between="image, teacher text", logit_scale=1 / 0.07, directions="rows", top_k=8)
    student = torch.randn(16, 32, generator=torch.Generator().manual_seed(0))
    objective = Objective([term], Widths({"image": 32}, {"image": 32, "text": 32}))
    total, _ = objective(batch, Features(image=student))
    own = Neighbours(stores[0], "neighbours", stores[1], 8).ids(stores[0].rows_of(list(batch.keys)))
    unit, expected = torch.nn.functional.normalize, []
    for image, said, ids in zip(student, batch.teacher.image.float(), own, strict=True):
        texts = unit(stores[1].read("text", ids).float())
        t, s = (torch.log_softmax(unit(x, dim=0) @ texts.T / 0.07, 0) for x in (said, image))
        expected.append((t.exp() * (t - s)).sum())
    assert total.item() == pytest.approx(torch.stack(expected).mean().item(), rel=1e-4)


def test_proximal_texts_are_near_and_uniform_ones_need_not_be(stores):
    near = Batches(data(stores, sampling="proximal"), 0, blind())
    far = Batches(data(stores), 0, blind())
    unit = torch.nn.functional.normalize

    def best(batch):
        return (unit(batch.teacher.image.float()) @ unit(batch.teacher.text.float()).T).max(0).values.mean()

    assert near.at(1).teacher.text.shape == far.at(1).teacher.text.shape == (128, 32)
    assert best(near.at(1)) > best(far.at(1)) + 0.1
    assert near.at(1).match is None
    assert torch.equal(
        near.at(1).teacher.text, Batches(data(stores, sampling="proximal"), 0, blind()).at(1).teacher.text
    )
    assert not torch.equal(near.at(1).teacher.text, near.at(2).teacher.text)


def test_images_take_turns_and_others_fill_up():
    ids = np.array([[1, 2, 3], [1, -1, -1], [7, 8, 9]])
    drawn = proximal(ids, np.arange(10, 16), np.random.default_rng(0))
    assert len(drawn) == 6 == len(set(drawn)) and set(drawn) <= {1, 2, 3, 7, 8, 9}
    few = proximal(ids[1:2], np.array([5, 1, 6]), np.random.default_rng(0))
    assert few.tolist() == [1, 5, 6]


def test_a_view_takes_its_texts_from_the_neighbours(tmp_path, stores):
    images, texts = stores
    view = select(texts.path, np.arange(0, 1000, 2), tmp_path / "even").path
    batch = Batches(data((images, FeatureStore(view)), sampling="neighbours"), 0, blind()).at(0)
    even = {row.numpy().tobytes() for row in texts.read("text", np.arange(0, 1000, 2))}
    assert all(row.numpy().tobytes() in even for row in batch.teacher.text) and batch.match.min() >= 0
    none = select(texts.path, np.array([5]), tmp_path / "one").path
    lost = images.ok_rows[(Neighbours(images, "neighbours", texts).ids(images.ok_rows) != 5).all(axis=1)]
    told = f"{none}: no text of it is a neighbour of {len(lost)} of 298 images of {images.path}"
    with pytest.raises(DistillkitError, match=rf"{told} \(first: 'k.*; mine more, or select more"):
        Batches(data((images, FeatureStore(none)), sampling="neighbours"), 0, blind())
    assert 0 < len(lost) < 298


def test_another_student_when_the_neighbours_change(stores):
    uniform, near = (Batches(data(stores, sampling=how), 0, blind()) for how in ("uniform", "proximal"))
    assert (
        "neighbours" not in uniform.ingredients.stores
        and near.ingredients.stores["neighbours"].digest != stores[0].digest
    )


def test_refusals_are_one_line(tmp_path, stores):
    images, texts = stores
    other = write(tmp_path / "other", "text", clustered(400, 9))
    for knobs, store, message in (
        (
            {"sampling": "proximal", "neighbours": "near"},
            texts,
            "no neighbours 'near' .neighbours.; run: distillkit mine",
        ),
        ({"sampling": "proximal"}, other, "were mined in the text store .*; mine again"),
        (
            {"sampling": "proximal", "neighbours_k": 65},
            texts,
            "64 'neighbours' were mined of each row, 65 are asked for; ask for fewer, or mine again with k = 65",
        ),
    ):
        with pytest.raises(DistillkitError, match=message) as told:
            Batches(data((images, store), **knobs), 0, blind())
        assert "\n" not in str(told.value)
    with pytest.raises(DistillkitError, match='sampling = "proximal" needs `images` and the `texts`'):
        validate(Data, {"images": "x", "sampling": "proximal", "batch_size": 2}, "recipe")


def test_texts_of_neighbours_go_to_a_text_tower(stores):
    told = []
    student = blind(tokenize=lambda texts: told.append(texts) or torch.zeros(len(texts), 5, dtype=torch.long))
    batch = Batches(data(stores, sampling="neighbours", neighbours_k=4), 0, student).at(0)
    assert isinstance(batch, Batch) and len(told[0]) == len(batch.tokens) == len(batch.teacher.text)


@pytest.mark.parametrize("sampling", ["proximal", "neighbours"])
@pytest.mark.parametrize(("asked", "lacking"), [(np.arange(150, 300), 149), (np.arange(10, 300), 9)])
def test_images_that_nothing_was_mined_for_are_refused(images, texts, tmp_path, sampling, asked, lacking):
    """Of all of them any texts would fill the batch, and nobody would hear of it."""
    mined, trained = (select(images.path, rows, tmp_path / str(rows[0])).path for rows in (asked, np.arange(150)))
    recipe = MineRecipe(queries=str(mined), corpus=str(texts.path), k=8)
    mine_here(recipe, 1, lambda _: None, "distillkit mine-neighbours near.toml")
    told = (
        rf"^{trained}: {lacking} of 149 images have no 'neighbours' \(first: k00000\), which were mined for other rows "
        rf"of {images.path} by: distillkit mine-neighbours near.toml.*; mine .* --set "
        rf""".queries="{trained}". \(and another name"""
    )
    with pytest.raises(DistillkitError, match=told) as refused:
        Batches(data((FeatureStore(trained), texts), sampling=sampling), 0, blind())
    assert "\n" not in str(refused.value)
    Batches(data((FeatureStore(mined), texts), sampling=sampling), 0, blind()).at(0)  # failed ones have no turn


def test_an_image_without_a_direction_draws_no_text_and_is_told(tmp_path, texts):
    vectors = clustered(60, 3)
    vectors[7] = 0
    images = write(tmp_path / "blank", "image", vectors)
    mine_here(MineRecipe(queries=str(images.path), corpus=str(texts.path), k=8), 1, lambda _: None)
    batches = Batches(data((images, texts), sampling="proximal"), 0, blind())
    told = f"{texts.path}: no text of it is a neighbour of 1 of 60 images of {images.path}; these draw none"
    assert [note for note in batches.notes if note.startswith(told)] == batches.notes != []
    with pytest.raises(DistillkitError, match=r"of 1 of 60 images .*'k00007'\); mine more, or leave images without a"):
        Batches(data((images, texts), sampling="neighbours"), 0, blind())


def test_texts_of_a_view_that_are_no_neighbours_are_counted(tmp_path, stores):
    images, texts = stores
    ids = Neighbours(images, "neighbours", texts, 1).ids(images.ok_rows)
    some, none = (np.unique(ids[:3]), np.setdiff1d(np.arange(1000), np.append(ids, 7)))
    views = [FeatureStore(select(texts.path, rows, tmp_path / name).path) for name, rows in (("a", some), ("b", none))]
    lost = int((~np.isin(ids, some)).all(axis=1).sum())
    knobs = {"sampling": "proximal", "text_batch_size": 2, "neighbours_k": 1}
    notes = Batches(data((images, views[0]), **knobs), 0, blind()).notes
    assert 0 < lost < 295 and f"neighbour of {lost} of 298 images" in notes[0]
    with pytest.raises(DistillkitError, match="no text of it is a neighbour of 298 of 298 images"):
        Batches(data((images, views[1]), **knobs), 0, blind())
