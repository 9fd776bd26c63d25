"""A timm network without classifier, at the image size that is asked for."""

from __future__ import annotations

from typing import Any

import timm

from distillkit.errors import RecipeError


def create_trunk(name: str, image_size: int, options: dict[str, Any]) -> Any:
    """Transformers are told the image size, convolutional networks do not know it; RecipeError for wrong options."""
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
