"""clip_benchmark's own code, on the same random model and the same made-up images, finds our numbers."""

import numpy as np
import pytest
import torch
from PIL import Image

from distillkit import evaluate, extract
from tests.conftest import TEACHER, WORDS
from tests.evaluation.worlds import quiet, results

EXTRACT = """
name = "toy"
out = "{out}"
teacher = {{ kind = "openclip", model = "local-dir:{teacher}", precision = "fp32" }}
[[corpora]]
name = "pairs"
source = {{ kind = "csv", file = "{folder}/pairs.tsv", key_column = "key" }}
fields = ["image", "text"]
dtype = "float32"
[[corpora]]
name = "classed"
source = {{ kind = "csv", file = "{folder}/classed.tsv", label_column = "label", key_column = "key" }}
fields = ["image"]
dtype = "float32"
[[corpora]]
name = "prompts"
source = {{ kind = "class_prompts", file = "{folder}/names.txt", templates = ["a {{}}", "a photo of one {{}}."] }}
fields = ["text"]
dtype = "float32"
"""
EVALS = """
[[evals]]
kind = "retrieval"
store = "{out}/pairs"
[[evals]]
kind = "zero_shot"
store = "{out}/classed"
prompts = "{out}/prompts"
"""
COUNT, CAPTIONS = 60, 3


class Set(torch.utils.data.Dataset):
    """What clip_benchmark is handed: transformed images, each with its label or its captions."""

    classes = WORDS

    def __init__(self, files, transform, said):
        self.files, self.transform, self.said = files, transform, said

    def __len__(self):
        return len(self.files)

    def __getitem__(self, place):
        return self.transform(Image.open(self.files[place])), self.said[place]


@pytest.fixture(scope="module")
def pair(tmp_path_factory, teacher_folder):
    """The images and their captions and labels; the model with open_clip's transform; our numbers of it."""
    folder = tmp_path_factory.mktemp("bench")
    random, out = np.random.default_rng(0), folder / "out"
    files = [folder / f"{n:02d}.png" for n in range(COUNT)]
    for file in files:
        coarse = random.integers(0, 256, (3, 3, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((44, 36), Image.Resampling.BICUBIC).save(file)
    captions = [[f"{WORDS[(n + k) % 8]} {n} seen {k} times" for k in range(CAPTIONS)] for n in range(COUNT)]
    labels = random.integers(0, len(WORDS), COUNT).tolist()
    pairs = [f"{n}-{k}\t{file.name}\t{captions[n][k]}" for n, file in enumerate(files) for k in range(CAPTIONS)]
    (folder / "pairs.tsv").write_text("\n".join(["key\tfilepath\ttitle", *pairs]) + "\n")
    classed = [f"{n}\t{file.name}\t{label}" for n, (file, label) in enumerate(zip(files, labels, strict=True))]
    (folder / "classed.tsv").write_text("\n".join(["key\tfilepath\tlabel", *classed]) + "\n")
    (folder / "names.txt").write_text("\n".join(WORDS) + "\n")
    places = {"out": out, "folder": folder, "teacher": teacher_folder}
    (folder / "extract.toml").write_text(EXTRACT.format(**places))
    (folder / "evals.toml").write_text(EVALS.format(**places))
    extract(folder / "extract.toml", quiet)
    evaluate.evaluate_teacher(out / "pairs", folder / "evals.toml", folder / "teacher", quiet)
    return files, captions, labels, results(folder / "teacher")["results"]


@pytest.fixture(scope="module")
def model(teacher_folder):
    """The same weights in open_clip's own hands: (model, transform, tokenizer)."""
    import open_clip
    from open_clip.model import CLIP
    from safetensors.torch import load_file

    made = CLIP(**TEACHER)
    made.load_state_dict(load_file(teacher_folder / "open_clip_model.safetensors"))
    transform = open_clip.image_transform(TEACHER["vision_cfg"]["image_size"], is_train=False)
    return made.eval(), transform, open_clip.SimpleTokenizer(context_length=77)


def test_zero_shot(pair, model, monkeypatch):
    theirs = pytest.importorskip("clip_benchmark.metrics.zeroshot_classification")
    files, _, labels, ours = pair
    network, transform, tokenizer = model
    loader = torch.utils.data.DataLoader(Set(files, transform, labels), batch_size=16)
    templates = ["a {c}", "a photo of one {c}."]
    # Its top-k ends in float() of an array of one number, which numpy 2.4 refuses: the number is taken out here.
    monkeypatch.setattr(theirs, "float", lambda value: float(np.asarray(value).item()), raising=False)
    found = theirs.evaluate(network, loader, tokenizer, list(WORDS), templates, "cpu", amp=False)
    ours = ours["zero_shot"]["teacher"]
    assert ours["top-1"] == pytest.approx(found["acc1"], abs=1e-6)
    assert ours["top-5"] == pytest.approx(found["acc5"], abs=1e-6)
    assert ours["mean per class"] == pytest.approx(found["mean_per_class_recall"], abs=1e-6)
    assert 0 < ours["top-1"] < 1


def test_retrieval_both_ways_with_several_captions(pair, model):
    theirs = pytest.importorskip("clip_benchmark.metrics.zeroshot_retrieval")
    files, captions, _, ours = pair
    network, transform, tokenizer = model
    loader = torch.utils.data.DataLoader(
        Set(files, transform, captions),
        batch_size=16,
        collate_fn=lambda rows: (torch.stack([image for image, _ in rows]), [said for _, said in rows]),
    )
    found = theirs.evaluate(network, loader, tokenizer, "cpu", amp=False, recall_k_list=[1, 5, 10])
    ours = ours["retrieval"]["teacher"]
    for k in (1, 5, 10):
        assert ours[f"R@{k}"] == pytest.approx(found[f"text_retrieval_recall@{k}"], abs=1e-6)
        assert ours[f"text to image R@{k}"] == pytest.approx(found[f"image_retrieval_recall@{k}"], abs=1e-6)
    assert 0 < ours["R@10"] < 1 and ours["R@10 per row"] < ours["R@10"]
