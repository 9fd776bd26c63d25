"""Views of views: shares of shares, what is told where nothing is left, and what was there before."""

import hashlib
import json
import re
import shlex
import shutil

import numpy as np
import pytest

from distillkit.errors import StoreError
from distillkit.store.reading.reader import FeatureStore
from distillkit.store.reading.selection import Selection, again, making, select
from distillkit.stores import view as make_view
from tests.mining.conftest import write


@pytest.fixture
def large(make_toy, tmp_path):
    return make_toy(rows=1300, path=tmp_path / "large").write().path


def keys(path):
    store = FeatureStore(path)
    return set(store.values("key", store.ok_rows))


def parts(store, folder):
    """Held out, the rest; of the rest a part to validate on, and what is left to fit."""
    make_view(store, folder / "held", share=0.2, overwrite=True)
    make_view(store, folder / "rest", other_than=folder / "held", overwrite=True)
    make_view(folder / "rest", folder / "validation", share=0.15, overwrite=True)
    make_view(folder / "rest", folder / "fit", other_than=folder / "validation", overwrite=True)
    return [keys(folder / name) for name in ("held", "validation", "fit")]


@pytest.mark.parametrize("share", [0.05, 0.15, 0.3, 0.8])
@pytest.mark.parametrize("outer", [{"share": 0.2}, {"share": 0.2, "seed": 1}, {"share": 0.7}])
def test_a_share_of_a_view_is_that_share_of_its_rows(large, tmp_path, outer, share):
    """Whichever side of the outer share it is of, and of a view in between that no share made."""
    make_view(large, tmp_path / "held", **outer)
    make_view(large, tmp_path / "rest", other_than=tmp_path / "held")
    make_view(tmp_path / "rest", tmp_path / "some", rows="0:1000")
    for source in ("held", "rest", "some"):
        rows = len(keys(tmp_path / source))
        drawn = make_view(tmp_path / source, tmp_path / "drawn", share=share, overwrite=True)
        assert abs(drawn.count - share * rows) < 4 * (share * (1 - share) * rows) ** 0.5, source
        assert keys(tmp_path / "drawn") < keys(tmp_path / source)


def test_every_further_share_is_by_another_lot(large, tmp_path):
    source, rows = large, len(keys(large))
    for number in range(4):
        drawn = make_view(source, tmp_path / f"half-{number}", share=0.5)
        assert drawn.lots == number + 1 and abs(drawn.count - rows / 2) < 2 * rows**0.5
        source, rows = tmp_path / f"half-{number}", drawn.count


def test_what_is_in_a_part_stays_in_it_when_the_store_grows(large, make_toy, tmp_path):
    before = parts(large, tmp_path)
    assert before == parts(large, tmp_path), "the same commands, the same rows"
    assert sum(map(len, before)) == len(set.union(*before)) == len(keys(large))
    after = parts(make_toy(rows=2600, path=tmp_path / "grown").write().path, tmp_path)
    for then, now in zip(before, after, strict=True):
        assert then < now
    assert sum(map(len, after)) == len(set.union(*after))


def test_a_share_of_a_store_or_of_a_view_without_one_is_drawn_as_it_always_was(large, tmp_path):
    def lot(key):
        return int.from_bytes(hashlib.blake2b(f"1 {key}".encode(), digest_size=6).digest()) / 2**48

    make_view(large, tmp_path / "rows", rows="0:700")
    for source in (large, tmp_path / "rows"):
        make_view(source, tmp_path / "drawn", share=0.2, seed=1, overwrite=True)
        assert keys(tmp_path / "drawn") == {key for key in keys(source) if lot(key) < 0.2}


def test_the_same_rows_are_the_same_view_however_they_were_drawn(large, tmp_path):
    drawn = make_view(large, tmp_path / "drawn", share=0.2)
    named = select(large, drawn.rows, tmp_path / "named")
    assert (drawn.lots, named.lots) == (1, 0) and drawn.digest == named.digest
    facts = json.loads((tmp_path / "drawn/view.json").read_text())
    for wrong in (-1, 2**63, "many", None):
        (tmp_path / "drawn/view.json").write_text(json.dumps(facts | {"lots": wrong}))
        with pytest.raises(StoreError, match="no view that can be read"):
            Selection(tmp_path / "drawn")


def test_where_nothing_is_left_it_is_told_by_which_condition_of_how_many(large, tmp_path):
    rest = make_view(large, tmp_path / "rest", rows="0:1000")
    (tmp_path / "none.txt").write_text("\n")
    number = f"{rest.count:,}"
    assert rest.count < 1000
    for asked, told in (
        ({"share": 1e-9}, "--share 1e-09 leaves none; choose another --share or --seed"),
        ({"share": 1e-9, "seed": 3}, "--share 1e-09 --seed 3 leaves none; choose another --share or --seed"),
        (
            {"labels": "7", "rows": "0:5"},
            "--rows 0:5 leaves 4, --labels 7 leaves none; choose another --rows or --labels",
        ),
        (
            {"keys": tmp_path / "none.txt", "share": 0.5},
            f"--keys {tmp_path}/none.txt leaves none; choose another --keys",
        ),
        ({"other_than": large}, f"--other-than {large} leaves none; choose another --other-than"),
        ({"rows": "1200:", "other_than": large}, "--rows 1200: leaves none; choose another --rows"),
    ):
        with pytest.raises(StoreError) as refused:
            make_view(tmp_path / "rest", tmp_path / "view", **asked)
        assert str(refused.value) == f"{tmp_path}/rest: nothing is left of {number} rows with features: {told}"
    assert not (tmp_path / "view").exists()


