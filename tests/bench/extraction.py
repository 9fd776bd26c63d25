"""Stage 1 end to end: against the teacher alone, decoding alone, and open_clip's pixel path; and its memory.

The corpus is drawn here: JPEGs as smooth and as large as photographs. Teachers have random weights.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pyarrow as pa
import torch
from open_clip.model import CLIP
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image, ImageFilter
from safetensors.torch import save_file
from torch import Tensor

from distillkit.engine.computing import computed
from distillkit.engine.decoding import decoded
from distillkit.engine.job import Job, Teacher
from distillkit.engine.sight import Sight
from distillkit.recipe import Component, Corpus
from distillkit.store.format.plan import SCHEMA
from distillkit.teachers._openclip_outline import preprocess_of
from distillkit.teachers.openclip import Openclip
from distillkit.types import Features
from tests.bench.measure import Row, compare, limit

_BATCH = 16
_TINY = {"layers": 1, "width": 64, "head_width": 32, "patch_size": 112}
_HEAVY = {"layers": 12, "width": 384, "head_width": 64, "patch_size": 16}  # ViT-S/16: far slower than any decoder


def run(folder: Path, quick: bool) -> list[Row]:
    torch.set_num_threads(1 if quick else 2)
    count = 2 * _BATCH if quick else 16 * _BATCH
    root = photos(folder / "photos", count)
    size, rounds = (32 if quick else 224), (2 if quick else 5)
    heavy = toy(folder / "heavy", size, _TINY | {"patch_size": 16} if quick else _HEAVY)
    light = toy(folder / "light", size, _TINY | {"patch_size": size // 2})
    heavy = Openclip(model=heavy, device="cpu")
    return [
        *_against_the_teacher(root, heavy, count // (1 if quick else 4), rounds),
        # A corpus of some seconds: of one that takes half a second, a twentieth goes into beginning and ending.
        *_against_decoding(
            linked(root, folder / "many", 4 * count), Elsewhere(Openclip(model=light, device="cpu")), rounds
        ),
        _pixel_path(root, count, size, rounds),
        _memory(folder, root, quick),
    ]


def photos(folder: Path, count: int) -> Path:
    """500 x 375 JPEGs of some 80 kB."""
    folder.mkdir()
    random = np.random.default_rng(0)
    for number in range(count):
        noise = Image.fromarray(random.integers(0, 256, (375, 500, 3), dtype=np.uint8))
        smooth = np.asarray(noise.filter(ImageFilter.GaussianBlur(4))).astype(int)
        grain = random.integers(-14, 15, smooth.shape)
        picture = np.clip((smooth - 128) * 6 + 128 + grain, 0, 255).astype(np.uint8)
        Image.fromarray(picture).save(folder / f"{number:05d}.jpg", quality=92)
    return folder


def linked(photos: Path, folder: Path, count: int) -> Path:
    """As many images, links to the same files in turn."""
    folder.mkdir(parents=True)
    paths = sorted(photos.iterdir())
    for number in range(count):
        (folder / f"{number:05d}.jpg").symlink_to(paths[number % len(paths)])
    return folder


def toy(folder: Path, size: int, vision: dict[str, int]) -> str:
    """The name of a teacher with this image tower, random weights and next to no text tower."""
    text = {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}
    config = {"embed_dim": 64, "vision_cfg": vision | {"image_size": size}, "text_cfg": text}
    if not folder.exists():
        folder.mkdir()
        (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": {}}))
        save_file(CLIP(**config).state_dict(), folder / "open_clip_model.safetensors")
    return f"local-dir:{folder}"


def with_weights(folder: Path, model: str) -> str:
    """The name of one of open_clip's own models with random weights: NAME/FILE."""
    path = folder / f"{model}.safetensors"
    if not path.exists():
        torch.manual_seed(0)
        save_file(open_clip.create_model(model).state_dict(), path)
    return f"{model}/{path}"


def job(root: Path, network: Any, batch_size: int, decoders: int, decode: str = "threads") -> Job:
    source = Component(kind="folder", root=str(root))
    corpus = Corpus(name="photos", source=source, fields=["image"], batch_size=batch_size)
    loaded = {"clip": Teacher(network, {})}
    return Job(root.parent / "store", corpus, loaded, (("clip", "image"),), decoders, decode)


def plan(root: Path, count: int) -> pa.Table:
    names = sorted(path.name for path in root.iterdir())
    rows = [names[number % len(names)] for number in range(count)]
    empty = pa.nulls(count)
    keys = [f"{number} {name}" for number, name in enumerate(rows)]
    return pa.table({"key": keys, "image": rows, "text": empty, "label": empty}).cast(SCHEMA)


def extract(job: Job, plan: pa.Table) -> None:
    (shard,) = computed(job, {0: plan}, lambda line: None, lambda *_: None)
    if shard.failures:
        raise RuntimeError(f"the benchmark's own images fail: {shard.failures[0]}")


