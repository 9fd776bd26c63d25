"""Who reads what evaluations kept, as `compare` does, while another evaluation puts something else in its place: it
gets what one of them found, never half of one and half of the other."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from distillkit.errors import StoreError
from distillkit.evals import Answers, Measure
from distillkit.evaluation import kept as module
from distillkit.evaluation import rows as rows_module
from distillkit.evaluation.kept import Kept, kept_in
from distillkit.evaluation.turn import in_turn
from tests.evaluation.worlds import quiet

NAMES = {"first": ["ship", "crane"], "second": ["a ship", "a crane"]}


def answers(which, table=""):
    rank, best = np.array([1, 2]) + 2 * (which == "second"), np.array([[0], [1]], np.int32)
    names = None if table else NAMES[which]
    return Answers(["a", "b"], {"rank": rank}, (Measure("R@1", "rank", within=1),), best=best, names=names, table=table)


def asked(which):
    return SimpleNamespace(name="an eval", slug="an-eval", made_of={"eval": {"kind": "x"}, "stores": {"s": which}})


def keep(run, which, networks=("student",), numbers=None):
    """As an evaluation does that has measured `which`."""
    kept = Kept(run / "evaluation", {who: f"{who} of {which}" for who in networks})
    found = {who: [answers(which), answers(which, "more")] if numbers is None else numbers for who in networks}
    with in_turn(run, quiet):
        kept._keep(asked(which), found)


def seen(run):
    """Which evaluations the reader got something of."""
    tables, records = kept_in(run / "evaluation")
    return {one.asked["stores"]["s"] for one in [*tables]} | {one["made_of"]["stores"]["s"] for one in records}


@pytest.fixture
def run(tmp_path):
    keep(tmp_path / "run", "first")
    return tmp_path / "run"


def meanwhile(monkeypatch, place, name, number, write):
    """`write` is called behind the call `number` of a function."""
    real, calls = getattr(place, name), []

    def called(*args):
        found = real(*args)
        calls.append(args)
        if len(calls) == number:
            monkeypatch.setattr(place, name, real)
            write()
        return found

    monkeypatch.setattr(place, name, called)


@pytest.mark.parametrize("number", [1, 2])
def test_tables_of_two_evaluations_are_not_put_together(run, monkeypatch, number):
    meanwhile(monkeypatch, module, "read_rows", number, lambda: keep(run, "second"))
    assert len(seen(run)) == 1


@pytest.mark.parametrize("number", [1, 2, 3])
def test_rows_do_not_get_the_names_of_others(run, monkeypatch, number):
    meanwhile(monkeypatch, rows_module, "_read", number, lambda: keep(run, "second"))
    assert len(seen(run)) == 1


def test_who_comes_while_another_writes_waits_for_it(run, monkeypatch):
    """It does so also where that takes longer than one more look."""
    real, looked = module._all_of, []

    def look(folder):
        looked.append(1)
        if len(looked) < 5:
            raise StoreError("half of it")
        writes.__exit__(None, None, None)
        return real(folder)

    monkeypatch.setattr(module, "_all_of", look)
    writes = in_turn(run, quiet)
    writes.__enter__()
    assert seen(run) == {"first"} and len(looked) == 5


def test_what_an_evaluation_left_that_was_killed_in_between_is_told(run, monkeypatch):
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        meanwhile(patch, module, "write_rows", 1, lambda: (_ for _ in ()).throw(KeyboardInterrupt))
        keep(run, "second")
    with pytest.raises(StoreError) as told:
        seen(run)
    assert str(told.value) == (
        f"{run / 'evaluation'}: what is kept of an eval is of two evaluations (was one stopped here?); measure it "
        f"again: distillkit evaluate {run}"
    )
    keep(run, "second")
    assert seen(run) == {"second"}


def test_numbers_take_the_place_of_rows_and_rows_of_tables_that_are_no_more(run):
    keep(run, "second", numbers={"R@1": 0.5})
    assert seen(run) == {"second"}, "and no row that was kept before"
    (run / "evaluation/an-eval.json").unlink()
    main = run / "evaluation/an-eval.arrow"
    rows = rows_module.read_rows(main)
    rows_module.write_rows(main, replace(rows, made_of=asked("second").made_of | {"tables": []}))
    assert seen(run) == {"second"}


def test_a_record_that_is_damaged_is_one_line(run):
    keep(run, "second", numbers={"R@1": 0.5})
    path = run / "evaluation/an-eval.json"
    for content in ("{", "[]", json.dumps({"name": "an eval"}), json.dumps({"name": "a", "networks": 1, "numbers": 2})):
        path.write_text(content)
        with pytest.raises(StoreError, match=r"an-eval\.json: damaged \(.*; delete it, and distillkit evaluate makes"):
            seen(run)
