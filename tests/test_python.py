"""Every command is a function of Python, with the command line's defaults; it returns values and prints nothing."""

import inspect
from enum import Enum
from pathlib import Path

import pytest

import distillkit
from tests.cli.commands import all_commands

# Of each command its function. Where an option is called otherwise in Python, how; None: it is for a terminal alone, or
# another function does that.
FUNCTIONS = {
    "data check": ("check_corpus", {"json": None}),
    "data list": ("list_corpora", {"json": None}),
    "data prepare": ("prepare_demo", {"name": None}),
    "extract-teacher": (
        "extract",
        {
            "set": "overrides",
            "shard": "part",
            "retry-failed": None,
            "retry-changed": None,
            "profile": None,
            "plan": None,
        },
    ),
    "mine-neighbours": ("mine", {"set": "overrides", "shard": "part", "page": None, "max-memory": None}),
    "select-texts": ("select_texts", {"set": "overrides"}),
    "train-student": ("train", {"set": "overrides", "plan": None, "profile": None}),
    "evaluate": (
        "evaluate",
        {
            "runs": "path",
            "eval": "evals",
            "only": "names",
            "set": "overrides",
            "teacher": None,
            "out": None,
            "export": None,
        },
    ),
    "compare": ("compare", {"runs": "paths", "table": None, "json": None}),
    "show": ("show", {"path": "store"}),
    "atlas": ("atlas", {"run": "path"}),
    "claims": (
        "run_claims",
        {"files": "file", "plan": None, "scale": None, "nodes": None, "write": None, "headline": None},
    ),
    "push": ("push", {}),
    "bench-model": ("bench_model", {"runs": "paths", "runtime": None, "memory": "with_memory"}),
    "store push": ("push_store", {"path": "store"}),
    "data show": ("show_corpus", {"json": None}),
    "data split": ("split_corpus", {}),
    "suggest-scale": ("suggest_scale", {"store": "images", "json": None}),
    "export": ("export", {"run": "path"}),
    "embed": ("embed", {}),
    "search": ("search", {"in": "within", "json": None}),
    "recipe check": ("check", {"set": "overrides", "no-plugins": None, "json": None}),
    "recipe list": ("list_recipes", {"json": None}),
    "recipe new": ("new_recipe", {}),
    "recipe copy": ("copy_recipe", {}),
    "recipe explain": ("explain_recipe", {"markdown": None, "json": None}),
    "store info": ("store_info", {"path": "store", "json": None}),
    "store verify": ("verify", {"path": "store", "json": None}),
    # With --against it is another function: teacher_precision.
    "store precision": (
        "store_precision",
        {"path": "store", "field": "fields", "against": None, "rows": None, "json": None},
    ),
    "store failures": ("store_failures", {"path": "store", "json": None}),
    "store merge": ("merge", {}),
    "store import": ("import_features", {"set": "overrides"}),
    "store view": ("view", {"path": "store"}),
    "store export": ("export_store", {"path": "store", "to": "form", "field": "fields"}),
    "store append": ("append", {"set": "overrides"}),
}
# What an option makes another function of, and what that must take of the command's options.
OTHERS = {
    ("extract-teacher", "plan"): ("plan_extraction", {"recipe", "set", "only"}),
    ("extract-teacher", "retry-failed"): ("retry_failed", {"recipe", "set", "only"}),
    ("extract-teacher", "retry-changed"): ("retry_changed", {"recipe", "set", "only"}),
    ("train-student", "plan"): ("plan_training", {"recipe", "set"}),
    ("evaluate", "teacher"): ("evaluate_teacher", {"set"}),
    ("evaluate", "export"): ("write_evaluation", set()),
    ("compare", "table"): ("comparison", {"teacher"}),
    ("claims", "plan"): ("plan_claims", {"quick", "runs"}),
    ("claims", "write"): ("write_claims", set()),
    ("store precision", "against"): ("teacher_precision", {"rows"}),
}
COMMANDS = dict(all_commands())


def test_each_tells_what_it_takes():
    """A module that is called, too: `help` and editors show its function's arguments."""
    for name in distillkit.__all__:
        found = getattr(distillkit, name)
        assert "arguments" not in inspect.signature(found).parameters, name


def test_every_command_has_its_function():
    assert sorted(COMMANDS) == sorted(FUNCTIONS)
    assert {name for name, _ in FUNCTIONS.values()} < set(distillkit.__all__)


def function_of(name):
    """The function itself, where a module of its name is what is called."""
    found = getattr(distillkit, name)
    return getattr(found, name) if inspect.ismodule(found) else found


def plain(value):
    """A default as both sides can write it: nothing given is None, an empty list or tuple; a path is its text."""
    if isinstance(value, Path | Enum):
        return str(value)
    return None if value in ((), [], False, None) else value


def options(command):
    """(name in words, click parameter) of all that a command takes."""
    for parameter in command.params:
        is_option = parameter.param_type_name == "option"
        yield (parameter.opts[-1].removeprefix("--") if is_option else parameter.name), parameter


