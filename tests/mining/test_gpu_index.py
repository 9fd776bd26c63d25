"""An index on a GPU, by a FAISS that stands in for faiss-gpu: its lists and codes are real, and on the CPU."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from distillkit import mine
from distillkit.errors import RecipeError
from distillkit.mining import choice, cost, gpu_index
from distillkit.mining.approximate_gpu import ApproximateOnGPU
from distillkit.mining.vectors import Vectors
from distillkit.mining.which_faiss import faiss
from distillkit.recipe import MineRecipe
from distillkit.store.reading.reader import FeatureStore
from tests.mining.conftest import truth


class OnCard:
    """What faiss-gpu's GpuIndexIVFPQ is to us: trained, filled and asked alike; no file can be made of it."""

    def __init__(self, resources, width, lists, parts, bits, metric, config):
        assert config.useFloat16LookupTables and config.device == 0
        assert (parts, bits) == (gpu_index.parts(width), 8)
        self.index = faiss.index_factory(width, f"IVF{lists},PQ8x4", metric)  # shorter codes: learned in no time
        self.cp, self.nlist, self.asked = self.index.cp, lists, []

    def __getattr__(self, name):
        return getattr(self.index, name)

    def __setattr__(self, name, value):
        if name == "nprobe":
            self.index.nprobe = value
        else:
            super().__setattr__(name, value)

    def search(self, queries, many):
        assert many <= gpu_index.MOST and self.index.nprobe <= gpu_index.MOST
        return self.index.search(queries, many)


@pytest.fixture
def card(monkeypatch):
    """A GPU that FAISS finds; how often an index went to it from a file."""
    read = []

    def to_card(resources, device, index, options):
        assert options.useFloat16 and device == 0
        made = object.__new__(OnCard)
        object.__setattr__(made, "index", index)
        object.__setattr__(made, "nlist", index.nlist)
        read.append(index.ntotal)
        return made

    stand_in = {
        "get_num_gpus": lambda: 1,
        "StandardGpuResources": SimpleNamespace,
        "GpuIndexIVFPQConfig": SimpleNamespace,
        "GpuClonerOptions": SimpleNamespace,
        "GpuIndexIVFPQ": OnCard,
        "index_gpu_to_cpu": lambda made: made.index,
        "index_cpu_to_gpu": to_card,
    }
    for name, value in stand_in.items():
        monkeypatch.setattr(faiss, name, value, raising=False)
    monkeypatch.setattr("torch.cuda.current_device", lambda: 0)
    return read


def mined(images, texts, **knobs):
    said = []
    recipe = MineRecipe(queries=str(images.path), corpus=str(texts.path), k=10, **knobs)
    return FeatureStore(mine.mine_here(recipe, 1, said.append)), said


def test_what_it_names_the_stores_vectors_decide(card, images, texts):
    """To the recall that is asked for, with exact scores; the next run reads the index that this one wrote."""
    found, said = mined(images, texts, index="gpu_ivf_pq", recall=0.97)
    ids, scores = (found.read(name, images.ok_rows) for name in ("neighbours/ids", "neighbours/scores"))
    true, cosines = truth(images, texts, 10)
    share = np.mean([np.isin(one, other).mean() for one, other in zip(ids.numpy(), true, strict=True)])
    assert share > 0.95 and np.allclose(scores.numpy()[:, 0], cosines[:, 0], atol=2e-3)
    facts = found.manifest.teachers["neighbours"]
    assert facts["index"] == "gpu_ivf_pq" and facts["recall"] >= 0.97
    assert any("on 999 rows, on the GPU" in line for line in said) and not card
    again, said = mined(images, texts, index="gpu_ivf_pq", recall=0.97, name="again")
    assert card == [999] and any("is used again" in line for line in said)
    assert torch.equal(again.read("again/ids", images.ok_rows), ids)


def test_without_a_card_it_is_refused_in_one_line(images, texts):
    with pytest.raises(
        RecipeError, match=r'^index = "gpu_ivf_pq": FAISS finds no GPU here \(faiss-.*mining-gpu'
    ) as told:
        mined(images, texts, index="gpu_ivf_pq")
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("fits", "minutes", "cards", "kind"),
    [(1000, 0.1, 1, "exact"), (100, 60.0, 1, "exact"), (100, 0.1, 0, "exact"), (100, 0.1, 1, "gpu_ivf_pq")],
)
def test_it_is_taken_where_a_corpus_outgrows_the_card_and_the_time(
    images, texts, monkeypatch, fits, minutes, cards, kind
):
    monkeypatch.setattr(choice, "on_gpu", lambda recipe: True)
    monkeypatch.setattr(choice, "device_rows", lambda width, device: fits)
    monkeypatch.setattr(choice, "_card", lambda: torch.device("cuda:0"))
    monkeypatch.setattr(gpu_index, "cards", lambda: cards)
    monkeypatch.setattr(cost, "seconds_to_read", lambda corpus: 0.01)
    recipe = MineRecipe(queries="q", corpus="c", exact_within=minutes, rows_per_shard=100)
    said = []
    # Three parts of the queries, 999 rows, a hundredth of a second each: 30 s.
    assert choice.choose(recipe, Vectors.of(texts, "text"), Vectors.of(images, "image"), 1, said.append) == kind
    (line,) = said
    assert ("holds all rows" in line) == (fits == 1000) and ("30 s" in line) == (fits == 100)
    assert ("FAISS finds no GPU" in line) == (not cards)


def test_its_effort_stays_within_what_the_kernels_can(card, texts):
    vectors = Vectors.of(texts, "text")
    recipe = MineRecipe(queries="q", corpus="c", k=300, candidates=40)
    search = choice.searcher("gpu_ivf_pq", recipe, vectors, 100, 1, lambda _: None)
    assert isinstance(search, ApproximateOnGPU) and search.effort.candidates == 6
    steps = list(search.harder(search.effort, 300))
    assert {one.candidates for one in steps} <= {6, 7} and max(one.probes for one in steps) <= search.most_probes
    asked = vectors.unit(slice(0, 5))
    assert (search.search(asked, 300).places[:, 0] == np.arange(5)).all()


@pytest.mark.parametrize(("width", "parts"), [(768, 96), (512, 64), (1024, 64), (384, 96), (640, 64), (32, 32), (7, 1)])
def test_codes_have_as_many_parts_as_the_kernels_can(width, parts):
    assert gpu_index.parts(width) == parts and width % parts == 0


def test_an_index_of_a_gpu_is_refused_where_the_recipe_keeps_off_it(tmp_path):
    asked = MineRecipe(queries="q", corpus="c", k=4, index=gpu_index.KIND, device="cpu")
    with pytest.raises(RecipeError, match="leave one of them out"):
        choice.choose(asked, None, None, 1, print)
