"""Images whose files were replaced under the same names: noticed by size, time and then content, told, and
done again where that is asked for."""

import errno
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from distillkit.engine import changed, redo, successor
from distillkit.store.format.manifest import Manifest
from distillkit.store.reading.reader import FeatureStore
from distillkit.store.upkeep.verify import verify
from distillkit.store.writing import stamps
from distillkit.teachers.openclip import Openclip
from tests.conftest import draw

pytestmark = pytest.mark.usefixtures("quick_disk")
NAMES = [f"images/{number:03d}.png" for number in (3, 70, 71)]


@pytest.fixture
def corpus(tmp_path):
    """150 images, of which a second caption names one: shards of 64, 64 and 23 rows."""
    folder = draw(tmp_path / "corpus", 150)
    with (folder / "pairs.tsv").open("a") as table:
        table.write("the same once more\timages/070.png\n")
    return folder


@pytest.fixture
def run(recipes, run_cli):
    """The command over images alone: (exit code, stderr)."""
    text = recipes[0].read_text()
    recipes[0].write_text(text[: text.rindex("[[corpora]]")].replace('kind = "csv"', 'kind = "csv", captions = "all"'))

    def run(*words):
        code, _, err = run_cli("extract-teacher", recipes[0], *words)
        assert "Traceback" not in err and ".appending" not in err and ".partial" not in err
        return code, err

    return run


@pytest.fixture
def store(corpus, run, tmp_path):
    assert run()[0] == 0
    return tmp_path / "out/images"


def paint(corpus, *names, seed=1):
    """Other pictures under these names."""
    random = np.random.default_rng(seed)
    for name in names:
        Image.fromarray(random.integers(0, 256, (40, 48, 3), dtype=np.uint8)).save(corpus / name)


@pytest.fixture
def shown(monkeypatch):
    """How many images the teacher is shown, call by call."""
    calls, real = [], Openclip.forward

    def counted(self, pixels=None, **rest):
        calls.append(0 if pixels is None else len(pixels))
        return real(self, pixels=pixels, **rest)

    monkeypatch.setattr(Openclip, "forward", counted)
    return calls


def test_three_of_many_are_told_and_nothing_is_redone_unasked(run, store, corpus, shown):
    before = Manifest.read(store).digest
    assert "changed" not in run()[1]
    paint(corpus, *NAMES)
    code, err = run()
    assert code == 0 and shown == []
    assert f"{store}: 3 images changed since (first: images/003.png): --retry-changed does them again" in err
    assert Manifest.read(store).digest == before and verify(store) == []


def test_their_rows_alone_are_shown_again_and_the_store_is_that_of_the_corpus_as_it_is(
    run, store, corpus, shown, tmp_path
):
    before = Manifest.read(store).digest
    places = [(store / f"openclip/image/c/{shard}/0").stat().st_ino for shard in range(3)]
    paint(corpus, *NAMES)
    code, err = run("--retry-changed")
    assert code == 0 and sum(shown) == len(NAMES) + 1  # the last shard has 70 as well
    assert "computing 4 rows again, in 3 of 3 shards" in err and "complete, 4 rows done again" in err
    assert run("--set", f'out="{tmp_path}/anew"')[0] == 0
    assert verify(store) == [] and Manifest.read(store).digest == Manifest.read(tmp_path / "anew/images").digest
    assert Manifest.read(store).digest != before
    for shard in range(3):
        kept = stamps.place(shard)
        assert (store / kept).read_bytes() == (tmp_path / "anew/images" / kept).read_bytes()
    (aside,) = store.parent.glob("images.before-*")
    assert verify(aside) == [] and Manifest.read(aside).digest == before
    code, err = run()
    assert code == 0 and "already complete" in err and "changed" not in err
    shown.clear()
    paint(corpus, "images/100.png", seed=2)
    places = [(store / f"openclip/image/c/{shard}/0").stat().st_ino for shard in range(3)]
    assert run("--retry-changed")[0] == 0 and sum(shown) == 1
    after = [(store / f"openclip/image/c/{shard}/0").stat().st_ino for shard in range(3)]
    assert [one == other for one, other in zip(places, after, strict=True)] == [True, False, True]
    code, err = run("--retry-changed")
    assert code == 0 and "no image has changed, nothing to do" in err