def test_a_view_of_nothing_asked_is_refused(large, tmp_path, run_cli):
    for asked in ([], ["--seed", "1"], ["--overwrite"]):
        code, _, err = run_cli("store", "view", large, tmp_path / "all", *asked)
        assert code == 1 and not (tmp_path / "all").exists()
        assert f"error: {large}: say which of its rows {tmp_path}/all shall have: add --rows, --keys" in err
    with pytest.raises(StoreError, match="say which of its rows"):
        make_view(large, tmp_path / "all")


def test_a_view_whose_store_has_grown_is_made_anew_and_that_is_told(toy, make_toy, tmp_path, run_cli):
    ask = ("store", "view", toy.path, tmp_path / "held", "--share", "0.2")
    _, _, err = run_cli(*ask)
    before = Selection(tmp_path / "held").count
    assert "replaced" not in err and "replaced" not in run_cli(*ask)[2], "the same rows again"
    shutil.rmtree(toy.path)
    make_toy(rows=300).write()
    code, _, err = run_cli(*ask)
    now = Selection(tmp_path / "held").count
    assert code == 0 and before < now
    told = f"as {toy.path} has changed: {before} rows then, {now} now"
    assert f"{tmp_path}/held: replaced the view that was here, which could not be used any more, {told}" in err


def test_a_view_tells_what_it_was_made_of(large, tmp_path):
    held = make_view(large, tmp_path / "held", share=0.2)
    rest = make_view(large, tmp_path / "views/rest", other_than=tmp_path / "held")
    made = make_view(rest.path, tmp_path / "some", as_many_as=held.path)
    assert making(held.path, held.digest).of == ()
    assert making(rest.path, rest.digest).of == ((held.path, held.digest),)
    assert making(made.path, made.digest).of == ((rest.path, rest.digest), (held.path, held.digest))
    assert "--as-many-as" in made.command
    unnamed = select(held.path, np.array(held.rows[:3]), tmp_path / "unnamed")
    assert unnamed.command is None and making(unnamed.path, unnamed.digest).of == ((held.path, held.digest),)


def test_a_view_that_is_refused_tells_the_whole_command(toy, make_toy, tmp_path, run_cli):
    typed = ["store", "view", str(toy.path), str(tmp_path / "held"), "--share", "0.2", "--seed", "3", "--rows", "0:140"]
    make_view(toy.path, tmp_path / "unrecorded", rows="0:9")
    (tmp_path / "unrecorded/extract.jsonl").unlink()
    assert run_cli(*typed, "--overwrite")[0] == 0
    command = shlex.join(["distillkit", *typed])
    held = (tmp_path / "held/view.json").read_bytes()
    (tmp_path / "held/view.json").write_text("{}")
    with pytest.raises(StoreError, match=re.escape(f"make it again: {command}") + "$"):
        Selection(tmp_path / "held")
    (tmp_path / "held/view.json").write_bytes(held)
    shutil.rmtree(toy.path)
    make_toy(rows=300).write()
    assert run_cli("store", "info", tmp_path / "held")[2].endswith(f"; make it again: {command}\n")
    known = f"distillkit store view {toy.path} {tmp_path}/unrecorded, with the options that it was made with"
    assert known in run_cli("store", "info", tmp_path / "unrecorded")[2]


def test_a_command_whose_places_begin_elsewhere_is_told_as_such(toy, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_view(toy.path, "held", rows="0:9")
    assert again(tmp_path / "held") == f"distillkit store view {toy.path} held --rows 0:9"
    monkeypatch.chdir("/")
    assert again(tmp_path / "held").endswith(" --rows 0:9, in the folder where it was typed")
    select(toy.path, np.arange(5), tmp_path / "texts", "distillkit select-texts select.toml --set k=3")
    assert again(tmp_path / "texts") == (
        "distillkit select-texts select.toml --set k=3, in the folder where select.toml is"
    )
    (tmp_path / "texts/extract.jsonl").unlink()
    (tmp_path / "texts/selection.json").write_text("{}")
    assert again(tmp_path / "texts").startswith("distillkit select-texts RECIPE, with the recipe")


@pytest.mark.parametrize("labels", ["3", "cat"])
def test_a_store_without_labels_is_told_as_one(tmp_path, labels):
    store = write(tmp_path / "plain", "image", np.ones((5, 32))).path
    with pytest.raises(StoreError, match=f"plain: none of its 5 rows has a label, so --labels {labels} means none; "):
        make_view(store, tmp_path / "view", labels=labels)


def test_a_view_of_a_newer_version_is_no_ones_to_replace_unasked(large, tmp_path):
    """It counted as damage, and was replaced without a word."""
    make_view(large, tmp_path / "some", rows="0:10")
    file = tmp_path / "some/view.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"version": 2, "weights": "rows.weights.npy"}))
    before = {path.name: path.read_bytes() for path in (tmp_path / "some").iterdir()}
    with pytest.raises(StoreError, match=r"some: is a view of version 2, which a newer distillkit made \(here: 1\)"):
        make_view(large, tmp_path / "some", rows="0:20")
    assert {path.name: path.read_bytes() for path in (tmp_path / "some").iterdir()} == before
    make_view(large, tmp_path / "some", rows="0:20", overwrite=True)
    assert Selection(tmp_path / "some").rows[-1] == 19
