"""Views: rows of another store, without a copy."""

import json
import pickle
import shutil

import numpy as np
import pytest

from distillkit.errors import StoreError
from distillkit.store.reading.reader import FeatureStore
from distillkit.store.reading.selection import Selection, select
from distillkit.store.upkeep.choose import as_many, choose
from distillkit.store.upkeep.verify import verify
from distillkit.stores import store_info
from distillkit.stores import view as make_view
from tests.store.conftest import contents


@pytest.fixture
def view(toy, tmp_path):
    select(toy.path, np.array([60, 3, 10, 149, 61, 10]), tmp_path / "views/some")
    return FeatureStore(tmp_path / "views/some")


def test_a_view_shows_its_rows_and_no_others(toy, view):
    whole = FeatureStore(toy.path)
    assert view.ok_rows.tolist() == [10, 60, 61]  # 3 and 149 failed
    assert view.rows_of(["k0061", "k0010"]).tolist() == [61, 10]
    for hidden in ("k0011", "k0003"):
        with pytest.raises(StoreError, match=f"no features for 1 of 1 key, the first is '{hidden}'"):
            view.rows_of([hidden])
    assert view.read("image", view.ok_rows).equal(whole.read("image", [10, 60, 61]))
    assert sorted(np.concatenate([rows for rows, _ in view.blocks(["image"], 2)]).tolist()) == [10, 60, 61]
    assert [line["key"] for line in view.failures()] == ["k0003", "k0149"]


def test_it_copies_nothing_and_has_a_digest_of_its_own(toy, view, tmp_path):
    assert sum(path.stat().st_size for path in view.path.rglob("*")) < 1000
    assert json.loads((view.path / "view.json").read_text())["digest"] == FeatureStore(toy.path).digest
    other = select(toy.path, np.array([60]), tmp_path / "views/other")
    same = select(toy.path, np.array([3, 10, 60, 61, 149]), tmp_path / "views/same")
    assert len({FeatureStore(toy.path).digest, view.digest, other.digest}) == 3 and same.digest == view.digest
    assert pickle.loads(pickle.dumps(view)).ok_rows.tolist() == [10, 60, 61]  # noqa: S301


def test_store_and_views_may_move_together(toy, view, tmp_path):
    (tmp_path / "moved").mkdir()
    for name in ("store", "views"):
        shutil.move(tmp_path / name, tmp_path / "moved" / name)
    assert FeatureStore(tmp_path / "moved/views/some").ok_rows.tolist() == [10, 60, 61]


def test_a_view_of_a_view_is_one_of_the_store(toy, view, tmp_path):
    inner = select(view.path, choose(view.path, None, "0:61", None), tmp_path / "inner")
    assert inner.rows.tolist() == [10, 60] and inner.store == toy.path


def test_a_view_is_refused_for_another_store_and_when_it_is_damaged(toy, view, make_toy, tmp_path):
    assert verify(view.path) == []
    rows = (view.path / "rows.npy").read_bytes()
    (view.path / "rows.npy").write_bytes(rows[:-1] + b"\1")
    assert "rows.npy: missing, or not as it was written" in verify(view.path)[0]
    with pytest.raises(StoreError, match="make the view again"):
        _ = FeatureStore(view.path).ok_rows
    (view.path / "rows.npy").write_bytes(rows)
    damaged = toy.path / "toy/image/c/1/0"
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"\1")
    assert len(verify(view.path)) == 1 and "toy/image/c/1/0: sha256" in verify(view.path)[0]
    shutil.rmtree(toy.path)
    make_toy(rows=151).write()
    with pytest.raises(StoreError, match=r"a view of the store .*; at .* is now "):
        FeatureStore(view.path)
    told = json.loads((view.path / "view.json").read_text())
    for rows in ("1e999", "Infinity", "NaN"):  # JSON knows them, and no whole number is one
        (view.path / "view.json").write_text(json.dumps(told | {"rows": "HERE"}).replace('"HERE"', rows))
        with pytest.raises(StoreError, match="no view that can be read"):
            FeatureStore(view.path)
    (view.path / "view.json").write_text("{}")
    with pytest.raises(StoreError, match="no view that can be read"):
        FeatureStore(view.path)


