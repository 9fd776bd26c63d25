"""Any open_clip model as a frozen teacher: `ViT-L-14/openai`, `local-dir:FOLDER`, `hf-hub:OWNER/NAME`, or a checkpoint.

The teacher owns its preprocessing (size, mean, std, interpolation), its activation flag and its fingerprint.
https://github.com/mlfoundations/open_clip
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict
from typing import Any, Literal

import torch
from jaxtyping import Float, Int, UInt8
from open_clip.transform import PreprocessCfg
from torch import Tensor

from distillkit.errors import TeacherError
from distillkit.recipe.schema import Width
from distillkit.recipe.weights import named
from distillkit.system.device import brought, device_of
from distillkit.teachers._frozen import (
    AnyPrecision,
    autocast,
    compiled,
    freeze,
    lower,
    plain,
    precision_of,
    quiet,
    refuse_other_weights,
)
from distillkit.teachers._hub import expanded, hub, is_all_in_a_folder
from distillkit.teachers._openclip_network import find, load, quick_gelu, shortened, tokenizer
from distillkit.teachers._openclip_outline import fields_of, grid_of, image_tower, preprocess_of
from distillkit.teachers._outline import Outline, or_none, outlining
from distillkit.teachers._preprocess import PixelPath, normalised
from distillkit.types import Features


class Openclip:
    """`model`: "NAME/TAG", "local-dir:FOLDER" or "hf-hub:OWNER/NAME"; or "NAME" alone, with weights from a file.

    `weights`: a file of weights, for a model that is given as "NAME" alone. `precision`: the number format that the
    towers compute in. "auto": bf16 on a GPU that has it, else fp32; "fp8", "int8": the linear maps of the image tower
    in 8 bits (_eight_bits.py), all else in bf16. Embeddings are float32. `compile`: true: run the image tower through
    torch.compile; the text tower is not, as texts have many lengths.

    Vision transformers also give `cls` and `patches`, after the final norm and before the projection.
    """

    def __init__(
        self,
        *,
        model: str,
        weights: str | None = None,
        precision: AnyPrecision = "auto",
        device: str = "auto",
        context_length: Width | None = None,
        grid: int | Literal["full"] = "full",
        sha256: str | None = None,
        pixels: PixelPath = "pil",
        reduced: bool = False,
        compile: bool = False,  # noqa: A002
    ):
        # The fingerprint keeps the name as it was written: when a cache folder moves, the teacher stays the same.
        self.written, self.name = "/".join(filter(None, (model, weights))), expanded(named(model, weights))
        self.device = device_of(device, "teacher.device", TeacherError)
        self.precision = precision_of(precision, self.device)
        with quiet(), hub(needed=not is_all_in_a_folder(self.name)):
            self.model = load(self.name)
            self._sha256 = freeze(self.model, self.device)
            lower(self.model.visual, self.precision)
            self.tokenizer = tokenizer(self.name, context_length)
        if sha256:
            refuse_other_weights(model, self._sha256, sha256)
        # The logit multiplier, exponentiated. Asked once: a GPU would answer after the batch before.
        self.scale = float(self.model.logit_scale.exp())
        self.preprocess_config = PreprocessCfg(**self.model.visual.preprocess_cfg)
        self.preprocess = preprocess_of(self.preprocess_config, pixels, reduced)
        self.preprocess.refuse_cpu(self.device)
        self.width = int(self.encode_text(self.tokenizer(["a"])).shape[-1])
        self.trims = self._trimming_changes_nothing()
        self.tokens = grid_of(self.model.visual, grid)
        if compile:
            tower = self.model.visual
            tower.forward = compiled(tower.forward)
            if self.tokens:
                tower.forward_intermediates = compiled(tower.forward_intermediates)

    @staticmethod
    def refuse_absent(*, model: str, weights: str | None = None, **knobs: Any) -> None:
        """TeacherError for a model or weights that are not there, before anything is loaded."""
        find(expanded(named(model, weights)))

    @staticmethod
    @or_none
    def outline(
        *,
        model: str,
        weights: str | None = None,
        precision: AnyPrecision = "auto",
        device: str = "auto",
        grid: int | Literal["full"] = "full",
        pixels: PixelPath = "pil",
        reduced: bool = False,
        **knobs: Any,
    ) -> Outline:
        """What it gives, as far as that is known without weights; TeacherError for what does not fit."""
        there = device_of(device, "teacher.device", TeacherError)
        precision_of(precision, there)
        name = expanded(named(model, weights))
        with outlining(name):
            tower, width, config = image_tower(name)
            tokens = grid_of(tower, grid)
        preprocess = preprocess_of(config, pixels, reduced) if config else None
        if preprocess:
            preprocess.refuse_cpu(there)
        return Outline(fields_of(width, tokens), preprocess)

    @property
    def fields(self) -> dict[str, list[int]]:
        """What this teacher can say, and the shape of one row of it."""
        return fields_of(self.width, self.tokens)

    def tokenize(self, texts: list[str]) -> tuple[Int[Tensor, "t l"], Int[Tensor, "t"]]:
        """Padded tokens, and how many of each row matter; all of them where padding changes what the tower says."""
        tokens = self.tokenizer(texts)
        if not self.trims:
            return tokens, torch.full((len(texts),), tokens.shape[1])
        return tokens, _used(tokens, self._pad)

    def cut(self, texts: list[str], lengths: Int[Tensor, "t"] | None = None) -> int:
        """How many of them are longer than it can read: their ends are not seen. `lengths`: those of `tokenize`."""
        most = int(self.tokenizer.context_length)
        full = (self.tokenize(texts)[1] if lengths is None else lengths) >= most
        long = [text for text, fills in zip(texts, full.tolist(), strict=True) if fills]
        return int((_used(self.tokenizer(long, context_length=most + 1), self._pad) > most).sum()) if long else 0

    @torch.inference_mode()
    def forward(
        self,
        pixels: Float[Tensor, "b 3 h w"] | UInt8[Tensor, "b 3 h w"] | None = None,
        tokens: Int[Tensor, "t l"] | None = None,
        fields: Collection[str] | None = None,
        stay: bool = False,
    ) -> Features:
        """Raw (un-normalised) features, float32 on the CPU (`stay`: where the towers are): those of `fields` that the
        inputs give, or all.

        `pixels` are 8-bit, as `preprocess` gives them, or floats with this model's mean and deviation taken out.
        `image` and `text` are after the projection. One forward of a tower gives all its fields.
        """
        asked = self.fields if fields is None else fields
        said = {} if pixels is None else self._look(pixels, asked)
        if tokens is not None and "text" in asked:
            said["text"] = self.encode_text(tokens)
        return Features(**(said if stay else brought(said)), scale=torch.tensor(self.scale))

    def _look(self, pixels: Tensor, asked: Collection[str]) -> dict[str, Tensor]:
        if self.tokens is None or not {"cls", "patches"} & set(asked):
            return {"image": self.encode_image(pixels)} if "image" in asked else {}
        with autocast(self.device, self.precision):
            seen = self.model.visual.forward_intermediates(
                self._on_device(pixels),
                indices=1,
                normalize_intermediates=True,
                output_fmt="NLC",
                output_extra_tokens=True,
            )
            (patches,) = seen["image_intermediates"]
            said = {"image": seen["image_features"], "patches": self.tokens.pool(patches)}
            if self.tokens.has_cls:
                said["cls"] = seen["image_intermediates_prefix"][0][:, 0]
        return {name: value.float() for name, value in said.items() if name in asked}

    def encode_image(self, pixels: Tensor) -> Float[Tensor, "b d"]:
        """The embeddings, where the tower is."""
        with autocast(self.device, self.precision):
            features: Tensor = self.model.encode_image(self._on_device(pixels))
        return features.float()

    def _on_device(self, pixels: Tensor) -> Tensor:
        return normalised(pixels, self.preprocess_config.mean, self.preprocess_config.std, self.device)

    def encode_text(self, tokens: Tensor) -> Float[Tensor, "t d"]:
        """The embeddings, where the tower is."""
        with autocast(self.device, self.precision):
            return self._text(tokens)

    @torch.inference_mode()
    def _text(self, tokens: Tensor) -> Float[Tensor, "t d"]:
        with shortened(self.model, tokens.shape[1]):
            features: Tensor = self.model.encode_text(tokens.to(self.device, non_blocking=True))
        return features.float()

    @property
    def _pad(self) -> int:
        return (
            int(getattr(getattr(self.model.text, "config", None), "pad_token_id", 0))
            if hasattr(self.model, "text")
            else 0
        )

    def _trimming_changes_nothing(self) -> bool:
        """Ask the tower itself, in full precision: some attend to their padding (SigLIP), most do not."""
        tokens = self.tokenizer(["a photo of a cat", "a red boat on a lake"])
        short = int(_used(tokens, self._pad).max())
        return torch.allclose(self._text(tokens), self._text(tokens[:, :short]), rtol=1e-3, atol=1e-4)

    def fingerprint(self) -> dict[str, Any]:
        """Everything the features depend on. Two stores belong together when these are equal."""
        return {
            "kind": "openclip",
            "model": self.written,
            "weights_sha256": self._sha256,
            "tensors": len(self.model.state_dict()),
            "parameters": self._parameters(),
            "preprocess": plain(asdict(self.preprocess_config)) | self.preprocess.told,
            "context_length": int(self.tokenizer.context_length),
            "activation": "quick_gelu" if quick_gelu(self.model) else "gelu",
            "precision": self.precision,
            "logit_scale": self.scale,
        }

    def _parameters(self) -> dict[str, int]:
        """How many each tower has; what is not the image tower counts as text, the logit scale as neither."""
        image = sum(parameter.numel() for parameter in self.model.visual.parameters())
        whole = sum(parameter.numel() for parameter in self.model.parameters())
        return {"image": image, "text": whole - image - self.model.logit_scale.numel()}


def _used(tokens: Tensor, pad: int) -> Int[Tensor, "t"]:
    """Length of each row up to its last token that is not padding."""
    positions = torch.arange(1, tokens.shape[1] + 1)
    return (positions * (tokens != pad)).amax(dim=1).clamp(min=1)
