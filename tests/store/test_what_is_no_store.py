"""Whoever names something else than a store is told in one line what it is, whatever the command."""

import shutil

import pytest

from distillkit import export_store, merge, push_store, show, store_failures, store_precision, verify, view
from distillkit.errors import DistillkitError
from distillkit.store.bucket import remote
from tests.mining.conftest import clustered, write

ASKING = {
    "verify": lambda place, out: verify(place),
    "store_failures": lambda place, out: store_failures(place),
    "store_precision": lambda place, out: store_precision(place),
    "show": lambda place, out: show(place, out=out / "page.html"),
    "view": lambda place, out: view(place, out / "view", rows="0:2"),
    "export": lambda place, out: export_store(place, out / "exported"),
    "push": lambda place, out: push_store(place, "me/x", dry_run=True),
    "merge": lambda place, out: merge(out / "merged", [place, out / "stores" / "texts"]),
}


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """A store and what is none, by what it is called."""
    folder = tmp_path_factory.mktemp("pla ces")
    store = write(folder / "stores" / "texts", "text", clustered(12, 1), [f"text {n}" for n in range(12)]).path
    view(store, folder / "a view", rows="0:5")
    shutil.copytree(store, folder / "begun")
    (folder / "begun" / "manifest.json").unlink()
    for name in ("run", "nothing"):
        (folder / name).mkdir()
    (folder / "run" / "recipe.json").write_text("{}")
    (folder / "file").write_text("x")
    return folder


@pytest.mark.parametrize("command", ASKING)
@pytest.mark.parametrize(
    ("place", "told"),
    [
        ("run", "run: is the folder of a run, not of a store; name"),
        ("file", "file: is a file, and a store is a folder; name"),
        ("stores", "stores: is no store but holds .*texts; name"),
        ("nothing", r"nothing: no (complete feature store|part of an extraction) \("),
        ("nosuch", r"nosuch: no (complete feature store|part of an extraction) \("),
        ("foo://bucket/store", "foo://bucket/store: (Protocol not known: foo; write|is a URL, and .*; copy) "),
    ],
)
def test_what_is_no_store_is_told_as_what_it_is(places, tmp_path, command, place, told):
    named = place if "://" in place else places / place
    with pytest.raises((DistillkitError, OSError), match=told) as refused:
        ASKING[command](named, places)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("command", sorted(ASKING.keys() - {"merge"}))
def test_what_is_not_complete_says_how_it_goes_on(places, command):
    """But for a merge, to which it may be a part of an extraction."""
    with pytest.raises(DistillkitError, match=r"begun: no complete feature store \(what makes it .*; rerun it: "):
        ASKING[command](places / "begun", places)


def test_a_view_is_no_store_to_push_but_is_made_one(places, tmp_path):
    with pytest.raises(
        DistillkitError, match=r"a view: is a view of .*texts, and holds none of its rows; push "
    ) as said:
        push_store(places / "a view", "me/x", dry_run=True)
    assert str(said.value).endswith(f"distillkit store merge STORE '{places / 'a view'}'")
    made = merge(tmp_path / "store", [places / "a view"])
    assert made.rows == 5
    lines = []
    push_store(tmp_path / "store", "me/x", dry_run=True, say=lines.append)
    assert any("manifest.json" in line for line in lines)


def test_a_store_behind_a_url_is_not_pushed_in_part(places, monkeypatch):
    """Of it only those shards lie here that were read."""
    far = remote.Origin(places, "s3://bucket/store", False)
    monkeypatch.setattr("distillkit.push.origin", lambda path: far)
    with pytest.raises(DistillkitError, match=r"s3://bucket/store: is a URL, .*; copy it to a folder and push that"):
        push_store(places / "stores" / "texts", "me/x", dry_run=True)