@pytest.mark.parametrize("command", sorted(FUNCTIONS))
def test_its_options_and_defaults_are_those_of_the_command(command):
    name, renamed = FUNCTIONS[command]
    known, seen = inspect.signature(function_of(name)).parameters, set()
    for option, parameter in options(COMMANDS[command]):
        where = renamed.get(option, option.replace("-", "_"))
        if where is None:
            continue
        assert where in known, f"{name} has no {where}, as {command} has --{option}"
        seen.add(where)
        default = known[where].default
        if parameter.required:
            assert default is inspect.Parameter.empty, (command, option)
        elif default is not inspect.Parameter.empty:
            assert plain(default) == plain(parameter.default), (command, option)
    assert set(renamed) <= {option for option, _ in options(COMMANDS[command])}
    # What Python has beyond that: who hears, what a report tells, and values that no command line can write.
    beyond = {"say", "command", "ask", "instead", "overrides", "form", "runtimes"}
    assert set(known) - seen <= beyond, (command, set(known) - seen)


@pytest.mark.parametrize(("command", "option"), sorted(OTHERS))
def test_what_an_option_does_instead_has_its_function_too(command, option):
    (name, takes), there = OTHERS[command, option], dict(options(COMMANDS[command]))
    assert name in distillkit.__all__ and option in there
    known = inspect.signature(function_of(name)).parameters
    for one in takes:
        found = known[{"set": "overrides"}.get(one, one)].default
        assert found is inspect.Parameter.empty or plain(found) == plain(there[one].default), (name, one)


def test_what_failed_is_tried_again_from_python(recipes, corpus, tmp_path):
    whole = (corpus / "images/003.png").read_bytes()
    (corpus / "images/003.png").write_bytes(b"")
    distillkit.extract(recipes[0])
    images = tmp_path / "out/images"
    assert [line["key"] for line in distillkit.store_failures(images)] == ["images/003.png"]
    assert distillkit.plan_extraction(recipes[0], only=["images"]) == [
        f"{images}: already complete (70 rows), nothing to do"
    ]
    (corpus / "images/003.png").write_bytes(whole)
    assert distillkit.retry_failed(recipes[0], only=["images"]) == [images]
    assert distillkit.store_failures(images) == []
    (corpus / "images/004.png").write_bytes(whole)
    said = []
    assert distillkit.retry_changed(recipes[0], said.append, only=["images"]) == [images]
    assert any("computing 1 row again, in 1 of 2 shards" in line for line in said)


@pytest.mark.parametrize("name", sorted({name for name, _ in [*FUNCTIONS.values(), *OTHERS.values()]}))
def test_nothing_is_printed_unless_somebody_hears(name):
    say = inspect.signature(function_of(name)).parameters.get("say")
    if say is not None:
        from distillkit.callable import silent

        assert say.default is silent


def test_the_functions_of_stores_give_values(toy_stores, tmp_path, capsys):
    images = toy_stores / "out/images"
    info = distillkit.store_info(images)
    assert info["."]["rows"] == 40 and len(info["."]["digest"]) == 64
    verified = distillkit.verify(images, reforward=4)
    assert verified.good and {one.field for one in verified.asked} == {"openclip/image", "openclip/text"}
    assert distillkit.store_failures(images) == []
    view = distillkit.view(images, tmp_path / "view", rows="0:10")
    assert view.count == 10 and distillkit.store_info(tmp_path / "view")["."]["rows"] == 40
    told = distillkit.store_info(tmp_path / "view")["view"]
    assert told == {"store": str(images), "rows": 10, "digest": view.digest}
    assert distillkit.export_store(tmp_path / "view", tmp_path / "npy") == 10
    assert (tmp_path / "npy/keys.parquet").is_file()
    merged = distillkit.merge(tmp_path / "merged", [images])
    assert merged.rows == 40
    (name,) = distillkit.store_precision(images, ["image"])
    assert name == "openclip/image"
    assert distillkit.list_corpora() and distillkit.suggest_scale(images)
    assert capsys.readouterr().out == ""


def test_a_damaged_store_is_told_as_a_value(toy_stores, tmp_path):
    import shutil

    store = shutil.copytree(toy_stores / "out/images", tmp_path / "store")
    shard = next((store / "openclip/image/c").rglob("*0"))
    while shard.is_dir():
        shard = next(shard.iterdir())
    shard.write_bytes(shard.read_bytes()[::-1])
    verified = distillkit.verify(store, reforward=4)
    assert not verified.good and "sha256" in verified.problems[0] and verified.asked == []


def test_numbers_of_the_caller_are_as_if_nothing_had_been_called(recipes, tmp_path):
    """A second draw after a training was the first one's again, and NumPy took numbers below 1e-38 for zero."""
    import numpy as np
    import torch

    torch.set_flush_denormal(False)
    distillkit.extract(recipes[0])
    settings = ["optim.epochs=1.0", "optim.warmup_epochs=0.0"]
    for call in (
        lambda: distillkit.extract(recipes[0], overrides=[f'out="{tmp_path}/again"'], only=["texts"]),
        lambda: distillkit.plan_extraction(recipes[0], overrides=[f'out="{tmp_path}/planned"'], only=["texts"]),
        lambda: distillkit.plan_training(recipes[1], overrides=settings),
        lambda: distillkit.train(recipes[1], overrides=settings),
    ):
        before, threads = torch.get_rng_state(), torch.get_num_threads()
        call()
        assert torch.equal(torch.get_rng_state(), before) and torch.get_num_threads() == threads
        assert np.float32(1e-40) * np.float32(1) > 0
