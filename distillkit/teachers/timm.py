"""Any timm network as a frozen image teacher: DINOv2 and DINOv3 with registers, SynCLR, supervised ones.

`image` is the pooled embedding before any classifier; vision transformers also give `cls` and `patches`, without
registers, after the final norm; of those that norm what they have pooled and no token (BEiT, EVA-02, others with timm's
`fc_norm`) as the last block leaves them. https://github.com/huggingface/pytorch-image-models
"""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float, UInt8
from timm.data import create_transform, resolve_model_data_config
from timm.layers import to_2tuple
from torch import Tensor

from distillkit.errors import TeacherError
from distillkit.recipe.schema import Side
from distillkit.system.device import brought, device_of
from distillkit.system.paths import expand
from distillkit.teachers._frozen import (
    AnyPrecision,
    activation,
    autocast,
    compiled,
    freeze,
    lower,
    plain,
    precision_of,
    quiet,
    refuse_other_weights,
)
from distillkit.teachers._grid import Grid
from distillkit.teachers._hub import expanded, hub, is_all_in_a_folder
from distillkit.teachers._outline import Outline, Untold, or_none, outlining
from distillkit.teachers._preprocess import PixelPath, Preprocess, Shows, normalised
from distillkit.teachers._timm_network import empty, load, refuse_absent
from distillkit.types import Features


class Timm:
    """`model`: a name that timm knows, with or without ".TAG", "local-dir:FOLDER" or "hf-hub:OWNER/NAME".

    `weights`: a .safetensors or .pth file for the named network, in any layout that timm knows for it. `prefix`: how
    the names of the network's tensors begin, in a file that holds more than the network (SynCLR: "visual.").
    `image_size`: side of the square images that the network sees, in pixels, whatever timm's default; position
    embeddings are resampled to it, as timm does. `precision`: the number format that the network computes in. "auto":
    bf16 on a GPU that has it, else fp32; "fp8", "int8": its linear maps in 8 bits (_eight_bits.py), all else in bf16.
    Features are float32. `top_k`: keep the classifier, which adds the fields logits and classes. A number k: the
    log-probabilities of the k best classes, the highest first, and the numbers of these classes; "all": the logits of
    all classes, in order.
    """

    scale = None  # it has no texts to be compared with
    dtypes: ClassVar[dict[str, str]] = {"classes": "int32"}

    def __init__(
        self,
        *,
        model: str,
        weights: str | None = None,
        prefix: str = "",
        image_size: Side = 224,
        grid: int | Literal["full"] = "full",
        precision: AnyPrecision = "auto",
        device: str = "auto",
        top_k: int | Literal["all"] | None = None,
        sha256: str | None = None,
        pixels: PixelPath = "pil",
        reduced: bool = False,
        compile: bool = False,  # noqa: A002
    ):
        # The fingerprint keeps both names as they were written: when a folder moves, the teacher stays the same.
        self.written = {"model": model} | {
            name: value for name, value in (("weights", weights), ("prefix", prefix)) if value
        }
        self.image_size, self.device = image_size, device_of(device, "teacher.device", TeacherError)
        self.precision = precision_of(precision, self.device)
        with quiet(), hub(needed=not (weights or is_all_in_a_folder(expanded(model)))):
            self.model = load(model, expand(weights) if weights else None, prefix, image_size, top_k is not None)
            self._sha256 = freeze(self.model, self.device)
            lower(self.model, self.precision, but=self.model.get_classifier() if top_k else None)
        if sha256:
            refuse_other_weights(model, self._sha256, sha256)
        self.classes = int(self.model.num_classes) if top_k else 0
        self.top_k = _top_k(model, top_k, self.classes)
        self.preprocess_config = _config(self.model, image_size)
        self.preprocess = _preprocess(self.preprocess_config, pixels, reduced)
        self.preprocess.refuse_cpu(self.device)
        # Ask the network itself what it gives: one forward of an empty image.
        _refuse_other_sides(model, self.model, image_size)
        tokens, image, _ = self._see(torch.zeros(1, 3, image_size, image_size))
        self.width, self.prefix_tokens = int(image.shape[-1]), int(getattr(self.model, "num_prefix_tokens", 0))
        self.tokens = _grid(self.model, tokens, grid)
        if compile:  # what is asked so far is one image, and its shape would be compiled for nothing
            self.model.forward_features = compiled(self.model.forward_features)

    @staticmethod
    def refuse_absent(*, model: str, weights: str | None = None, **knobs: Any) -> None:
        """TeacherError for a model or weights that are not there, before anything is loaded."""
        refuse_absent(model, expand(weights) if weights else None)

    @staticmethod
    @or_none
    def outline(
        *,
        model: str,
        weights: str | None = None,
        image_size: int = 224,
        grid: int | Literal["full"] = "full",
        precision: AnyPrecision = "auto",
        device: str = "auto",
        top_k: int | Literal["all"] | None = None,
        pixels: PixelPath = "pil",
        reduced: bool = False,
        **knobs: Any,
    ) -> Outline:
        """What it gives, as far as that is known without weights; TeacherError for what does not fit."""
        there = device_of(device, "teacher.device", TeacherError)
        precision_of(precision, there)
        if weights and top_k == "all":
            raise Untold  # the file's own classifier says how many
        with outlining(expanded(model)):
            network = empty(model, image_size, top_k is not None)
            classes = int(network.num_classes)
            preprocess = _preprocess(_config(network, image_size), pixels, reduced)
            preprocess.refuse_cpu(there)
            _refuse_other_sides(model, network, image_size)
            tokens = network.forward_features(torch.zeros(1, 3, image_size, image_size))
            width = int(network.forward_head(tokens, pre_logits=True).shape[-1])
            known = top_k if weights else _top_k(model, top_k, classes)
            return Outline(_fields(width, _grid(network, tokens, grid), known, classes), preprocess, Timm.dtypes)

    @property
    def fields(self) -> dict[str, list[int]]:
        """What this teacher can say, and the shape of one row of it."""
        return _fields(self.width, self.tokens, self.top_k, self.classes)

    @torch.inference_mode()
    def forward(
        self,
        pixels: Float[Tensor, "b 3 h w"] | UInt8[Tensor, "b 3 h w"],
        fields: Collection[str] | None = None,
        stay: bool = False,
    ) -> Features:
        """Raw features, float32 on the CPU (`stay`: where the network is): those of `fields`, or all.

        One forward gives them all.
        `pixels` are 8-bit, as `preprocess` gives them, or floats with this network's mean and deviation taken out.
        """
        seen, image, logits = self._see(pixels)
        said = {"image": image}
        if self.tokens:
            said |= {"cls": seen[:, 0]} if self.tokens.has_cls else {}
            said |= {"patches": self.tokens.pool(seen[:, self.prefix_tokens :])}
        if self.top_k == "all":
            said["logits"] = logits
        elif self.top_k:
            # Shifted to sum to 1 as probabilities: no softmax sees the shift, and what k leaves of 1 is known.
            said["logits"], said["classes"] = logits.float().log_softmax(1).topk(self.top_k)
        asked = self.fields if fields is None else fields
        told = {name: _number(said[name], self.dtypes.get(name)) for name in asked}
        return Features(**(told if stay else brought(told)))

    @torch.inference_mode()
    def _see(self, pixels: Tensor) -> tuple[Tensor, Float[Tensor, "b d"], Float[Tensor, "b c"]]:
        """Everything after the final norm, the embedding, and what the classifier says (of no classes: nothing new)."""
        with autocast(self.device, self.precision):
            config = self.preprocess_config
            features = self.model.forward_features(normalised(pixels, config["mean"], config["std"], self.device))
            image = self.model.forward_head(features, pre_logits=True)
            return features, image, self.model.forward_head(features) if self.top_k else image

    def fingerprint(self) -> dict[str, Any]:
        """Everything the features depend on. Two stores belong together when these are equal."""
        return {
            "kind": "timm",
            **self.written,
            "weights_sha256": self._sha256,
            "tensors": len(self.model.state_dict()),
            "parameters": {"image": sum(parameter.numel() for parameter in self.model.parameters())},
            "preprocess": plain(self.preprocess_config) | self.preprocess.told,
            "image_size": self.image_size,
            "activation": activation(self.model),
            "precision": self.precision,
        } | ({"classes": self.classes} if self.classes else {})


