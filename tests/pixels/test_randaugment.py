"""Every operation is a pure function of the picture and its written-down amount."""

import numpy as np
import pytest
from PIL import Image
from timm.data import auto_augment

from distillkit.pixels import randaugment

TIMMS = {
    "auto_contrast": "AutoContrast",
    "equalize": "Equalize",
    "invert": "Invert",
    "rotate": "Rotate",
    "posterize": "PosterizeIncreasing",
    "solarize": "SolarizeIncreasing",
    "solarize_add": "SolarizeAdd",
    "color": "ColorIncreasing",
    "contrast": "ContrastIncreasing",
    "brightness": "BrightnessIncreasing",
    "sharpness": "SharpnessIncreasing",
    "shear_x": "ShearX",
    "shear_y": "ShearY",
    "translate_x": "TranslateXRel",
    "translate_y": "TranslateYRel",
}


def noise(seed=0):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (20, 24, 3), dtype=np.uint8))


def some_amount(operation, level=7.0):
    return randaugment._TABLE[operation][0](np.random.default_rng(3), level)


def test_the_operations_are_those_of_the_papers_recipe():
    assert set(TIMMS.values()) == set(auto_augment._RAND_INCREASING_TRANSFORMS)
    assert tuple(TIMMS) == randaugment.OPERATIONS  # stored as places in this list


@pytest.mark.parametrize("operation", TIMMS)
def test_an_operation_does_what_timms_does(operation):
    amount = some_amount(operation)
    options = {"fillcolor": randaugment.FILL, "resample": Image.Resampling.BILINEAR}
    whole = operation in ("posterize", "solarize", "solarize_add")
    arguments = (int(amount) if whole else amount,) if operation not in list(TIMMS)[:3] else ()
    want = auto_augment.NAME_TO_OP[TIMMS[operation]](noise(), *arguments, **options)
    have = randaugment.apply(noise(), operation, amount)
    np.testing.assert_array_equal(np.asarray(have), np.asarray(want))
    assert (np.asarray(have) != np.asarray(noise())).any() or operation in ("auto_contrast", "equalize")


def test_no_bits_are_black():
    assert not np.asarray(randaugment.apply(noise(), "posterize", some_amount("posterize", 10.0))).any()


@pytest.mark.parametrize("operation", TIMMS)
@pytest.mark.parametrize("level", [0.0, 10.0])
def test_every_amount_that_can_be_drawn_can_be_applied(operation, level):
    shown = randaugment.apply(noise(), operation, some_amount(operation, level))
    assert shown.size == noise().size and shown.mode == "RGB"


@pytest.mark.parametrize("operation", TIMMS)
@pytest.mark.parametrize("level", [0.0, 9.0, 10.0])
def test_amounts_are_those_of_timm(operation, level, monkeypatch):
    """Of a level timm makes one amount, or two that differ in sign."""
    to_amount = auto_augment.LEVEL_TO_ARG[TIMMS[operation]]
    want = set()
    for coin in (0.0, 1.0):
        monkeypatch.setattr(auto_augment.random, "random", lambda coin=coin: coin)
        value = to_amount(level, {}) if to_amount else 0.0
        want.add(round(float(value[0] if isinstance(value, tuple) else value), 6))
    have = {round(randaugment._TABLE[operation][0](np.random.default_rng(n), level), 6) for n in range(20)}
    assert have == want


def test_draws_follow_their_generator_and_skip_by_probability():
    def draws(probability, seed=0):
        random = np.random.default_rng(seed)
        return [randaugment.draw(random, ops=2, magnitude=9, spread=0.5, probability=probability) for _ in range(500)]

    assert draws(0.5) == draws(0.5) != draws(0.5, seed=1)
    assert all(len(drawn) == 2 for drawn in draws(1.0))
    assert 400 < sum(len(drawn) for drawn in draws(0.5)) < 600
    amounts = [amount for drawn in draws(1.0) for _, amount in drawn]
    assert amounts == [float(np.float32(amount)) for amount in amounts]
    assert {operation for drawn in draws(1.0) for operation, _ in drawn} == set(TIMMS)