def _against_the_teacher(root: Path, network: Openclip, count: int, rounds: int) -> list[Row]:
    """Where the teacher is on the cores that decode, who decodes takes from it: what is left is the limit."""
    planned = plan(root, count)
    sight = Sight(Component(kind="folder", root=str(root)), {"clip": network.preprocess})
    rows = list(zip(planned["key"].to_pylist(), planned["image"].to_pylist(), strict=True))
    ready = torch.randint(256, (_BATCH, 3, *network.preprocess.size), dtype=torch.uint8)

    def bare() -> None:
        for _ in range(count // _BATCH):
            network.forward(pixels=ready, fields=["image"])

    def in_turn() -> None:
        with decoded(sight, rows, kind="threads", workers=2, ahead=2 * _BATCH) as outcomes:
            for _ in outcomes:
                pass
        bare()

    ours = partial(extract, job(root, network, _BATCH, 2), planned)
    alone = "the teacher alone on ready pixels"
    timed = {"amount": count, "unit": "images/s", "rounds": rounds}
    return [
        compare(f"extraction from JPEGs, ViT-S/16 at 224 px / {alone}", ours, bare, goal=0.95, **timed),
        limit(compare(f"decoding all, then showing all to ViT-S/16 / {alone}", in_turn, bare, **timed)),
    ]


class Elsewhere:
    """A teacher that takes no time of this processor, as where a GPU has it: what it says is there at once."""

    def __init__(self, teacher: Openclip):
        self.preprocess, self.fields = teacher.preprocess, teacher.fields
        self.said = teacher.forward(pixels=torch.zeros(_BATCH, 3, *teacher.preprocess.size)).image

    def forward(self, pixels: Tensor, fields: list[str]) -> Features:
        return Features(image=self.said[: len(pixels)])


def _against_decoding(root: Path, network: Elsewhere, rounds: int) -> list[Row]:
    """A teacher is shown batches, and somebody puts them together: where all cores decode, that takes a share."""
    count = len(list(root.iterdir()))
    planned = plan(root, count)
    sight = Sight(Component(kind="folder", root=str(root)), {"clip": network.preprocess})
    rows = list(zip(planned["key"].to_pylist(), planned["image"].to_pylist(), strict=True))

    def alone() -> None:
        with decoded(sight, rows, kind="threads", workers=2, ahead=2 * _BATCH) as outcomes:
            for _ in outcomes:
                pass

    def together() -> None:
        with decoded(sight, rows, kind="threads", workers=2, ahead=2 * _BATCH) as outcomes:
            for batch in batched(outcomes, _BATCH):
                torch.cat([one.pixels[0] for one in batch])

    name = "extraction that waits for its decoders, its teacher elsewhere"
    ours = partial(extract, job(root, network, _BATCH, 2), planned)
    timed = {"amount": count, "unit": "images/s", "rounds": rounds}
    return [
        compare(f"{name} / decoding alone", ours, alone, goal=0.95, **timed),
        compare(f"{name} / decoding and batches of what was decoded", ours, together, goal=0.95, **timed),
        limit(compare("decoding and batches of what was decoded / decoding alone", together, alone, **timed)),
    ]


def batched(outcomes: Iterable[Any], size: int) -> Iterator[list[Any]]:
    waiting = iter(outcomes)
    while batch := list(islice(waiting, size)):
        yield batch


def _pixel_path(root: Path, count: int, size: int, rounds: int) -> Row:
    """One thread each, from the bytes of a file to what a network is given (ours ends in 8 bits, theirs in floats)."""
    config = PreprocessCfg(size=size)
    quick, theirs = preprocess_of(config, "torchvision"), image_transform_v2(config, is_train=False)
    paths = sorted(root.iterdir())
    before = torch.get_num_threads()
    torch.set_num_threads(1)

    def ours() -> None:
        for path in paths:
            quick(quick.decode(path))

    def open_clips() -> None:
        for path in paths:
            theirs(Image.open(path).convert("RGB"))

    name = 'pixel path of teacher.pixels = "torchvision" / open_clip\'s, from the same JPEGs, one core'
    row = compare(name, ours, open_clips, goal=2.2, amount=count, unit="images/s", rounds=rounds)
    torch.set_num_threads(before)
    return row


_PEAK = """
import resource
from distillkit import cli
try:
    cli.main()
finally:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=open({out!r}, "w"))
"""


def _memory(folder: Path, root: Path, quick: bool) -> Row:
    """Peak memory of the command itself, over a corpus of links to the same photos, ten times as many."""
    count = 64 if quick else 512
    peaks = [_peak(folder / f"memory-{factor}", root, folder / "light", factor * count) for factor in (1, 10)]
    ratio = peaks[1] / peaks[0]
    return Row(
        name="peak memory of an extraction, ten times the corpus / the corpus",
        goal="<= 1.05",
        met=ratio <= 1.05,
        ratio=round(ratio, 4),
        low=round(ratio, 4),
        high=round(ratio, 4),
        ours=round(peaks[1], 1),
        theirs=round(peaks[0], 1),
        unit="MB",
        rounds=1,
    )


def _peak(folder: Path, root: Path, model: Path, count: int) -> float:
    """Megabytes."""
    linked(root, folder / "images", count)
    recipe = f"""
name = "memory"
out = "{folder}/out"
teacher = {{ kind = "openclip", model = "local-dir:{model}", device = "cpu" }}
[[corpora]]
name = "images"
source = {{ kind = "folder", root = "{folder}/images" }}
fields = ["image"]
rows_per_shard = 64
batch_size = 16
"""
    (folder / "recipe.toml").write_text(recipe)
    code = _PEAK.format(out=str(folder / "peak"))
    subprocess.run(
        [sys.executable, "-c", code, "extract-teacher", str(folder / "recipe.toml")], check=True, capture_output=True
    )
    return int((folder / "peak").read_text()) / 1024
