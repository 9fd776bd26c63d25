"""Kind D: whatever a store that is there forbids is told before a teacher is loaded, which may take gigabytes."""

import shutil

import pytest

from distillkit.engine import loading
from distillkit.engine.local import LocalEngine
from tests.engine.test_append import grow

pytestmark = pytest.mark.usefixtures("quick_disk")


class Loaded(AssertionError):
    """A teacher was asked for, in a run that could have been refused without one."""


@pytest.fixture
def run(recipes, run_cli):
    text = recipes[0].read_text()
    recipes[0].write_text(text[: text.rindex("[[corpora]]")])

    def run(*command):
        code, _, err = run_cli(*command, recipes[0])
        assert "Traceback" not in err
        return code, err

    return run


@pytest.fixture
def store(run, tmp_path):
    assert run("extract-teacher")[0] == 0
    return tmp_path / "out/images"


@pytest.fixture
def without_teachers(store, monkeypatch):
    def load(*_):
        raise Loaded

    monkeypatch.setattr(loading, "load", load)
    return store


def told(run, *command):
    code, err = run(*command)
    assert code == 1 and "loading" not in err
    return err.splitlines()[-1]


APPEND, RETRY, REDO = ("store", "append"), ("extract-teacher", "--retry-failed"), ("extract-teacher", "--retry-changed")


def test_a_run_that_is_not_refused_needs_its_teacher(run, without_teachers, corpus):
    grow(corpus, 5)
    with pytest.raises(Loaded):
        run(*APPEND)


@pytest.mark.parametrize("command", [APPEND, RETRY, REDO])
def test_a_store_that_is_missing(run, without_teachers, command):
    shutil.rmtree(without_teachers)
    assert f"{without_teachers}: no complete feature store (extract it first: " in told(run, *command)


@pytest.mark.parametrize("command", [APPEND, REDO, ("extract-teacher",)])
def test_rows_that_changed(run, without_teachers, corpus, command):
    table = corpus / "pairs.tsv"
    table.write_text(table.read_text().replace("a square number 0\t", "another text\t", 1))
    assert "1 of its 70 rows changed in the corpus, as 'images/000.png'" in told(run, *command)


def test_more_rows(run, without_teachers, corpus):
    grow(corpus, 5)
    assert "5 more samples now; run first: distillkit store append RECIPE" in told(run, *REDO)
    assert "keep them and compute 5 more with `distillkit store append`" in told(run, "extract-teacher")


def test_another_root(run, without_teachers, corpus, recipes):
    elsewhere = shutil.copytree(corpus, corpus.with_name("elsewhere"))
    recipes[0].write_text(recipes[0].read_text().replace(f'"{corpus}', f'"{elsewhere}'))
    assert f"its images lie below {corpus}, those of the recipe below {elsewhere}" in told(run, *APPEND)
    assert "source." in told(run, *REDO) and "to extract anew means" in told(run, "extract-teacher")


@pytest.mark.parametrize("command", [APPEND, REDO, ("extract-teacher",)])
def test_fields_of_another_dtype(run, without_teachers, corpus, recipes, command):
    if command == APPEND:
        grow(corpus, 5)
    recipes[0].write_text(recipes[0].read_text().replace("fields = ", 'dtype = "float32"\nfields = '))
    assert "fields.openclip/image.dtype: 'float16' -> 'float32'" in told(run, *command)


def test_teachers_that_do_not_tell_of_themselves_keep_no_refusal_waiting(run, without_teachers, corpus, monkeypatch):
    """Plug-ins may say only when they are loaded what they give; a store and its rows are looked at all the same."""
    from distillkit.teachers.openclip import Openclip

    monkeypatch.setattr(Openclip, "outline", lambda **knobs: None)
    table = corpus / "pairs.tsv"
    table.write_text(table.read_text().replace("a square number 0\t", "another text\t", 1))
    for command in (APPEND, REDO):
        assert "1 of its 70 rows changed in the corpus" in told(run, *command)


def test_an_append_that_died_while_it_took_its_place_is_ended_first(run, store, corpus, monkeypatch):
    from distillkit.engine import successor

    def stop(*_):
        raise OSError(5, "stopped")

    grow(corpus, 5)
    with monkeypatch.context() as patch:
        patch.setattr(successor, "_move_in", stop)
        assert run(*APPEND)[0] == 1 and not store.exists()
    with monkeypatch.context() as patch:
        patch.setattr(LocalEngine, "teachers", stop)
        assert "stopped" in told(run, *APPEND) and store.exists(), "before a teacher was asked for"
