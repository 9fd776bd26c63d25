"""What changed is told in a line a change, whatever it lies in."""

import pytest

from distillkit.recipe.differences import differences

ONE = {"kind": "affinity", "name": "L_vl", "weight": 0.7}
OTHER = {"kind": "affinity", "name": "L_pvl", "weight": 0.3}


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ({"a": {"b": 1}}, {"a": {"b": 2}}, ["a.b: 1 -> 2"]),
        ({"a": 1}, {}, ["a: 1 -> 'absent'"]),
        ({"a": [1, 2]}, {"a": [1, 3]}, ["a[1]: 2 -> 3"]),
        ({"a": [1, 2]}, {"a": [1]}, ["a: [1, 2] -> [1]"]),
        ({"losses": [ONE, OTHER]}, {"losses": [ONE]}, ["losses: L_vl, L_pvl -> L_vl"]),
        (
            {"losses": [ONE, OTHER]},
            {"losses": [ONE | {"weight": 1.0}]},
            ["losses: L_vl, L_pvl -> L_vl", "losses.L_vl.weight: 0.7 -> 1.0"],
        ),
        ({"losses": [{"kind": "mse"}]}, {"losses": []}, ["losses: [{'kind': 'mse'}] -> []"]),
        # Two of one name cannot be told apart by it.
        ({"losses": [ONE, ONE]}, {"losses": [ONE]}, [f"losses: {[ONE, ONE]!r} -> {[ONE]!r}"]),
        ({"a": 1}, {"a": 1}, []),
    ],
)
def test_a_change_is_a_line(old, new, told):
    assert differences(old, new) == told
