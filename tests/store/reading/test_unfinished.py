"""A store that was begun tells how far it is."""

import json

import pytest

from distillkit.errors import StoreError
from distillkit.store.reading.unfinished import unfinished


def test_progress_counts_rows_of_committed_shards_and_the_rate_of_their_lines(make_toy):
    toy = make_toy(rows=150)
    assert unfinished(toy.path) is None, "nothing was begun"
    writer = toy.writer()
    writer.begin()
    assert unfinished(toy.path).lines == [
        f"{toy.path}: not complete, 0 of 150 rows committed, 0 of 3 shards; a shard is 64 rows"
    ]
    toy.commit(writer, 2)  # of 22 rows
    line = {"shard": 2, "rows": 22, "failed": 1, "seconds": 44.0}
    of_nobody = {"shard": 1, "rows": 64, "failed": 9, "seconds": 1.0}  # told, and lost before it was committed
    (toy.path / "extract.jsonl").write_text("".join(f"{json.dumps(one)}\n" for one in (line, of_nobody)))
    begun = unfinished(toy.path)
    assert (begun.committed, begun.shards, begun.failed) == (22, 1, 1)
    assert begun.command is None, "from before commands were told"
    for command, told in (
        ("distillkit extract-teacher r.toml", "distillkit extract-teacher r.toml"),
        (
            "distillkit extract-teacher r.toml --shard 1/8 --only images",
            "distillkit extract-teacher r.toml --only images",
        ),
        ("distillkit extract-teacher r.toml --overwrite --shard=1/8", "distillkit extract-teacher r.toml"),
        ("distillkit extract-teacher r.toml --retry-failed", None),  # another job
        ("rm -r elsewhere", None),
    ):
        (toy.path / "extract.jsonl").write_text(f"{json.dumps(line | {'command': command})}\n")
        assert unfinished(toy.path).command == told
    assert begun.lines[1] == "so far at 0.5 rows/s, 1 failed; 4 minutes to go at that rate"
    toy.write()
    assert unfinished(toy.path) is None, "it is complete"


def test_a_store_of_which_no_shard_is_there_knows_the_command_that_began_it(recipes, run_cli, tmp_path, monkeypatch):
    """Else people are told of a RECIPE, and have to find out which that was."""

    def fails(*arguments, **more):
        raise StoreError("pulled the plug")

    monkeypatch.setattr("distillkit.engine.local.LocalEngine.run", fails)
    store = tmp_path / "out/images"
    assert run_cli("extract-teacher", recipes[0], "--shard", "1/2")[0] == 1
    completes = f"what completes it: distillkit extract-teacher {recipes[0]}"
    assert run_cli("store", "info", store)[1].splitlines()[-1] == completes
    moved = recipes[0].rename(tmp_path / "moved.toml")
    assert run_cli("store", "info", store)[1].splitlines()[-1] == f"{completes}, in the folder where {recipes[0]} is"
    assert run_cli("extract-teacher", moved)[0] == 1
    (store / "extract.jsonl").write_text("")
    told = "distillkit extract-teacher RECIPE, where RECIPE is the recipe that it was begun with"
    assert run_cli("store", "info", store)[1].splitlines()[-1] == f"what completes it: {told}"
    assert told in run_cli("store", "verify", store)[2]


def test_a_damaged_plan_is_named(make_toy):
    toy = make_toy()
    toy.writer().begin()
    (toy.path / "plan.json").write_text('{"rows": ')
    with pytest.raises(StoreError, match=r"plan\.json: damaged .*; move .* away and make it again"):
        unfinished(toy.path)


@pytest.mark.parametrize("command", [("store", "info"), ("store", "failures"), ("show",), ("store", "verify")])
def test_what_is_no_store_is_told_as_what_it_is(toy_stores, run_cli, tmp_path, command):
    """To extract it first, as of a store that is not there, would help nobody."""
    run = tmp_path / "run"
    run.mkdir()
    (run / "recipe.json").write_text("{}")
    out = toy_stores / "out"
    for place, told in (
        (toy_stores / "extract.toml", "is a file, and a store is a folder; name a store"),
        (run, "is the folder of a run, not of a store; name a store"),
        (out, f"is no store but holds {out}/images, {out}/texts; name a store"),
    ):
        code, _, err = run_cli(*command, place)
        assert (code, err) == (1, f"error: {place}: {told}\n")
