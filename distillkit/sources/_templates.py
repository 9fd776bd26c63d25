"""The sentences that open_clip puts class names into (`open_clip.zero_shot_metadata`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

# 80 of OpenAI's for ImageNet, or the 7 best of them.
Templates = Literal["openai_imagenet", "simple_imagenet"]


def templates_called(name: Templates) -> Sequence[Callable[[str], str]]:
    """Each makes a sentence of a name."""
    import open_clip

    return {
        "openai_imagenet": open_clip.OPENAI_IMAGENET_TEMPLATES,
        "simple_imagenet": open_clip.SIMPLE_IMAGENET_TEMPLATES,
    }[name]