def test_the_content_decides_where_the_date_alone_is_another(run, store, corpus, shown, monkeypatch):
    """A copied corpus is no changed one; one picture of the same size that is another is found in it."""
    for path in (corpus / "images").iterdir():
        os.utime(path, ns=(1, 1))
    assert "change" not in run()[1]
    path = corpus / NAMES[1]
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert "1 image changed since (first: images/070.png)" in run()[1]
    monkeypatch.setattr(changed, "_PATIENCE", 0.0)
    err = run()[1]
    assert "may have changed since" in err and "--retry-changed reads them all" in err
    path.write_bytes(
        bytes(content[: len(content) // 2])
        + bytes([content[len(content) // 2] ^ 1])
        + bytes(content[len(content) // 2 + 1 :])
    )
    before = Manifest.read(store).digest
    code, err = run("--retry-changed")
    assert code == 0 and "no image has changed" in err and Manifest.read(store).digest == before
    assert "change" not in run()[1]  # the new dates are kept
    assert shown == []


def test_dates_are_not_kept_in_a_store_that_took_the_place_of_this_one(run, store, corpus, monkeypatch, tmp_path):
    """On a file server, a machine that slept has lost its claims."""
    shutil.copytree(store, tmp_path / "before")
    paint(corpus, NAMES[0])
    assert run("--retry-changed")[0] == 0
    store.rename(tmp_path / "after")
    (tmp_path / "before").rename(store)
    for path in (corpus / "images").iterdir():
        os.utime(path, ns=(1, 1))
    real, kept = redo.all_looked, (tmp_path / "after" / stamps.place(1)).read_bytes()

    def looked_and_slept(*asked):
        found = list(real(*asked))
        store.rename(tmp_path / "before")
        (tmp_path / "after").rename(store)
        return found

    monkeypatch.setattr(redo, "all_looked", looked_and_slept)
    code, err = run("--retry-changed")
    assert code == 1 and "another store took its place meanwhile (was this machine asleep?)" in err
    assert (store / stamps.place(1)).read_bytes() == kept


@pytest.mark.parametrize("refused", ["absent", "stat", "open"])
def test_images_that_nobody_can_look_at_are_neither_changed_nor_the_same(run, store, corpus, monkeypatch, refused):
    """Of one of them there are rows in two shards; it is one image."""
    before = Manifest.read(store).digest
    paths = [corpus / name for name in NAMES[:2]]
    for path in paths:
        os.utime(path, ns=(1, 1))  # of another date, so that it is read
    with monkeypatch.context() as patch:
        if refused == "absent":
            for path in paths:
                path.rename(path.with_suffix(".away"))
        else:
            _refuse(patch, refused, paths)
        code, err = run("--retry-changed")
    assert code == 0 and Manifest.read(store).digest == before
    line = next(line for line in err.splitlines() if "cannot be found or read now" in line)
    assert f"2 images cannot be found or read now (first: {NAMES[0]}): what was said of them stays; bring them" in line
    assert "no other image has changed, nothing to do" in err
    for path in paths if refused == "absent" else ():
        path.with_suffix(".away").rename(path)
    err = run("--retry-changed")[1]
    assert "no image has changed" in err and "cannot be found" not in err


@pytest.mark.parametrize("refused", ["stat", "open"])
def test_a_corpus_whose_disk_is_gone_is_no_corpus_of_images_that_are_gone(run, store, corpus, monkeypatch, refused):
    before = Manifest.read(store).digest
    os.utime(corpus / NAMES[0], ns=(1, 1))
    _refuse(monkeypatch, refused, [corpus / NAMES[0]], errno.ESTALE)
    code, err = run("--retry-changed")
    assert code == 1 and f"error: {corpus / NAMES[0]}: cannot be read now" in err.splitlines()[-1]
    assert Manifest.read(store).digest == before


def _refuse(patch, call, paths, number=errno.EACCES):
    """`Path.stat` or `Path.open` of these images, where only a look at changes does it."""
    real = getattr(Path, call)

    def refusing(path, *given, **how):
        if path in paths:
            raise OSError(number, os.strerror(number), str(path))
        return real(path, *given, **how)

    patch.setattr(Path, call, refusing)


def test_what_is_gone_or_damaged_now(run, store, corpus):
    had = FeatureStore(store).read("image", [3])
    (corpus / NAMES[0]).unlink()
    code, err = run()
    assert code == 0 and "1 image cannot be found or read now (first: images/003.png): what was said" in err
    assert "no other image has changed" in run("--retry-changed")[1]
    (corpus / "images/005.png").write_bytes(b"nothing")
    code, err = run("--retry-changed")
    again = FeatureStore(store)
    assert code == 0 and again.failed_rows.tolist() == [5]
    assert (again.read("image", [3]) == had).all()
    paint(corpus, NAMES[0], "images/005.png")
    assert "1 image changed since (first: images/003.png)" in run()[1]  # what failed is for --retry-failed
    assert "1 of 1 failed row mended" in run("--retry-failed")[1]
    assert verify(store) == []


@pytest.mark.parametrize("place", ["_commit", "append_line", "_move_in"])
def test_stopped_at_any_place_it_goes_on_with_what_has_changed_by_then(
    run, store, corpus, tmp_path, monkeypatch, place
):
    before = Manifest.read(store).digest
    paint(corpus, *NAMES[:2])
    first = (corpus / NAMES[0]).read_bytes()
    real, calls = redo._commit, []

    def stop(*given):
        calls.append(given)
        if place == "_commit" and len(calls) == 1:
            return real(*given)
        raise OSError(5, "stopped")

    with monkeypatch.context() as patch:
        patch.setattr(successor if place == "_move_in" else redo, place, stop)
        code, err = run("--retry-changed")
        assert code == 1 and "stopped" in err
    if place == "_move_in":
        assert not store.exists()
    else:
        assert Manifest.read(store).digest == before and verify(store) == []
    paint(corpus, NAMES[0], NAMES[2], seed=3)
    assert (corpus / NAMES[0]).read_bytes() != first
    code, err = run("--retry-changed")
    assert code == 0, err
    assert run("--set", f'out="{tmp_path}/anew"')[0] == 0
    assert verify(store) == [] and Manifest.read(store).digest == Manifest.read(tmp_path / "anew/images").digest


def test_an_old_store_without_stamps_is_left_alone(run, store, corpus):
    before = Manifest.read(store).digest
    shutil.rmtree(store / "stamps")
    paint(corpus, *NAMES)
    code, err = run()
    assert code == 0 and "already complete" in err and "change" not in err
    code, err = run("--retry-changed")
    assert code == 0 and "no image has changed" in err and Manifest.read(store).digest == before
    (store / "manifest.json").unlink()
    (store / "commits/00001.json").unlink()
    assert run()[0] == 0 and [path.name for path in (store / "stamps").iterdir()] == ["00001.npy"]
    assert "2 images changed" not in run()[1]


def test_damaged_stamps_are_told_and_cost_nothing(run, store):
    path = store / "stamps/00001.npy"
    path.write_bytes(path.read_bytes()[:200])
    code, err = run()
    assert code == 0 and f"{path}: damaged; delete it" in err
    (line,) = verify(store)
    assert line.endswith(
        "stamps/00001.npy: damaged; delete it: then nothing is known of these images, and the store stays whole"
    )


def test_what_was_kept_of_a_shard_in_hand_keeps_its_stamps(run, store, tmp_path, monkeypatch):
    from distillkit.engine import begun

    class Stopped(Exception):
        pass

    monkeypatch.setattr(begun, "EVERY", 0.0)
    real, calls = Openclip.forward, []

    def stopping(self, **inputs):
        calls.append(1)
        if len(calls) == 7:
            raise Stopped
        return real(self, **inputs)

    monkeypatch.setattr(Openclip, "forward", stopping)
    settings = ("--set", f'out="{tmp_path}/again"', "--set", "corpora.0.batch_size=8")
    with pytest.raises(Stopped):
        run(*settings)
    assert run(*settings)[0] == 0
    want = np.load(store / "stamps/00000.npy")
    assert (np.load(tmp_path / "again/images/stamps/00000.npy") == want).all() and (want["bytes"] > 0).all()


@pytest.mark.usefixtures("every_step")
def test_a_long_look_at_all_files_and_what_is_done_again_tell_how_far_they_are(run, store, corpus):
    paint(corpus, *NAMES)
    os.utime(corpus / "images/000.png", ns=(1, 1))  # which is read, to see that it is the same
    code, err = run("--retry-changed")
    looked = f"{store}: looking for images that changed, rows "
    assert code == 0 and f"{looked}63/151  " in err and f"{looked}64/151  " in err
    assert f"{store}: images and texts 1/8  " in err and f"{store}: images and texts 7/8  " in err, "4 rows"
    paint(corpus, NAMES[0], seed=2)
    assert looked in run()[1]
