"""Some of many rows, spread over all of them."""

import numpy as np
import pytest

from distillkit.system.evenly import evenly


@pytest.mark.parametrize(("rows", "most", "kept"), [(9, 3, [0, 4, 8]), (10, 4, [0, 3, 6, 9]), (3, 3, [0, 1, 2])])
def test_the_first_and_the_last_are_among_them(rows, most, kept):
    assert evenly(np.arange(rows), most).tolist() == kept


def test_no_row_comes_twice_and_few_are_all_taken():
    for rows in range(60):
        for most in range(60):
            kept = evenly(np.arange(rows), most)
            assert len(kept) == len(np.unique(kept)) == min(rows, most)
