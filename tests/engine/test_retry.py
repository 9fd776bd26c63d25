"""Samples that failed and were mended: their shards alone are computed again, to the store of a sound corpus."""

import errno

import pytest

from distillkit.engine import retry as module
from distillkit.engine import successor
from distillkit.store.format import layout
from distillkit.store.format.manifest import Manifest
from distillkit.store.reading.reader import FeatureStore
from distillkit.store.upkeep.verify import verify
from distillkit.teachers.openclip import Openclip
from tests.conftest import draw

pytestmark = pytest.mark.usefixtures("quick_disk")


@pytest.fixture
def run(recipes, run_cli):
    """The command over images alone, of which there are three shards: (exit code, stderr)."""
    text = recipes[0].read_text()
    recipes[0].write_text(text[: text.rindex("[[corpora]]")])

    def run(*words):
        code, _, err = run_cli("extract-teacher", recipes[0], *words)
        assert "Traceback" not in err and ".appending" not in err and ".partial" not in err
        return code, err

    return run


@pytest.fixture
def corpus(tmp_path):
    return draw(tmp_path / "corpus", 150)


@pytest.fixture
def damaged(corpus, run, tmp_path):
    """The store, of whose second shard two rows failed, and a function that mends an image."""
    sound = {number: corpus / f"images/{number:03d}.png" for number in (70, 100)}
    content = {number: path.read_bytes() for number, path in sound.items()}
    assert run("--set", f'out="{tmp_path}/sound"')[0] == 0
    for path in sound.values():
        path.write_bytes(b"")
    assert run()[0] == 0
    store = tmp_path / "out/images"
    assert Manifest.read(store).skipped == 2
    return store, lambda number: sound[number].write_bytes(content[number])


def test_their_shards_alone_are_computed_and_the_store_is_that_of_a_sound_corpus(run, damaged, tmp_path, monkeypatch):
    store, mend = damaged
    before, shown, real = Manifest.read(store).digest, [], Openclip.forward
    places = [(store / f"openclip/image/c/{shard}/0").stat().st_ino for shard in range(3)]
    mend(70)
    mend(100)

    def counted(self, pixels=None, **rest):
        shown.append(0 if pixels is None else len(pixels))
        return real(self, pixels=pixels, **rest)

    monkeypatch.setattr(Openclip, "forward", counted)
    code, err = run("--retry-failed")
    assert code == 0 and "2 rows failed before; computing 1 of 3 shards again" in err and sum(shown) == 64
    assert "complete, 2 of 2 failed rows mended" in err
    assert verify(store) == [] and Manifest.read(store).digest == Manifest.read(tmp_path / "sound/images").digest
    after = [(store / f"openclip/image/c/{shard}/0").stat().st_ino for shard in range(3)]
    assert [one == other for one, other in zip(places, after, strict=True)] == [True, False, True]
    (aside,) = store.parent.glob("images.before-*")
    assert verify(aside) == [] and Manifest.read(aside).digest == before
    assert not list(store.parent.glob(".*.appending"))
    code, err = run("--retry-failed")
    assert code == 0 and "no row has failed, nothing to do" in err
    assert "already complete" in run()[1]


def test_what_fails_again_changes_nothing(run, damaged):
    store, _ = damaged
    before = Manifest.read(store).digest
    code, err = run("--retry-failed")
    assert code == 0 and "2 rows fail as before; the store stays as it is" in err
    assert Manifest.read(store).digest == before and not list(store.parent.glob("images.before-*"))
    assert not list(store.parent.glob(".*.appending"))


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "no space"), OSError(errno.EIO, "lost"), SystemExit(143)])
def test_what_is_told_is_of_the_store_and_not_of_where_its_successor_is_made(run, damaged, monkeypatch, error):
    store, mend = damaged
    mend(70)
    code, err = run("--retry-failed")
    assert code == 0 and f"{store}: shard 2/3, " in err
    mend(100)

    def failing(*arguments, **named):
        raise error

    stopped = isinstance(error, SystemExit)
    monkeypatch.setattr(*((Openclip, "forward") if stopped else (layout, "shard_index")), failing)
    code, err = run("--retry-failed")
    assert code == (143 if stopped else 1)
    assert (f"{store}: not complete, " if stopped else f"error: {store}/") in err.splitlines()[-1]


@pytest.mark.parametrize("place", ["run", "finish", "_move_in"])
def test_stopped_at_any_place_it_goes_on_with_what_is_mended_by_then(run, damaged, monkeypatch, tmp_path, place):
    store, mend = damaged
    before = Manifest.read(store).digest
    mend(70)

    def stop(*_):
        raise OSError(5, "stopped")

    where = {"run": module.LocalEngine, "finish": module.StoreWriter, "_move_in": successor}[place]
    with monkeypatch.context() as patch:
        patch.setattr(where, place, stop)
        code, err = run("--retry-failed")
        assert code == 1 and "stopped" in err
    if place == "_move_in":
        assert not store.exists()
    else:
        assert Manifest.read(store).digest == before and verify(store) == []
    mend(100)
    code, err = run("--retry-failed")
    assert code == 0, err
    assert Manifest.read(store).digest == Manifest.read(tmp_path / "sound/images").digest and verify(store) == []


def test_another_recipe_or_corpus_is_refused(run, damaged, corpus):
    store, mend = damaged
    mend(70)
    code, err = run("--retry-failed", "--set", 'corpora.0.dtype="float32"')
    assert code == 1 and "only what the same recipe gives can take the place of failures; undo that" in err
    with (corpus / "pairs.tsv").open("a") as table:
        table.write("one more\timages/003.jpg\n")
    code, err = run("--retry-failed")
    assert code == 1 and "1 more sample now; run first: distillkit store append RECIPE" in err
    assert len(FeatureStore(store).failures()) == 2
    for more in (("--shard", "1/2"), ("--engine", "ray")):
        code, err = run("--retry-failed", *more)
        assert code == 2 and "leave --shard and --engine out" in err


def test_a_store_that_is_not_complete_is_refused(run, damaged):
    store, _ = damaged
    (store / "manifest.json").unlink()
    code, err = run("--retry-failed")
    assert code == 1 and "what makes it has not finished; rerun it" in err