def _fields(width: int, tokens: Grid | None, top_k: int | Literal["all"] | None, classes: int) -> dict[str, list[int]]:
    fields = {"image": [width]} | (tokens.fields if tokens else {})
    if top_k == "all":
        return fields | {"logits": [classes]}
    return fields | ({"logits": [top_k], "classes": [top_k]} if top_k else {})


def _grid(network: Any, tokens: Tensor, cells: int | Literal["full"]) -> Grid | None:
    """Where what comes after the final norm is the patches of a grid, behind the tokens that are none."""
    shape = getattr(getattr(network, "patch_embed", None), "grid_size", None) or (0, 0)
    before = int(getattr(network, "num_prefix_tokens", 0))
    # Of several branches, as CrossViT's, they are a list.
    if not isinstance(tokens, Tensor) or tokens.ndim != 3 or tokens.shape[1] != before + shape[0] * shape[1]:
        return None
    return Grid(shape, int(tokens.shape[-1]), getattr(network, "cls_token", None) is not None, cells)


def _refuse_other_sides(name: str, network: Any, image_size: int) -> None:
    high, wide = to_2tuple(getattr(getattr(network, "patch_embed", None), "patch_size", 1))
    if image_size % high or image_size % wide:
        raise TeacherError(f"{name}: image_size = {image_size} is no multiple of its patches of {high} x {wide} pixels")


def _config(network: Any, image_size: int) -> dict[str, Any]:
    config: dict[str, Any] = resolve_model_data_config(network)
    return config | {"input_size": (3, image_size, image_size)}


def _preprocess(config: dict[str, Any], pixels: PixelPath = "pil", reduced: bool = False) -> Preprocess:
    """timm's own evaluation transform at the size of `config`, up to 8-bit pixels."""
    high, wide = config["input_size"][-2:]
    shows: dict[str, Shows] = {"center": "centre", "squash": "whole", "border": "padded"}
    return Preprocess.of(
        create_transform(**config, is_training=False),
        size=(high, wide),
        interpolation=config["interpolation"],
        shows=shows[config["crop_mode"] or "center"],
        share=high / math.floor(high / config["crop_pct"]),
        pixels=pixels,
        reduced=reduced,
    )


def _top_k(name: str, asked: int | Literal["all"] | None, classes: int) -> int | Literal["all"] | None:
    """`asked`, where the classifier has so many classes."""
    if asked is not None and not classes:
        raise TeacherError(f"{name}: has no classifier; leave teacher.top_k out")
    if isinstance(asked, int) and not 1 <= asked <= classes:
        raise TeacherError(f'{name}: teacher.top_k = {asked}, its classes are {classes}; take fewer, or "all"')
    return asked


def _number(value: Tensor, dtype: str | None) -> Tensor:
    return value.float() if dtype is None else value.to(getattr(torch, dtype))
