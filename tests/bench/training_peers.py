"""Distillation by the commands of others, whose teacher looks at every batch, against ours from a store.

The same JPEGs, student, teacher, batch and precision; each command runs as it comes and tells its own speed. What the
store cost, one pass of the teacher, is not among it.

How much faster the store can be, the two networks decide: (student + teacher) / student, of the teacher alone in the
same rounds, our command being the student. What is told is which share of that we are faster by; it is above 1 where
a peer loses more beside its networks than we do.
"""

from __future__ import annotations

import json
import re
import statistics
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import open_clip
import timm
import torch
from open_clip.model import CLIP
from safetensors.torch import save_file

from distillkit.runfolder import RunFolder
from distillkit.students._configs import PAIRS
from tests.bench.measure import Row, not_installed, of_pairs, seconds
from tests.bench.peers import peer, run_peer
from tests.bench.pictures import pictures

_TINY = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}
_WORDS = ["a", "small", "red", "old", "wooden", "boat", "house", "cat", "on", "green", "lake", "beside", "two", "trees"]
_OF_OPEN_CLIP = ("webdataset", "braceexpand", "pandas")  # what its training imports and does not ask for
_GOAL = 0.98
_SAID = re.compile(r"Batch \(t\): [\d.]+, ([\d.]+)/s")


def run(folder: Path, quick: bool) -> list[Row]:
    """Medians over the steps of a command but its first two, where threads and allocators are still warming up."""
    batch_size, steps, rounds = (4, 4, 1) if quick else (16, 5, 3)
    names = pictures(folder / "pictures", batch_size * steps)
    return [
        _open_clip(folder, names, batch_size, rounds, quick),
        _lightly_train(folder, batch_size, rounds, quick),
    ]


def _open_clip(folder: Path, names: list[str], batch_size: int, rounds: int, quick: bool) -> Row:
    """Two towers with a contrastive loss, and the teacher's scores as targets. https://github.com/mlfoundations/open_clip"""
    name = "training command, CLIP-KD's ViT-T/16 pair under ViT-B/16: distillkit / open_clip --distill-model"
    if not all(map(find_spec, _OF_OPEN_CLIP)):
        return not_installed(name, _GOAL)
    student, teacher = (_TINY, _TINY) if quick else (PAIRS["CLIP-KD-ViT-T-16"], open_clip.get_model_config("ViT-B-16"))
    _model(folder / "student", student, weights=False)
    _model(folder / "teacher", teacher, weights=True)
    _table(folder / "pairs.tsv", folder / "pictures", names)
    _write(folder, "pair", _PAIR, batch_size=batch_size, model=_toml(student))
    _command(folder, "distillkit", "extract-teacher", "pair-teacher.toml")

    def theirs(number: int) -> float:
        own = ["--device=cpu", "--precision=fp32", "--epochs=1", "--workers=2", f"--batch-size={batch_size}"]
        told = ["--logs=logs", f"--name={number}", "--log-every-n-steps=1", "--save-frequency=0"]
        models = [f"--model=local-dir:{folder}/student", f"--distill-model=local-dir:{folder}/teacher"]
        # What is said after --distill-pretrained is ignored for a folder, but without it nothing is distilled.
        models.append("--distill-pretrained=folder")
        _command(folder, "open_clip_train.main", "--train-data=pairs.tsv", *models, *own, *told)
        log = (folder / f"logs/{number}/out.log").read_text()
        return _speed([float(told) for told in _SAID.findall(log)])

    tokens = torch.randint(49_000, (batch_size, 77))
    alone = CLIP(**teacher).eval()
    pixels = torch.zeros(batch_size, 3, *2 * [teacher["vision_cfg"]["image_size"]])
    return _share(name, folder, "pair", theirs, lambda: alone(pixels, tokens), batch_size, rounds)


def _lightly_train(folder: Path, batch_size: int, rounds: int, quick: bool) -> Row:
    """Class and patch tokens of a DINOv3 with random weights, for a ViT-Ti/16. https://github.com/lightly-ai/lightly-train

    Its images are mixed up and coloured, so it cannot use what a teacher said before; ours are two stored views.
    """
    name = "training command, ViT-Ti/16 at 224 px under a DINOv3 ViT-B/16: distillkit / LightlyTrain distillation"
    programs = peer("lightly_train")
    if programs is None:
        return not_installed(name, _GOAL)
    student, teacher = "vit_tiny_patch16_224", "vit_small_patch16_dinov3" if quick else "vit_base_patch16_dinov3"
    torch.manual_seed(0)
    save_file(timm.create_model(teacher).state_dict(), folder / "dinov3.safetensors")
    _write(folder, "tokens", _TOKENS, batch_size=batch_size, model=student, teacher=teacher)
    _command(folder, "distillkit", "extract-teacher", "tokens-teacher.toml")

    def theirs(number: int) -> float:
        asked = {"out": f"{folder}/lightly-{number}", "data": f"{folder}/pictures", "batch_size": batch_size}
        run_peer(programs, ["python", "-c", _LIGHTLY, json.dumps(asked)], folder / f"lightly-{number}.log")
        told = [json.loads(line) for line in (folder / f"lightly-{number}/metrics.jsonl").read_text().splitlines()]
        times = (
            [line[part] for line in told if part in line] for part in ("profiling/batch_time", "profiling/data_time")
        )
        return batch_size / sum(_speed(part) for part in times)

    alone = timm.create_model(teacher).eval()
    pixels = torch.zeros(batch_size, 3, 224, 224)
    return _share(name, folder, "tokens", theirs, lambda: alone.forward_features(pixels), batch_size, rounds)


