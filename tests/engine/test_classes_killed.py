"""A corpus whose classes have names, appended to and stopped anywhere: whoever runs it again has what is whole."""

import os
import shutil
from threading import Thread

import pytest
from PIL import Image

from distillkit.check import check
from distillkit.engine import successor
from distillkit.engine.append import append
from distillkit.errors import StoreError
from distillkit.extract import extract, plan
from distillkit.store.format.classes import classes_of
from distillkit.store.format.manifest import Manifest
from distillkit.store.format.replaced import beside
from distillkit.store.reading.reader import FeatureStore
from distillkit.store.upkeep.verify import verify
from distillkit.store.writing.claims import Claims
from distillkit.train import train
from tests.faults.check import Recording
from tests.faults.extraction_jobs import STORE, Appended, digest
from tests.faults.store_jobs import is_complete
from tests.faults.world import TRAIN, recipe_of

CALLS = ("replace", "rename", "link", "unlink", "mkdir", "rmdir")


def quiet(line):
    pass


class AppendedClasses(Appended):
    """A class in front of the others came, and images of those."""

    name = "append to classes"

    def prepare(self, folder):
        self.at = folder
        shutil.rmtree(self.corpus(folder), ignore_errors=True)
        for name, count in (("cat", 60), ("dog", 10)):
            self.add(folder, name, count)
        extract(self.asked(folder), quiet)
        self.old = digest(folder / STORE)
        for name, count in (("ant", 1), ("dog", 72)):
            self.add(folder, name, count)

    def add(self, folder, name, count):
        (self.corpus(folder) / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            square = Image.new("RGB", (4, 4), (number, 255 - number, len(name) + 40 * (name == "cat")))
            square.save(self.corpus(folder) / f"{name}/{number:03d}.png")

    def asked(self, folder, **changes):
        place = folder.with_name("recipe.toml")
        source = f'kind = "folder", root = "{self.corpus(folder)}", classes = true'
        place.write_text(recipe_of(folder / "deep/out", source, ["one/image"]))
        return place

    def run(self, folder, promise):
        extract(self.asked(folder), quiet, instead=append)
        promise("complete", is_complete(STORE))

    def look(self, folder):
        super().look(folder)
        for store in (folder / STORE, beside(folder / STORE)):
            if (store / "manifest.json").is_file():
                assert classes_of(store).keys() >= {"cat", "dog"}, f"{store} has no classes"


class Killed(BaseException):
    """A process that is no more: nothing that it wanted to tidy is tidied."""


def killed_at(call, nth, run, monkeypatch):
    """Whether `run` came to its `nth` call of that kind; from then on it changes no name any more."""
    seen = 0
    with monkeypatch.context() as patch:

        def counting(real, counts):
            def counted(*arguments, **options):
                nonlocal seen
                seen += counts
                if seen >= nth:
                    raise Killed
                return real(*arguments, **options)

            return counted

        for name in CALLS:
            patch.setattr(os, name, counting(getattr(os, name), name == call))
        patch.setattr(os, "fsync", lambda handle: None)
        try:
            run()
        except Killed:
            return True
    return False


@pytest.fixture
def world(tmp_path):
    folder = tmp_path / "disk"
    folder.mkdir()
    job = AppendedClasses()
    job.prepare(folder)
    return job, folder


def between(job, folder, monkeypatch):
    """The old store is set aside, and the new one has not its name."""

    def stop(path):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(successor, "_move_in", stop)
        with pytest.raises(Killed):
            job.run(folder, lambda *_: None)
    assert not (folder / STORE).exists()


@pytest.mark.long
@pytest.mark.parametrize("call", CALLS)
def test_killed_at_any_call_and_run_again_it_is_what_it_would_have_been(world, call, monkeypatch):
    job, folder = world
    before = folder.with_name("before")
    shutil.copytree(folder, before)
    job.run(folder, lambda *_: None)
    job.undisturbed(folder)
    want, nth = job.outcome(folder), 1
    while True:
        shutil.rmtree(folder)
        shutil.copytree(before, folder)
        if not killed_at(call, nth, lambda: job.run(folder, lambda *_: None), monkeypatch):
            break
        job.look(folder)
        job.run(folder, lambda *_: None)
        found = job.outcome(folder)
        assert {name for name in found.keys() | want if found.get(name) != want.get(name)} == set(), f"{call} {nth}"
        nth += 1
    assert nth > 1


@pytest.mark.parametrize("count", [25, pytest.param(None, marks=pytest.mark.slow)])
def test_some_disks_after_a_power_cut_are_gone_on_with(tmp_path, count):
    folder = tmp_path / "disk"
    folder.mkdir()
    assert Recording.of(AppendedClasses(), folder).check_some(0, count)


def test_between_two_names_nobody_says_that_there_is_no_store(world, monkeypatch, tmp_path):
    job, folder = world
    between(job, folder, monkeypatch)
    store = folder / STORE
    training = tmp_path / "train.toml"
    training.write_text(TRAIN.format(folder=tmp_path / "runs", images=store, named="near"))
    for read in (Manifest.read, FeatureStore, verify, lambda path: train(training, quiet)):
        with pytest.raises(StoreError) as caught:
            read(store)
        told = str(caught.value)
        assert told.startswith(f"{store}: a run died when a complete store was to take the place of this one; ")
        assert "this puts it there: distillkit extract-teacher RECIPE" in told and "\n" not in told
    assert not store.exists()


@pytest.mark.parametrize("look", [plan, lambda recipe, say: check(recipe)])
def test_between_two_names_a_plan_is_that_of_the_store_which_gets_its_own(world, monkeypatch, look):
    job, folder = world
    between(job, folder, monkeypatch)
    told = "\n".join(look(job.asked(folder), quiet))
    assert "already complete (133 rows), nothing to do" in told or f"{folder / STORE}: is there" in told
    assert verify(folder / STORE) == []


def test_who_is_about_to_move_in_is_waited_for(world, monkeypatch):
    """Another process that starts at that moment moves nothing itself."""
    job, folder = world
    between(job, folder, monkeypatch)
    (here, there), (begun, begins) = os.pipe(), os.pipe()
    child = os.fork()
    if not child:
        with Claims(folder / STORE) as claims, claims.beginning_or_end():
            os.write(begins, b".")
            os.read(here, 1)
            beside(folder / STORE).rename(folder / STORE)
        os._exit(0)
    os.read(begun, 1)
    moved = []
    monkeypatch.setattr(successor, "_move_in", moved.append)
    thread = Thread(target=successor.recover, args=(folder / STORE,))
    thread.start()
    thread.join(0.2)
    assert thread.is_alive() and not moved
    os.write(there, b".")
    thread.join(60)
    os.waitpid(child, 0)
    assert not thread.is_alive() and not moved and verify(folder / STORE) == []
