"""A timm network without classifier, at the image size that is asked for."""

from __future__ import annotations

from typing import Any

import timm

from distillkit.errors import RecipeError


def create_trunk(name: str, image_size: int, options: dict[str, Any]) -> Any:
    """Transformers are told the image size, convolutional networks do not know it; RecipeError for wrong options, and
    for a network that gives nothing of a whole image, as the encoders of models of language (qwen3_vit_88m_enc).
    """
    trunk = _of_size(name, image_size, options)
    if not hasattr(trunk, "reset_classifier"):
        raise RecipeError(
            f"student: timm's {name} is the encoder of a larger model and pools nothing, so it says nothing of a whole "
            "image; name a network that classifies images, or is made to"
        )
    return trunk


def _of_size(name: str, image_size: int, options: dict[str, Any]) -> Any:
    try:
        return timm.create_model(name, num_classes=0, img_size=image_size, **options)
    except TypeError as error:
        if "img_size" not in str(error):
            raise RecipeError(f"student: timm's {name} does not take these options: {error}") from error
    except AssertionError as error:
        raise RecipeError(f"student: timm's {name} at {image_size} pixels: {error}") from error
    try:
        return timm.create_model(name, num_classes=0, **options)
    except TypeError as error:
        raise RecipeError(f"student: timm's {name} does not take these options: {error}") from error
