"""What is kept of a shard in hand: whole or not there, and gone when it is not needed."""

import json

import numpy as np
import pytest

from distillkit.store.format.field import Field
from distillkit.store.writing import begun, stamps

FIELDS = {
    "t/image": Field(teacher="t", shape=[3], dtype="float16"),
    "t/patches": Field(teacher="t", shape=[2, 5], dtype="bfloat16"),
}


@pytest.fixture
def arrays():
    draw = np.random.default_rng(0)
    return {"t/image": draw.random((4, 3)).astype("f2"), "t/patches": draw.integers(0, 9, (4, 2, 5)).astype("u2")}


def test_it_comes_back_as_it_was_and_the_last_one_counts(tmp_path, arrays):
    assert begun.kept(tmp_path, 3, FIELDS, 4) is None
    begun.keep(tmp_path, 3, {name: values * 0 for name, values in arrays.items()}, {"rows": 1})
    begun.keep(tmp_path, 3, arrays, {"rows": 2})
    found, facts, stamped = begun.kept(tmp_path, 3, FIELDS, 4)
    assert stamped is None and facts == {"rows": 2}
    assert all(np.array_equal(found[name], arrays[name]) for name in FIELDS)
    assert found["t/image"].flags.writeable
    seen = stamps.blank(4)
    seen[[1, 2]] = stamps.Stamp(70, 10**18, 2**64 - 1)
    begun.keep(tmp_path, 4, arrays, {"rows": 1}, seen)
    found, _, stamped = begun.kept(tmp_path, 4, FIELDS, 4)
    assert (stamped == seen).all() and all(np.array_equal(found[name], arrays[name]) for name in FIELDS)
    begun.drop(tmp_path, 3)
    assert begun.kept(tmp_path, 3, FIELDS, 4) is None and begun.kept(tmp_path, 4, FIELDS, 4) is not None
    begun.drop(tmp_path, 4)
    begun.drop(tmp_path, 4)
    begun.keep(tmp_path, 5, arrays, {"rows": 1})
    begun.end(tmp_path)
    begun.end(tmp_path)
    assert not any(tmp_path.iterdir())


def test_what_is_damaged_or_of_other_fields_is_not_there(tmp_path, arrays):
    begun.keep(tmp_path, 0, arrays, {"rows": 2})
    assert begun.kept(tmp_path, 0, FIELDS, 5) is None
    assert begun.kept(tmp_path, 0, {"t/image": FIELDS["t/image"]}, 4) is None
    rows, record = tmp_path / "begun/00000.rows", tmp_path / "begun/00000.json"
    whole, said = rows.read_bytes(), record.read_bytes()
    for path, wrong in ((rows, whole[:-1]), (rows, b"x" + whole[1:]), (record, b"{}"), (record, said[:-3])):
        path.write_bytes(wrong)
        assert begun.kept(tmp_path, 0, FIELDS, 4) is None
        rows.write_bytes(whole), record.write_bytes(said)
    assert begun.kept(tmp_path, 0, FIELDS, 4) is not None
    assert json.loads(said)["file"]["bytes"] == len(whole)
    record.unlink()
    assert begun.kept(tmp_path, 0, FIELDS, 4) is None


def test_a_record_of_which_any_bit_is_flipped_is_not_there(tmp_path, arrays):
    facts = {"reached": {"image": 24}, "rows": 24, "failures": [[3, "decode", "grey"]], "seconds": 1.5}
    begun.keep(tmp_path, 0, arrays, facts, stamps.blank(4), "mine")
    record = tmp_path / "begun/00000.json"
    content = record.read_bytes()
    for place in range(len(content)):
        for bit in range(8):
            record.write_bytes(content[:place] + bytes([content[place] ^ 1 << bit]) + content[place + 1 :])
            found = begun.kept(tmp_path, 0, FIELDS, 4, "mine")
            assert found is None or found[1] == facts  # a space may be a tab
    record.write_bytes(content)
    assert begun.kept(tmp_path, 0, FIELDS, 4, "mine")[1] == facts


def test_a_record_that_lacks_anything_is_not_there_but_for_what_older_ones_lack(tmp_path, arrays):
    begun.keep(tmp_path, 0, arrays, {"rows": 2})
    record = tmp_path / "begun/00000.json"
    said = json.loads(record.read_bytes())
    for key, older in (("file", False), ("facts", False), ("sha256", True), ("stamps", False), ("store", False)):
        record.write_text(json.dumps({name: value for name, value in said.items() if name != key}))
        assert (begun.kept(tmp_path, 0, FIELDS, 4) is not None) == older
    record.write_text(json.dumps({"file": said["file"], "facts": said["facts"]}))
    assert begun.kept(tmp_path, 0, FIELDS, 4)[1] == {"rows": 2}
    for strange in ([], 3, None, "x", {"file": 3, "facts": 3}, said | {"more": 1}):
        record.write_text(json.dumps(strange))
        assert begun.kept(tmp_path, 0, FIELDS, 4) is None
