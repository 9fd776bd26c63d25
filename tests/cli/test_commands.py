"""The command line: quick, helpful, one line where the user can mend it, a traceback where it is our bug."""

import json
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
import typer.main

from distillkit import cli
from tests.conftest import TRAIN

COMMANDS = (
    "data check",
    "data list",
    "data prepare",
    "data show",
    "data split",
    "extract-teacher",
    "mine-neighbours",
    "select-texts",
    "train-student",
    "evaluate",
    "compare",
    "show",
    "atlas",
    "claims",
    "suggest-scale",
    "embed",
    "search",
    "export",
    "push",
    "bench-model",
    "recipe check",
    "recipe list",
    "recipe new",
    "recipe copy",
    "recipe explain",
    "store info",
    "store verify",
    "store precision",
    "store failures",
    "store merge",
    "store import",
    "store view",
    "store export",
    "store append",
    "store push",
)


def python(code, *arguments):
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=60)


def all_commands(group=None, path=()):
    group = group or typer.main.get_command(cli.app)
    for name, command in group.commands.items():
        yield from all_commands(command, (*path, name)) if hasattr(command, "commands") else [" ".join((*path, name))]


# Help.


def test_help_answers_in_under_half_a_second():
    """The best of some tries: other processes may be in the way."""
    times = []
    for _ in range(8):
        started = time.perf_counter()
        done = python("from distillkit.cli import main; main()", "--help")
        times.append(time.perf_counter() - started)
        assert done.returncode == 0 and "extract-teacher" in done.stdout
        if times[-1] < 0.5:
            break
    assert min(times) < 0.5


def test_help_imports_nothing_heavy():
    done = python(
        "import sys; from distillkit import cli\n"
        "try: cli.main()\n"
        "except SystemExit: print(*sorted(name for name in sys.modules if '.' not in name), file=sys.stderr)",
        "--help",
    )
    loaded = set(done.stderr.split())
    assert "typer" in loaded
    assert not loaded & {
        "torch",
        "numpy",
        "open_clip",
        "timm",
        "PIL",
        "pyarrow",
        "zarr",
        "faiss",
        "transformers",
        "pydantic",
    }


def test_the_list_of_commands_is_whole():
    assert sorted(all_commands()) == sorted(COMMANDS)


@pytest.mark.parametrize("command", [*COMMANDS, "", "data", "recipe", "store"])
def test_every_command_has_help_with_an_example(run_cli, command):
    code, out, err = run_cli(*command.split(), "--help")
    assert (code, err) == (0, "") and "Usage: " in out
    assert command in ("", "data", "recipe", "store") or f"Example: distillkit {command} " in out


