"""The same work on a GPU: `make test-gpu`. Where a test also means something on a CPU, it runs there as well."""

import pytest
import torch

from distillkit.engine.asking import Asked
from distillkit.recipe import Optim, Term
from distillkit.store.format.manifest import Manifest
from distillkit.store.reading.reader import FeatureStore
from distillkit.store.upkeep.verify import verify
from distillkit.students.timm_image import TimmImage
from distillkit.teachers.openclip import Openclip
from distillkit.teachers.timm import Timm
from distillkit.training.learner import Learner
from distillkit.training.objective import Objective
from distillkit.training.ranks import Ranks
from distillkit.types import Batch, Features, Widths
from tests.teachers.test_timm import make_dino

CUDA = pytest.param("cuda", marks=pytest.mark.gpu)
everywhere = pytest.mark.parametrize("device", ["cpu", CUDA])


@pytest.fixture
def extract(recipes, run_cli, tmp_path):
    """The toy extraction into a folder of its own, on a device; returns that folder."""

    def run(name, device, *settings, code=0):
        out = tmp_path / name
        knobs = [f'out="{out}"', f'teacher.device="{device}"', *settings]
        told = run_cli("extract-teacher", recipes[0], *(word for knob in knobs for word in ("--set", knob)))
        assert told[0] == code, told[2]
        return out

    return run


def worst_cosine(one, other, field):
    pair = FeatureStore(one), FeatureStore(other)
    assert pair[0].manifest.source == pair[1].manifest.source, "the same plan of the same corpus"
    pairs = (store.read(field, torch.arange(len(store))).float() for store in pair)
    return torch.cosine_similarity(*pairs).min().item()


@everywhere
@pytest.mark.parametrize(("precision", "least"), [("fp32", 0.99999), ("bf16", 0.999)])
def test_a_store_says_what_a_store_of_a_cpu_says(extract, device, precision, least):
    whole, other = extract("whole", "cpu"), extract("other", device, f'teacher.precision="{precision}"')
    for store, field in (("images", "image"), ("images", "text"), ("texts", "text")):
        assert verify(other / store) == []
        assert worst_cosine(whole / store, other / store, field) > least


@everywhere
def test_a_run_that_died_goes_on_to_the_bytes_of_one_that_did_not(extract, device, monkeypatch, tmp_path):
    whole, forward, batches = extract("whole", device), Openclip.forward, []

    def dying(self, **inputs):
        batches.append(inputs)
        if len(batches) == 6:  # of the second shard of images
            raise KeyboardInterrupt
        return forward(self, **inputs)

    monkeypatch.setattr(Openclip, "forward", dying)
    extract("other", device, code=130)
    assert not (tmp_path / "other/images" / "manifest.json").exists()
    monkeypatch.setattr(Openclip, "forward", forward)
    for store in ("images", "texts"):
        assert Manifest.read(extract("other", device) / store).digest == Manifest.read(whole / store).digest


@everywhere
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_tokens_of_a_timm_network_are_those_of_a_cpu(tmp_path, device, precision):
    model = f"local-dir:{make_dino(tmp_path / 'dino')}"
    pixels = torch.randint(256, (5, 3, 28, 28), dtype=torch.uint8)
    whole = Timm(model=model, image_size=28, device="cpu").forward(pixels)
    other = Timm(model=model, image_size=28, device=device, precision=precision).forward(pixels)
    # A GPU's convolutions round to TF32, as is PyTorch's default: three digits.
    for field in ("image", "cls", "patches"):
        one, two = getattr(whole, field), getattr(other, field)
        assert two.device.type == "cpu" and two.dtype == torch.float32
        assert torch.allclose(one, two, atol=5e-3 if precision == "fp32" else 0.1)


@pytest.mark.gpu
def test_where_the_memory_of_a_gpu_ends_batches_go_on_in_halves(tmp_path):
    """The limit is put between what half a batch and what a whole one takes."""
    model = f"local-dir:{make_dino(tmp_path / 'dino', pixels=224)}"
    network = Timm(model=model, image_size=224, device="cuda", precision="fp32")
    pixels, taken = torch.randint(256, (512, 3, 224, 224), dtype=torch.uint8), []
    for part in (pixels[:256], pixels):
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        whole = network.forward(pixels=part, fields=["image"]).image
        taken.append(torch.cuda.max_memory_reserved())
    assert taken[1] > 1.2 * taken[0], "too small to tell one from the other"
    lines, total = [], torch.cuda.get_device_properties(0).total_memory
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(sum(taken) / 2 / total)
    try:
        said = Asked("dino", network, lines.append)({"pixels": pixels}, ["image"]).here()["image"]
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert len(lines) == 1 and "out of memory with 512 at once" in lines[0]
    assert torch.allclose(said, whole, atol=1e-4)


@everywhere
def test_a_step_of_training_is_that_of_a_cpu(device):
    """Weights after three steps in fp32, of the same batches."""
    trained = [_trained(place) for place in ("cpu", device)]
    for one, other in zip(*(student.parameters() for student in trained), strict=True):
        assert torch.allclose(one, other.cpu(), atol=2e-4)


def _trained(place):
    torch.manual_seed(0)
    small = {"depth": 2, "embed_dim": 32, "num_heads": 2}
    student = TimmImage(model="vit_tiny_patch16_224", image_size=32, embed_dim=16, options=small)
    terms = [Term(kind="affinity", between="image, teacher image"), Term(kind="feature_regression")]
    objective, device = Objective(terms, Widths(student.widths, {"image": 16})), torch.device(place)
    settings = Optim(kind="sgd", epochs=1, precision="fp32")
    learner = Learner(student, objective, settings, seed=0, device=device, ranks=Ranks())
    for step in range(3):
        random = torch.Generator().manual_seed(step)
        pixels = torch.randint(256, (12, 3, 32, 32), dtype=torch.uint8, generator=random)
        said = Features(image=torch.randn(12, 16, generator=random), scale=torch.tensor(10.0))
        learner.step(Batch(pixels=pixels, teacher=said, step=step).to(device), 1e-2)
    return student