def test_a_key_is_the_whole_line_whatever_characters_it_has(make_toy, tmp_path):
    """Kind H: `str.splitlines` would take "a\u2028b" for the keys "a" and "b", which are there as well."""
    made = make_toy(10, ())
    made.keys[3:6] = "a", "b", "a\u2028b"
    store = made.write().path
    for ending, mark in (("\n", ""), ("\r\n", "\ufeff")):
        (tmp_path / "keys.txt").write_bytes(f"{mark}a\u2028b{ending}".encode())
        assert choose(store, tmp_path / "keys.txt", None, None).tolist() == [5]


def test_rows_are_chosen_by_key_number_and_label(toy, view, tmp_path):
    (tmp_path / "keys.txt").write_text("k0010\nk0061\n\nk0040\n")
    assert choose(toy.path, tmp_path / "keys.txt", None, None).tolist() == [10, 40, 61]
    assert choose(toy.path, tmp_path / "keys.txt", "20:", None).tolist() == [40, 61]
    assert choose(toy.path, None, "0:10:3", None).tolist() == [0, 6, 9]
    assert choose(toy.path, None, None, "7,3,9").tolist() == [7, 9]
    assert choose(toy.path, None, None, "7,0:10:3,9:12").tolist() == [0, 6, 7, 9, 10, 11]
    assert choose(toy.path, None, None, f"5,0:{10**15}").tolist() == choose(toy.path, None, None, None).tolist()
    assert len(choose(toy.path, None, None, None)) == 147
    for wrong in (
        (None, "a:b", None),
        (None, None, "x"),
        (None, None, "9:0:-1"),
        (tmp_path / "none", None, None),
        (None, "1:2:3:4", None),
    ):
        with pytest.raises(StoreError):
            choose(toy.path, *wrong)
    with pytest.raises(StoreError, match="no features for 1 of 1 key"):
        (tmp_path / "keys.txt").write_text("nobody")
        choose(toy.path, tmp_path / "keys.txt", None, None)


def test_a_share_is_drawn_by_key_and_the_rest_is_what_it_lacks(toy, make_toy, tmp_path):
    held = choose(toy.path, None, None, None, share=0.2)
    assert 20 < len(held) < 40 and held.tolist() == choose(toy.path, None, None, None, share=0.2, seed=0).tolist()
    assert held.tolist() != choose(toy.path, None, None, None, share=0.2, seed=1).tolist()
    select(toy.path, held, tmp_path / "held")
    rest = choose(toy.path, None, None, None, other_than=tmp_path / "held")
    assert sorted([*held, *rest]) == FeatureStore(toy.path).ok_rows.tolist()
    grown = make_toy(rows=300, path=tmp_path / "grown").write()
    drawn = choose(grown.path, None, None, None, share=0.2)
    assert {*held} == {row for row in drawn if row < 150} and len(drawn) > len(held), "what is drawn stays drawn"
    for share in (0.0, 1.0, 20.0):
        with pytest.raises(StoreError, match=f"--share {share:g} is no share; write one between 0 and 1"):
            choose(toy.path, None, None, None, share=share)


def test_a_view_of_other_rows_stays_unless_it_is_to_go(toy, view, run_cli, make_toy):
    """One of the same rows is made again, and one that nobody can use any more as well."""
    before, ask = contents(view.path), ("store", "view", toy.path, view.path)
    code, _, err = run_cli(*ask, "--rows", "0:10")
    assert code == 1 and contents(view.path) == before
    told = f"error: {view.path}: is a view of 5 other rows of {toy.path}; name another place, or add --overwrite"
    assert err.strip().splitlines()[-1] == told
    assert run_cli(*ask, "--rows", "0:10", "--overwrite")[0] == 0 and contents(view.path) != before
    assert run_cli(*ask, "--rows", "0:10")[0] == 0
    (view.path / "rows.npy").write_bytes(b"damaged")
    assert run_cli(*ask, "--rows", "0:20")[0] == 0
    shutil.rmtree(toy.path)
    make_toy(rows=90).write()
    assert run_cli(*ask, "--rows", "0:30")[0] == 0, "its store is another one now"


