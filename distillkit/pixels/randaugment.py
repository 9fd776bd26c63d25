"""RandAugment as an explicit list of operations: what was drawn is written down, so a replay needs no random generator.

Cubuk et al. 2019, https://arxiv.org/abs/1909.13719, with the operations and strengths of timm's "rand-m9-mstd0.5-inc1"
(https://github.com/huggingface/pytorch-image-models, timm/data/auto_augment.py), which Proteus and DeiT train with.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

# What a geometric operation uncovers: the mean colour of ImageNet.
FILL = (124, 116, 104)
_TOP = 10  # the scale of magnitudes

Draw = Callable[[np.random.Generator, float], float]
Operation = Callable[[Image.Image, float], Image.Image]


def _signed(most: float) -> Draw:
    """`most` at magnitude 10, in either direction."""
    return lambda random, level: float(random.choice((-1.0, 1.0))) * most * level / _TOP


def _strength(random: np.random.Generator, level: float) -> float:
    """A factor of an enhancement; 1 changes nothing."""
    return max(0.1, 1.0 + _signed(0.9)(random, level))


def _affine(*matrix: float) -> Callable[[Image.Image], Image.Image]:
    return lambda image: image.transform(
        image.size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR, fillcolor=FILL
    )


def _keep_bits(image: Image.Image, bits: float) -> Image.Image:
    """The upper bits of every colour; none of them is black, which Pillow's own function refuses."""
    mask = 256 - (1 << 8 - int(bits))
    return image.point([value & mask for value in range(256)] * 3)


def _add_to_dark(image: Image.Image, amount: float) -> Image.Image:
    return image.point([min(255, value + int(amount)) if value < 128 else value for value in range(256)] * 3)


# Name: how its amount is drawn from a level of 0 to 10, and what it does with that amount. A stored operation is a
# place in this table, so the order is part of the store format: add at the end.
_TABLE: dict[str, tuple[Draw, Operation]] = {
    "auto_contrast": (lambda *_: 0.0, lambda image, _: ImageOps.autocontrast(image)),
    "equalize": (lambda *_: 0.0, lambda image, _: ImageOps.equalize(image)),
    "invert": (lambda *_: 0.0, lambda image, _: ImageOps.invert(image)),
    "rotate": (_signed(30.0), lambda image, by: image.rotate(by, Image.Resampling.BILINEAR, fillcolor=FILL)),
    "posterize": (lambda _, level: 4.0 - int(level / _TOP * 4), _keep_bits),
    "solarize": (lambda _, level: 256.0 - int(level / _TOP * 256), lambda image, n: ImageOps.solarize(image, int(n))),
    "solarize_add": (lambda _, level: float(int(level / _TOP * 110)), _add_to_dark),
    "color": (_strength, lambda image, factor: ImageEnhance.Color(image).enhance(factor)),
    "contrast": (_strength, lambda image, factor: ImageEnhance.Contrast(image).enhance(factor)),
    "brightness": (_strength, lambda image, factor: ImageEnhance.Brightness(image).enhance(factor)),
    "sharpness": (_strength, lambda image, factor: ImageEnhance.Sharpness(image).enhance(factor)),
    "shear_x": (_signed(0.3), lambda image, by: _affine(1, by, 0, 0, 1, 0)(image)),
    "shear_y": (_signed(0.3), lambda image, by: _affine(1, 0, 0, by, 1, 0)(image)),
    "translate_x": (_signed(0.45), lambda image, by: _affine(1, 0, by * image.width, 0, 1, 0)(image)),
    "translate_y": (_signed(0.45), lambda image, by: _affine(1, 0, 0, 0, 1, by * image.height)(image)),
}
OPERATIONS = tuple(_TABLE)


def apply(image: Image.Image, operation: str, amount: float) -> Image.Image:
    """One operation on an RGB image; `amount` is in degrees, shares of a side, bits or whatever the table has it in."""
    return _TABLE[operation][1](image, amount)


def draw(
    random: np.random.Generator, *, ops: int, magnitude: float, spread: float, probability: float
) -> tuple[tuple[str, float], ...]:
    """At most `ops` operations with their amounts: each is skipped with 1 - `probability`; levels are normal around
    `magnitude` with deviation `spread`, within 0 to 10. Amounts are float32 numbers, as stores keep them.
    """
    drawn = []
    for number in random.integers(len(OPERATIONS), size=ops):
        taken, level = random.random() < probability, np.clip(random.normal(magnitude, spread), 0, _TOP)
        amount = _TABLE[OPERATIONS[number]][0](random, float(level))
        if taken:
            drawn.append((OPERATIONS[number], float(np.float32(amount))))
    return tuple(drawn)