def _share(
    name: str,
    folder: Path,
    recipe: str,
    theirs: Callable[[int], float],
    looks: Callable[[], object],
    batch_size: int,
    rounds: int,
) -> Row:
    """Ours: how many times faster than `theirs`; theirs: how many times at most, `looks` being the teacher's batch."""
    pairs = []
    with torch.inference_mode():
        looks()
        for number in range(rounds):
            ours, teacher = _ours(folder, recipe), seconds(looks) / batch_size
            pairs.append((ours / theirs(number), 1 + teacher * ours))
    return of_pairs(f"{name}: share of (student + teacher) / student", pairs, goal=_GOAL, unit="times")


# The student's and the teacher's architectures are ours; no weights are fetched, and nobody is told of the run.
_LIGHTLY = """
import json, os, sys
os.environ["LIGHTLY_TRAIN_EVENTS_DISABLED"] = "1"
import lightly_train
if __name__ == "__main__":
    lightly_train.pretrain(
        **json.loads(sys.argv[1]), model="timm/vit_tiny_patch16_224", method="distillation", epochs=1, num_workers=2,
        method_args={"teacher": "dinov3/vitb16-notpretrained"}, accelerator="cpu", devices=1, precision="32-true",
        loggers={"jsonl": {"flush_logs_every_n_steps": 1}, "tensorboard": None}, trainer_args={"log_every_n_steps": 1},
    )
"""


def _write(folder: Path, name: str, recipes: tuple[str, str], **values: object) -> None:
    """NAME-teacher.toml for stage 1 and NAME.toml for stage 2."""
    for file, text in zip((f"{name}-teacher.toml", f"{name}.toml"), recipes, strict=True):
        (folder / file).write_text(text.format(folder=folder, **values))


def _ours(folder: Path, name: str) -> float:
    """Images a second of our command."""
    _command(folder, "distillkit", "train-student", f"{name}.toml", "--overwrite")
    return _speed([line["images_per_second"] for line in RunFolder(folder / "runs" / name).history()])


def _speed(told: list[float]) -> float:
    return statistics.median(told[2:])


def _model(folder: Path, config: dict, *, weights: bool) -> None:
    """A folder that open_clip loads by itself; without weights it makes random ones."""
    folder.mkdir()
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": {}}))
    if weights:
        torch.manual_seed(0)
        save_file(CLIP(**config).state_dict(), folder / "open_clip_model.safetensors")


def _table(path: Path, root: Path, names: list[str]) -> None:
    """Captions of eight to twelve words, as web captions have."""
    random = np.random.default_rng(0)
    captions = [" ".join(random.choice(_WORDS, random.integers(8, 13))) for _ in names]
    rows = [f"{root / name}\t{caption}" for name, caption in zip(names, captions, strict=True)]
    path.write_text("\n".join(["filepath\ttitle", *rows]) + "\n")


def _toml(model: dict) -> str:
    """A configuration as an inline table; TOML and JSON write numbers and strings alike."""
    parts = (
        f"{name} = {_toml(value) if isinstance(value, dict) else json.dumps(value)}" for name, value in model.items()
    )
    return "{ " + ", ".join(parts) + " }"


def _command(folder: Path, module: str, *arguments: str) -> None:
    """Run a module in `folder`; its words are shown where it fails."""
    done = subprocess.run([sys.executable, "-m", module, *arguments], cwd=folder, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{module}: {done.stderr[-3000:]}")


_PAIR = (
    """
name = "pair"
out = "{folder}/stores/pair"
teacher = {{ kind = "openclip", model = "local-dir:{folder}/teacher" }}
[[corpora]]
name = "images"
source = {{ kind = "csv", file = "{folder}/pairs.tsv", root = "/" }}
fields = ["image", "text"]
batch_size = 16
""",
    # open_clip's loss: the task, and its teacher's scores as targets in both directions.
    """
name = "pair"
device = "cpu"
optim = {{ epochs = 1, warmup_epochs = 0.0, precision = "fp32" }}
log = {{ every_steps = 1 }}
[data]
images = "stores/pair/images"
captions = "paired"
batch_size = {batch_size}
augment = {{ scale = [0.9, 1.0], flip = 0.0, interpolation = "bicubic", resample = "torchvision" }}
[student]
kind = "openclip_pair"
model = {model}
[[losses]]
kind = "contrastive"
logit_scale = "student"
[[losses]]
kind = "affinity"
between = "image, text"
logit_scale = "own"
divergence = "cross_entropy"
directions = "mean"
""",
)

_TOKENS = (
    """
name = "tokens"
out = "{folder}/stores/tokens"
teacher = {{ kind = "timm", model = "{teacher}", weights = "{folder}/dinov3.safetensors" }}
[[corpora]]
name = "images"
source = {{ kind = "folder", root = "{folder}/pictures" }}
fields = ["cls", "patches"]
views = {{ count = 2, clean_first = false, scale = [0.14, 1.0], flip = 0.5 }}
batch_size = 16
rows_per_shard = 512
""",
    """
name = "tokens"
device = "cpu"
optim = {{ epochs = 1, warmup_epochs = 0.0, precision = "fp32" }}
log = {{ every_steps = 1 }}
[data]
images = "stores/tokens/images"
views = "stored"
batch_size = {batch_size}
augment = {{ resample = "torchvision" }}
[student]
kind = "timm_image"
model = "{model}"
image_size = 224
tokens = true
[[losses]]
kind = "token_regression"
level = "feature"
""",
)
