"""A student of one's own whose embed gives no row of its width for each image is one line."""

import re

import pytest
import torch

from distillkit.errors import TrainError
from distillkit.evaluation.embed import _a_row_each


class Mine:
    widths = {"image": 4}  # noqa: RUF012


@pytest.mark.parametrize(
    ("said", "given"),
    [
        (None, "NoneType"),
        (torch.ones(3, 4).numpy(), "ndarray"),
        (torch.ones(3, 5), "[3, 5]"),
        (torch.ones(2, 4), "[2, 4]"),
        (torch.ones(12), "[12]"),
    ],
)
def test_what_is_no_row_for_each_image_is_one_line(said, given):
    with pytest.raises(TrainError, match=re.escape(f"Mine.embed gives {given} where [3, 4] is wanted")) as refused:
        _a_row_each(Mine(), said, 3)
    assert "\n" not in str(refused.value)


def test_rows_are_handed_on_as_they_are():
    said = torch.ones(3, 4)
    assert _a_row_each(Mine(), said, 3) is said


def test_who_names_no_width_of_images_may_give_any():
    """As a student that learns a class token alone, and gives that."""
    mine, said = Mine(), torch.ones(3, 7)
    mine.widths = {"cls": 7}
    assert _a_row_each(mine, said, 3) is said
    with pytest.raises(TrainError, match=re.escape("gives [2, 7] where [3, 'any width'] is wanted")):
        _a_row_each(mine, said[:2], 3)
