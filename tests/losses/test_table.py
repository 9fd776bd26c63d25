"""The table of losses counts every golden case once, and all of them pass."""

from collections import Counter

from tests.losses.table import ROOT, TERMS, rows
from tests.losses.test_golden import CASES


def test_every_case_is_in_one_row_and_passes():
    named = Counter((paper, name) for paper, _, _, names in TERMS for name in names)
    assert set(named.values()) == {1}
    assert {(case["method"], case["loss"]) for case in CASES} <= named.keys()
    told = [row[-1].split(" of ") for row in rows() if " of " in row[-1]]
    assert all(passed == there for passed, there in told)
    assert sum(int(there) for _, there in told) == len(CASES)
    assert all((ROOT / file).is_file() for _, _, file, _ in TERMS)
