"""The models of distillkit.testing with what needs a recording of the disk: power cuts, and mined neighbours."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable

import hypothesis
import numpy as np
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import get_state_machine_test, invariant, precondition, rule

from distillkit.mine import mine_here
from distillkit.recipe import MineRecipe
from distillkit.store.reading.reader import FeatureStore
from distillkit.store.writing.claims import Part
from distillkit.testing import CorpusMachine, StoreMachine
from tests.faults.disks import disks, one_disk
from tests.faults.recorder import Recorder

taken = [0]  # steps so far, of all machines here


class WithPowerCuts(StoreMachine):
    """The power may go while a shard is committed."""

    @precondition(lambda self: self.begun and not self.done and not self.lost and self.todo)
    @rule(data=st.data(), seed=st.integers(0, 10**6))
    def power_cut(self, data, seed):
        shard = data.draw(st.sampled_from(self.todo))
        said = self.said(shard, 2)
        recorder = Recorder(self.folder)
        with recorder.recording():
            self.commit_by(self.writer, shard, said)
        disk = random.Random(seed).choice(list(disks(recorder.before, recorder.events, seed)))
        disk.lay_out(self.folder)
        self.writer = self.made()
        self.writer.begin()
        if self.writer.committed(shard):
            self.kept[shard] = said

    @invariant()
    def a_step(self):
        taken[0] += 1


class WithNeighbours(CorpusMachine):
    """Cards that look like a card are mined, and are those that numpy finds."""

    @precondition(lambda self: self.store and self.store.complete and not self.moving)
    @rule(stays=st.booleans())
    def mine(self, stays):
        """If it `stays`, all that is done to the store afterwards is done to one that was mined."""
        shutil.rmtree(self.path / "added/neighbours", ignore_errors=True)
        ok = FeatureStore(self.path).ok_rows
        if len(ok) < 4:
            return
        place, field = str(self.path), "one/image"
        asked = {"queries": place, "corpus": place, "field": field, "corpus_field": field, "k": 2, "index": "exact"}
        mine_here(MineRecipe(**asked, equal_texts="each", rows_per_shard=1024), 1, lambda line: None)
        store = FeatureStore(place, uses=["neighbours"])
        assert store.ok_rows.tolist() == ok.tolist()
        vectors = store.read(field, ok).float().numpy()
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        cosines = vectors @ vectors.T
        np.fill_diagonal(cosines, -2)
        ids = np.searchsorted(ok, store.read("neighbours/ids", ok).numpy())
        best = -np.sort(-cosines, axis=1)[:, :2]
        assert np.allclose(np.take_along_axis(cosines, ids, axis=1), best, atol=1e-3)
        if not stays:
            shutil.rmtree(self.path / "added/neighbours")

    @precondition(lambda self: self.store and self.store.complete and not self.moving)
    @invariant()
    def what_stays_is_of_this_store(self):
        """Neighbours that are there are of its rows, however it came to be."""
        if (self.path / "added/neighbours/manifest.json").is_file():
            store = FeatureStore(self.path, uses=["neighbours"])
            ids = store.read("neighbours/ids", store.ok_rows).numpy()
            assert ids.shape == (len(store.ok_rows), 2) and np.isin(ids, store.ok_rows).all()

    @invariant()
    def a_step(self):
        taken[0] += 1


class CorpusWithPowerCuts(WithNeighbours):
    """The power may go during a command; what it leaves is gone on with."""

    seed: int | None = None

    @precondition(lambda self: not self.moving)
    @rule(seed=st.integers(0, 10**6))
    def power_cut(self, seed):
        whole = self.store is not None and self.store.complete
        command = (
            "extract" if not whole else "append" if self.grown else "retry" if self.store.skipped else "add_a_teacher"
        )
        if not whole and self.store and self.store.failed and self.grown:
            return
        self.seed = seed
        try:
            getattr(self, command)(None, *([Part(1, 1)] if command == "extract" else []))
        finally:
            self.seed = None

    def run(self, trouble=None, also=False, **options):
        if self.seed is None:
            return super().run(trouble, also, **options)
        out = self.path.parent
        out.mkdir(exist_ok=True)
        recorder = Recorder(out)
        with recorder.recording():
            outcome = super().run(trouble, also, **options)
        if outcome is not None or not recorder.events:
            return outcome
        one_disk(recorder.before, recorder.events, self.seed).lay_out(out)
        return "stopped"


def explored(
    machine: Callable[[], object], examples: int, steps: int, seed: int | None = None, shrinks: bool = True
) -> int:
    """How many steps were taken, always the same ones; another `seed` takes others.

    What Hypothesis finds is raised as it is, with the script in its notes; the shortest that it knows if it `shrinks`.
    """
    chosen = settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        derandomize=seed is None,
        database=None,
        report_multiple_bugs=False,
        phases=[Phase.generate, *([Phase.shrink] if shrinks else [])],
        suppress_health_check=[*HealthCheck],
    )
    test, before = get_state_machine_test(machine, settings=chosen), taken[0]
    if seed is not None:
        test = hypothesis.seed(seed)(test)
    test()
    return taken[0] - before


def told_as_a_script(machine: Callable[[], object], examples: int, steps: int, seed: int) -> None:
    """AssertionError with all that it takes to do again what failed."""
    try:
        explored(machine, examples, steps, seed)
    except Exception as error:
        script = "\n".join(getattr(error, "__notes__", []))
        raise AssertionError(f"{machine}, seed {seed}: {error!r}\n{script}") from error