@pytest.mark.parametrize("group", ["", "data", "recipe", "store"])
def test_lists_of_commands_cut_no_sentence(run_cli, group, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    listed = run_cli(*group.split(), "--help")[1].partition("\nCommands:\n")[2].splitlines()
    assert len(listed) > 3 and all(re.fullmatch(r"  [a-z-]+ +[A-Z].*[^.]\.", line) for line in listed), listed


@pytest.mark.parametrize("command", COMMANDS)
def test_each_example_begins_a_paragraph_and_ends_it(run_cli, command):
    """A help page fills its paragraphs, so what stands in one runs together."""
    out = run_cli(*command.split(), "--help")[1]
    paragraphs = [" ".join(one.split()) for one in out.split("\n\n")]
    examples = [one for one in paragraphs if "Example:" in one]
    assert examples and all(one.startswith("Example:") and one.count("Example:") == 1 for one in examples)


def test_examples_name_recipes_that_exist(run_cli):
    for command in sorted({*COMMANDS} - {"recipe new"}):  # which writes the one that its example names
        example = run_cli(*command.split(), "--help")[1].partition("Example: distillkit ")[2].split()
        for word in example:
            if word.endswith(".toml"):
                assert (Path(__file__).parents[2] / word).is_file(), word


# Wrong usage is exit code 2, what the user can mend is one line and exit code 1.


@pytest.mark.parametrize(
    "arguments",
    [["nonsense"], ["extract-teacher"], ["extract-teacher", "a", "b"], ["--nonsense"], ["data", "prepare", "x"]],
)
def test_wrong_usage_is_exit_code_2(run_cli, arguments):
    code, out, err = run_cli(*arguments)
    assert code == 2 and out == "" and "Usage: " in err and "Traceback" not in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["extract-teacher", "absent.toml"], "error: absent.toml: no such recipe"),
        (["train-student", "absent.toml"], "error: absent.toml: no such recipe"),
        (["evaluate", "absent"], "error: absent: is no run folder; make one with: distillkit train-student RECIPE"),
        (["store", "info", "absent"], "error: absent: no complete feature store in "),
        (["store", "verify", "absent"], "error: absent: no complete feature store"),
        (["store", "failures", "absent"], "error: absent: no complete feature store"),
    ],
)
def test_what_the_user_can_mend_is_one_line(run_cli, arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = run_cli(*arguments)
    assert (code, out) == (1, "") and err.startswith(message) and err.count("\n") == 1


def test_a_misspelt_key_and_a_bad_override_are_one_line(run_cli, recipes):
    for override, message in (("techer=1", "did you mean 'teacher'?"), ("out=nowhere", "quote strings")):
        code, _, err = run_cli("extract-teacher", recipes[0], "--set", override)
        assert code == 1 and err.startswith("error: ") and message in err and err.count("\n") == 1


def test_a_source_that_is_not_there_is_one_line(run_cli, recipes, corpus):
    (corpus / "pairs.tsv").unlink()
    code, _, err = run_cli("extract-teacher", recipes[0])
    assert code == 1 and err.splitlines()[-1].startswith(f"error: {corpus}/pairs.tsv: no such file; mend source.file")


def test_a_bug_keeps_its_traceback():
    code = (
        "from distillkit import cli\n"
        "from distillkit.store.format.manifest import Manifest\n"
        "def bug(_): return {}['our own mistake']\n"
        "Manifest.read = bug\n"
        "cli.main()"
    )
    done = python(code, "store", "info", "anything")
    assert done.returncode == 1 and "Traceback (most recent call last)" in done.stderr
    assert done.stderr.splitlines()[-1] == "KeyError: 'our own mistake'" and "in bug" in done.stderr


def test_results_go_to_stdout_and_progress_to_stderr(run_cli, recipes, tmp_path):
    code, out, err = run_cli("extract-teacher", recipes[0])
    assert code == 0 and out.splitlines() == [f"{tmp_path}/out/images", f"{tmp_path}/out/texts"]
    assert "rows/s" in err and err.splitlines()[-1].startswith("next: ")


# Looking at stores.


@pytest.fixture
def store(run_cli, recipes, corpus, tmp_path):
    (corpus / "images/003.png").write_bytes(b"")
    code, _, err = run_cli("extract-teacher", recipes[0])
    assert code == 0 and "images: complete, 70 rows, 1 of them failed, digest" in err  # in the words of store info
    assert "texts: complete, 160 rows, none failed, digest" in err
    return tmp_path / "out/images"


def test_store_commands(run_cli, store, recipes):
    code, out, _ = run_cli("store", "info", store)
    assert code == 0 and f"{store}: 70 rows, 1 of them failed; 2 shards" in out
    assert "openclip/image  float16 [32]" in out and "sha256" in out and "digest" in out

    code, out, _ = run_cli("store", "failures", store)
    header, line = out.splitlines()
    assert code == 0 and header.split("\t") == ["key", "stage", "error"]
    assert line.split("\t")[:2] == ["images/003.png", "decode"]
    told = json.loads(run_cli("store", "failures", store, "--json")[1])
    assert list(told) == header.split("\t") and told["key"] == "images/003.png"
    assert run_cli("store", "failures", store.parent / "texts")[1:] == ("", f"{store.parent / 'texts'}: none\n")

    whole = json.loads(run_cli("store", "info", store, "--json")[1])
    assert whole["."]["rows"] == 70 and len(whole["."]["digest"]) == 64
    for lost in ("manifest.json", "commits/00001.json"):
        (store / lost).rename(store.parent / Path(lost).name)
    code, out, _ = run_cli("store", "info", store)
    assert code == 0 and f"{store}: not complete, 64 of 70 rows committed, 1 of 2 shards; a shard is 64 rows" in out
    assert "rows/s, 1 failed; 1 minute to go" in out and "what completes it: distillkit extract-teacher" in out
    assert "RECIPE" not in out and ".toml" in out  # what was typed
    assert json.loads(run_cli("store", "info", store, "--json")[1])["committed"] == 64
    for lost in ("manifest.json", "commits/00001.json"):
        (store.parent / Path(lost).name).rename(store / lost)

    assert run_cli("store", "verify", store)[:2] == (0, f"{store}: every checksum agrees\n")
    shard = store / "openclip/text/c/1/0"
    shard.write_bytes(shard.read_bytes()[::-1])
    code, out, err = run_cli("store", "verify", store)
    assert code == 1 and out.startswith(f"{shard}: sha256 ") and out.count("\n") == 1
    again = f"which does only their shards anew, and run: distillkit extract-teacher {recipes[0]}"
    assert err == f"damaged: 1; delete these files, {again}\n"


def test_output_can_be_cut_short(store):
    """`distillkit store failures STORE | head` closes the pipe early; that is no bug of ours."""
    command = f"{sys.executable} -c 'from distillkit.cli import main; main()' store info {store} | head -c 1"
    done = subprocess.run(["bash", "-c", f"set -o pipefail; {command}"], capture_output=True, text=True, timeout=60)
    assert "Traceback" not in done.stderr


def test_listings_are_json_a_line_where_that_is_asked(run_cli, toy_stores, tmp_path, monkeypatch):
    recipe = tmp_path / "train.toml"
    recipe.write_text(TRAIN.format(out=toy_stores / "out"))
    monkeypatch.chdir(toy_stores)
    for words, key in (
        (("data", "list"), "corpus"),
        (("data", "check", "imagenet1k", "--root", "corpus"), "line"),
        (("store", "precision", "out/images"), "bytes_per_row"),
        (("store", "verify", "out/images"), "problems"),
        (("suggest-scale", "out/images", "--texts", "out/texts"), "half_at"),
        (("recipe", "list"), "recipe"),
        (("recipe", "explain"), "knobs"),
        (("recipe", "check", recipe), "told"),
        (("recipe", "check", recipe, "--no-plugins"), "told"),
        (("data", "show", "food101"), "licence"),
        (("data", "show", "demo"), "title"),
    ):
        out = run_cli(*words, "--json")[1]
        assert out and all(key in json.loads(line) for line in out.splitlines()), words
    whole, *fields = run_cli("store", "verify", "out/images", "--reforward", 4, "--json")[1].splitlines()
    assert json.loads(whole)["problems"] == 0
    assert {json.loads(line)["field"] for line in fields} == {"openclip/image", "openclip/text"}
    assert all({"rows", "least", "median", "mean"} < json.loads(line).keys() for line in fields)
