"""The sentences that class names are put into: open_clip's sets (`open_clip.zero_shot_metadata`), or one's own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

from distillkit.errors import SourceError

# 80 of OpenAI's for ImageNet, or the 7 best of them; or sentences with {} where the name goes.
Templates = Literal["openai_imagenet", "simple_imagenet"] | list[str]


def templates_called(name: Templates) -> Sequence[Callable[[str], str]]:
    """Each makes a sentence of a name."""
    if isinstance(name, list):
        return [_filled(template) for template in name]
    import open_clip

    return {
        "openai_imagenet": open_clip.OPENAI_IMAGENET_TEMPLATES,
        "simple_imagenet": open_clip.SIMPLE_IMAGENET_TEMPLATES,
    }[name]


def _filled(template: str) -> Callable[[str], str]:
    if template.count("{}") != 1:
        raise SourceError(f"source.templates: {template!r} must have one {{}}, where the name goes")
    before, _, after = template.partition("{}")
    return lambda name: f"{before}{name}{after}"
