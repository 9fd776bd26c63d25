"""Stage 1: ViT-L/14 and DINOv2-L at 224 pixels, eager and compiled, and from JPEGs to the store."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors.torch import save_file

from benchmarks.gpu.clock import here, seconds
from benchmarks.gpu.limits import BF16
from benchmarks.gpu.results import Part, value_of
from distillkit import extract
from distillkit.teachers.openclip import Openclip
from distillkit.teachers.timm import Timm
from tests.bench.extraction import toy as toy_openclip
from tests.bench.extraction import with_weights
from tests.bench.gpu_extraction import operations
from tests.pixels.test_tensors import encoded, picture

_CLIP, _DINO = "ViT-L-14", "vit_large_patch14_dinov2"
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
        del clip
        _from_jpegs(part, place, model, forward, toy, device)
        _forwards(part, "DINOv2-L", _dino(place, toy, device), None, limit, toy)
    part.keep(ended="whole")


def _forwards(part: Part, name: str, teacher: Any, flops: float | None, limit: float | None, toy: bool) -> float:
    """Images a second, compiled: of batches of 256, or the largest that fit."""
    size, batch = teacher.preprocess.size, 4 if toy else 256
    pixels = torch.randint(256, (batch, 3, *size), dtype=torch.uint8)
    pixels = pixels.pin_memory() if teacher.device.type == "cuda" else pixels
    rates = {}
    for way in ("eager",) if toy else ("eager", "compiled"):
        if way == "compiled":
            _compile(teacher)
        rates[way] = batch / seconds(lambda: teacher.forward(pixels=pixels, fields=["image"]), 1 if toy else 8)
        part.add(f"{name}, {way}", rates[way], "images/s")
        if flops and limit:
            goal = 0.6 if way == "compiled" else None
            part.add(f"{name}, {way} / products of matrices", rates[way] * flops / 1e12 / limit, "", goal)
    if "compiled" in rates:
        part.add(f"{name}, compiled / eager", rates["compiled"] / rates["eager"], "", 1.15)
    return max(rates.values())


def _compile(teacher: Any) -> None:
    from distillkit.teachers._frozen import compiled

    if hasattr(teacher.model, "visual"):
        teacher.model.visual.forward = compiled(teacher.model.visual.forward)
    else:
        teacher.model.forward_features = compiled(teacher.model.forward_features)


def _dino(place: Path, toy: bool, device: torch.device) -> Timm:
    name, size = ("vit_tiny_patch16_224", 32) if toy else (_DINO, 224)
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
