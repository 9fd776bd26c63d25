"""Stage 1 with ViT-L/14 and DINOv2-L at 224 pixels: eager, compiled, in the largest batch, from JPEGs to a store."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import timm
import torch
from safetensors.torch import save_file

from benchmarks.gpu.clock import here, seconds
from benchmarks.gpu.limits import BF16
from benchmarks.gpu.results import Part, value_of
from distillkit import extract
from distillkit.system.device import give_back, out_of_memory
from distillkit.teachers.openclip import Openclip
from distillkit.teachers.timm import Timm
from tests.bench.extraction import toy as toy_openclip
from tests.bench.extraction import with_weights
from tests.bench.gpu_extraction import operations, vit_operations
from tests.pixels.test_tensors import encoded, picture

_CLIP, _DINO = "ViT-L-14", "vit_large_patch14_dinov2"
_GOAL, _HARD_GOAL = 0.6, 0.7  # of the rate of products of matrices
_LARGEST = 8192  # images of a batch: more are a question of memory alone
_UNTIL = 105.0  # seconds of this part's 120 in which a larger batch may still end
_TOY = {"layers": 1, "width": 64, "head_width": 32, "patch_size": 16}
_RECIPE = """
name = "once"
out = "{out}"
decode_threads = {threads}
[teacher]
kind = "openclip"
model = "{model}"
pixels = "{pixels}"
compile = {compile}
[[corpora]]
name = "images"
source = {{ kind = "folder", root = "{root}" }}
fields = ["image"]
batch_size = {batch}
rows_per_shard = 4096
"""


def run(out: Path, toy: bool) -> None:
    part, device = Part(out, "teachers"), here()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        model = toy_openclip(place / "clip", 32, _TOY) if toy else with_weights(place, _CLIP)
        clip = Openclip(model=model, device=device.type, precision="bf16")
        limit = value_of(out, "limits", BF16)
        forward = _forwards(part, "ViT-L/14", clip, operations(clip), limit, toy)
        _from_jpegs(part, place, model, forward, toy, device)
        dino = _dino(place, toy, device)
        _forwards(part, "DINOv2-L", dino, dino_operations(dino), limit, toy)
        # Last, as it takes what is left of the time.
        for name, teacher, each in (("ViT-L/14", clip, operations(clip)), ("DINOv2-L", dino, dino_operations(dino))):
            largest(part, name, teacher, each, limit, (4, 8) if toy else (512, _LARGEST))
    part.keep(ended="whole")


def _forwards(part: Part, name: str, teacher: Any, each: float, limit: float | None, toy: bool) -> float:
    """Images a second, the better of eager and compiled, in batches of 256; `each`: operations for an image."""
    pixels, rates = _pixels(teacher, 4 if toy else 256), {}
    for way in ("eager",) if toy else ("eager", "compiled"):
        with _compiled(teacher) if way == "compiled" else nullcontext():
            work = partial(teacher.forward, pixels=pixels, fields=["image"])
            rates[way] = len(pixels) / seconds(work, 1 if toy else 8)
        part.add(f"{name}, {way}", rates[way], "images/s")
        if limit:
            share_of_products(part, f"{name}, {way}", rates[way] * each / 1e12 / limit, way == "compiled")
    if "compiled" in rates:
        part.add(f"{name}, compiled / eager", rates["compiled"] / rates["eager"], "", 1.15)
    return max(rates.values())


def share_of_products(part: Part, name: str, share: float, wanted: bool) -> None:
    """Where a share is `wanted`, beside its goal: whether it reaches the hard one."""
    told = f"hard goal {_HARD_GOAL:g}: {'reached' if share >= _HARD_GOAL else 'not reached'}" if wanted else ""
    part.add(f"{name} / products of matrices", share, "", _GOAL if wanted else None, told=told)


def largest(
    part: Part, name: str, teacher: Any, each: float, limit: float | None, sizes: tuple[int, int], until: float = _UNTIL
) -> None:
    """Batches that double, from the first of `sizes` to the second, until the memory ends or the time of this part."""
    size, rate, ended = sizes[0] // 2, 0.0, f"no more than {sizes[1]} were tried"
    took = 0.0
    while size < sizes[1]:
        # The next one takes twice as long as this one took.
        if part.spent() + 2 * took > until:
            ended = "the time of this part ended"
            break
        begun = time.perf_counter()
        try:
            batch = _pixels(teacher, 2 * size)
            rate = len(batch) / seconds(partial(teacher.forward, pixels=batch, fields=["image"]), rounds=1)
        except Exception as error:
            if not out_of_memory(error):
                raise
            ended = f"for {2 * size} the memory did not suffice"
            break
        size, took = 2 * size, time.perf_counter() - begun
    give_back()
    if not rate:
        part.add(f"{name}, eager, largest batch", told=f"not found: {ended}")
        return
    part.add(f"{name}, eager, largest batch", size, "images", told=ended)
    part.add(f"{name}, eager, in the largest batch", rate, "images/s")
    if limit:
        share_of_products(part, f"{name}, eager, in the largest batch", rate * each / 1e12 / limit, False)


def _pixels(teacher: Any, count: int) -> torch.Tensor:
    """Images in pinned memory, where the teacher is on a GPU; some are drawn, and repeated, as that takes long."""
    drawn = torch.randint(256, (min(count, 256), 3, *teacher.preprocess.size), dtype=torch.uint8)
    pixels = drawn.repeat(-(-count // len(drawn)), 1, 1, 1)[:count]
    return pixels.pin_memory() if teacher.device.type == "cuda" else pixels


@contextmanager
def _compiled(teacher: Any) -> Iterator[None]:
    """Meanwhile its network goes through torch.compile."""
    from distillkit.teachers._frozen import compiled

    network = teacher.model.visual if hasattr(teacher.model, "visual") else teacher.model
    name = "forward" if network is not teacher.model else "forward_features"
    with mock.patch.object(network, name, compiled(getattr(network, name))):
        yield


def dino_operations(teacher: Timm) -> float:
    """As `operations` counts them."""
    network = teacher.model
    patches, numbers = network.patch_embed.num_patches, network.patch_embed.proj.weight[0].numel()
    return vit_operations(len(network.blocks), network.embed_dim, patches, numbers)


def _dino(place: Path, toy: bool, device: torch.device) -> Timm:
    name, size = ("test_vit", 32) if toy else (_DINO, 224)
    torch.manual_seed(0)
    save_file(timm.create_model(name, img_size=size, num_classes=0).state_dict(), place / "dino.safetensors")
    weights = str(place / "dino.safetensors")
    return Timm(model=name, weights=weights, image_size=size, device=device.type, precision="bf16")


def _from_jpegs(part: Part, place: Path, model: str, forward: float, toy: bool, device: torch.device) -> None:
    """Photos of 500 x 375 by the CPU's decoders and by the card's."""
    count, batch = (16, 4) if toy else (16_384, 256)
    (place / "photos").mkdir()
    photo = encoded(picture(500, 375))
    for number in range(count):
        (place / "photos" / f"{number:05d}.jpg").write_bytes(photo)
    for pixels in ("torchvision", "nvjpeg") if device.type == "cuda" else ("torchvision",):
        knobs = {"model": model, "root": place / "photos", "batch": batch, "threads": 16, "pixels": pixels}
        recipe = place / f"{pixels}.toml"
        recipe.write_text(_RECIPE.format(out=place / pixels, compile="false" if toy else "true", **knobs))
        extract(recipe, print)
        rate = _rate(place / pixels / "images")
        part.add(f"from JPEGs to a store, {pixels}", rate, "images/s")
        part.add(f"from JPEGs, {pixels} / forward alone", rate / forward, "", 0.9)


def _rate(store: Path) -> float:
    """Images a second by the store's own log, without the first shard, in which the network is compiled."""
    lines = [json.loads(line) for line in (store / "extract.jsonl").read_text().splitlines()]
    counted = lines[1:] or lines
    return sum(line["rows"] for line in counted) / sum(line["seconds"] for line in counted)
