"""Whoever is told that samples failed is told what tries them again, and the command does it."""

import os
import re
import shlex

import numpy as np
import pytest

from distillkit.store.format import maker
from distillkit.store.reading.reader import FeatureStore
from distillkit.store.upkeep.mended import once_mended
from distillkit.store.upkeep.view import select
from distillkit.system.retyped import by_one_process
from tests.engine.test_retry import corpus, damaged, run  # noqa: F401
from tests.teachers.test_timm import make_dino

pytestmark = pytest.mark.usefixtures("quick_disk")


def test_both_who_tell_of_failures_tell_the_command_and_it_mends(run, damaged, recipes, run_cli):  # noqa: F811
    store, mend = damaged
    command = f"distillkit extract-teacher {recipes[0]} --retry-failed"
    told = f"{store}: 2 of 150 samples failed; see: distillkit store failures {store} ("
    assert f"{told}once their files are mended: {command})" in run()[1]
    code, out, err = run_cli("store", "failures", store)
    assert code == 0 and err == f"{store}: once the files of these are mended: {command}\n" and out.count("\n") == 3
    assert "--retry-failed" not in out + run_cli("store", "failures", store, "--json")[1]

    mend(70)
    made = (store / "manifest.json").stat().st_mtime_ns
    late = store.parents[1] / "corpus/images/070.png"
    os.utime(late, ns=(made + 10**9, made + 10**9))
    assert f"{told}1 of their files changed since: {command})" in run()[1]
    assert "1 of 2 failed rows mended" in run(*shlex.split(command)[3:])[1]
    mend(100)
    assert "1 of 1 failed row mended" in run("--retry-failed")[1]
    code, out, err = run_cli("store", "failures", store)
    assert code == 0 and err == f"{store}: none\n"


def test_of_what_lies_on_a_store_its_own_command_is_told_and_then_what_makes_them_anew(
    run,  # noqa: F811
    damaged,  # noqa: F811
    recipes,
    tmp_path,
    run_cli,
):
    store, _ = damaged
    command = f"distillkit extract-teacher {recipes[0]} --retry-failed"
    view = select(store, np.arange(60, 110), tmp_path / "view")
    first, then = once_mended(FeatureStore(view.path)).split("; then ")
    assert first == command and then.startswith(f"distillkit store view {store} {tmp_path}/view, with the options")
    assert f"of these are mended: {command}; then distillkit store view" in run_cli("store", "failures", view.path)[2]

    whole = select(store, np.arange(10), tmp_path / "whole")
    assert run_cli("store", "failures", whole.path)[2] == f"{whole.path}: none\n"

    text = recipes[0].read_text()
    second = tmp_path / "second.toml"
    teacher = make_dino(tmp_path / "dino", pixels=56)
    more = f'[[teachers]]\nname = "more"\nkind = "timm"\nmodel = "local-dir:{teacher}"\nimage_size = 28\n\n'
    corpora = re.sub(r"fields = .*", 'fields = ["cls"]', text[text.index("[[corpora]]") :])
    second.write_text(text[: text.index("[teacher]")] + more + corpora)
    code, _, err = run_cli("extract-teacher", second)
    assert code == 0 and (store / "added/more/manifest.json").is_file(), err
    both = f"{command}; then distillkit extract-teacher {second}"
    assert once_mended(FeatureStore(store)) == once_mended(FeatureStore(store / "added/more")) == both
    line = next(line for line in err.splitlines() if "150 samples failed" in line)
    assert line.startswith(f"{store}/added/more: 2 of ") and line.endswith(f" (once their files are mended: {both})")


def test_where_no_command_tries_them_none_is_told(damaged, monkeypatch, tmp_path):  # noqa: F811
    store, _ = damaged
    (store / "extract.jsonl").write_text("")
    opened = FeatureStore(store)
    command = "distillkit extract-teacher RECIPE --retry-failed, where RECIPE is the recipe that it was begun with"
    assert once_mended(opened) == command
    (store / "extract.jsonl").write_text(f'{{"merged": 1, "command": "distillkit store merge {store} a b"}}\n')
    assert once_mended(opened) is None, "its parts failed"
    (store / "extract.jsonl").write_text("")
    monkeypatch.setattr(maker, "maker", lambda source, teachers: "store import")
    assert once_mended(opened) is None


def test_whoever_shared_the_work_one_process_tries_again():
    command = "distillkit extract-teacher a.toml --engine ray --only images"
    assert by_one_process(command, "--x") == "distillkit extract-teacher a.toml --only images --x"
    assert by_one_process(command.replace("--engine ", "--engine="), "--x").count("engine") == 0
