"""The command line on a pretend GPU: both stages, from pixels to the report, with what a real one is told to do."""

import numpy as np
import pytest
import torch

from distillkit.store.reading.reader import FeatureStore
from distillkit.store.upkeep.verify import verify
from tests.conftest import EXTRACT
from tests.pretend import pretend_gpu

FULL = (
    "optim.accumulate=2",
    "optim.ema=0.9",
    "optim.clip_grad_norm=1.0",
    "checkpoints.every_steps=2",
    'validation={eval={kind="retrieval",store="STORES/images"},every_steps=2,best="R@1"}',
)


@pytest.fixture
def gpu():
    with pretend_gpu() as ledger:
        yield ledger


def test_a_store_made_on_a_gpu_says_what_one_of_a_cpu_says(gpu, toy_stores, run_cli, tmp_path, teacher_folder):
    recipe = tmp_path / "extract.toml"
    recipe.write_text(EXTRACT.format(out=tmp_path / "gpu", corpus=toy_stores / "corpus", teacher=teacher_folder))
    code, _, err = run_cli("extract-teacher", recipe)
    assert code == 0, err
    for store, fields in (("images", ("image", "text")), ("texts", ("text",))):
        assert verify(tmp_path / "gpu" / store) == []
        here, there = (FeatureStore(place / store) for place in (toy_stores / "out", tmp_path / "gpu"))
        assert there.teacher(fields[0])["precision"] == "bf16"
        rows = np.arange(len(here))
        for field in fields:
            said = (one.read(field, rows).float() for one in (here, there))
            assert torch.cosine_similarity(*said).min() > 0.999


def test_a_run(gpu, student):
    code, err = student(*(one.replace("STORES", str(student.stores)) for one in FULL))
    assert code == 0, err