def test_no_rows_and_rows_that_are_not_there(toy, tmp_path):
    for rows, told in (
        ([], "a view of none of 150 rows is asked for; name one at least"),
        ([150], "rows 150 to 150 are meant, of 150 rows, which begin at 0; name rows that it has"),
    ):
        with pytest.raises(StoreError, match=told):
            select(toy.path, np.array(rows, int), tmp_path / "view")
    before = contents(toy.path)
    with pytest.raises(StoreError, match="holds a store"):
        select(toy.path, np.array([1]), toy.path)
    assert contents(toy.path) == before


def test_no_store_is_written_over_a_view(view, make_toy):
    before = contents(view.path)
    with pytest.raises(StoreError, match="a view of another store lies here"):
        make_toy(path=view.path).write()
    assert contents(view.path) == before


def test_the_command(toy, run_cli, tmp_path):
    code, out, err = run_cli("store", "view", toy.path, tmp_path / "view", "--rows", "0:10")
    assert (code, out.strip()) == (0, str(tmp_path / "view")) and f"9 rows of {toy.path}" in err
    assert run_cli("store", "info", tmp_path / "view")[1].startswith(f"{tmp_path / 'view'}: 9 rows of {toy.path}\n")
    assert run_cli("store", "verify", tmp_path / "view")[0] == 0
    assert run_cli("store", "failures", tmp_path / "view")[1] == ""


def test_labels_may_be_the_names_of_classes(toy, run_cli, tmp_path):
    number = {"nine": 9, "apps": 7, "cat, domestic": 12}
    with pytest.raises(
        StoreError, match=r"'apps' is no label: write --labels as 3,7 or 0:9:2; this store has no names"
    ):
        choose(toy.path, None, None, "apps")
    (toy.path / "classes.json").write_text(json.dumps(number))
    assert choose(toy.path, None, None, "apps,9").tolist() == choose(toy.path, None, None, "7,9").tolist() == [7, 9]
    assert choose(toy.path, None, None, "cat, domestic").tolist() == [12]
    code, _, err = run_cli("store", "view", toy.path, tmp_path / "other", "--labels", "app")
    assert code == 1 and "'app' is no label: " in err and "names of classes; did you mean 'apps'?" in err
    code, _, err = run_cli("store", "view", toy.path, tmp_path / "other", "--labels", "mimetypes")
    assert code == 1 and "classes are: nine, apps, cat, domestic" in err and "invalid literal" not in err
    assert (
        "write --rows as 0:1000 or 0:1000:2, not as 'all'"
        in run_cli("store", "view", toy.path, tmp_path / "other", "--rows", "all")[2]
    )


def test_as_many_rows_as_another_store_has_are_drawn_always_the_same(toy, view):
    everything = choose(toy.path, None, None, None)
    drawn = as_many(everything, view.path)
    assert len(drawn) == len(view.ok_rows) == len(set(drawn.tolist())) and set(drawn) <= set(everything)
    assert as_many(everything, view.path).tolist() == drawn.tolist() == sorted(drawn.tolist())
    with pytest.raises(StoreError, match=r"has 147 rows, but only 3 can be drawn from"):
        as_many(view.ok_rows, toy.path)


def test_info_of_a_view_says_that_its_store_is_another_by_now(toy, view, make_toy, run_cli):
    code, out, err = run_cli("store", "info", view.path)
    assert code == 0 and "5 rows of" in out and err == ""
    assert "refused" not in store_info(view.path)["view"]
    shutil.rmtree(toy.path)
    make_toy(rows=151).write()
    with pytest.raises(StoreError) as refused:
        FeatureStore(view.path)
    for flags in ([], ["--json"]):
        code, _, err = run_cli("store", "info", view.path, *flags)
        assert code == 0 and err.strip() == str(refused.value)
    assert store_info(view.path)["view"]["refused"] == str(refused.value)


def test_a_view_tells_what_made_it_and_only_of_itself(toy, tmp_path, run_cli):
    out = tmp_path / "some"
    assert select(toy.path, np.array([10, 60]), out).command is None
    assert run_cli("store", "view", toy.path, out, "--rows", "0:20", "--overwrite")[0] == 0
    assert Selection(out).command == f"distillkit store view {toy.path} {out} --rows 0:20 --overwrite"
    made = make_view(toy.path, out, rows="0:30", overwrite=True)
    assert made.command == f"distillkit store view {toy.path} {out} --rows 0:30"
    # Made anew by who tells nothing: what an earlier one was made by is no word on it.
    assert select(toy.path, np.array([10, 60]), out).command is None
