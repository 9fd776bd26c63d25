"""Kind F: a refusal names the cause, and the cure it names works. The tests type it."""

import errno
import json
import re
import shlex
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.cli.conftest import without_locks
from tests.conftest import EXTRACT, make_teacher


@pytest.fixture
def typed(run_cli):
    """Type a command that a message names after "run: " or in its brackets: its exit code and stderr."""

    def run(message):
        (words,) = re.findall(r"distillkit ((?:store|data|extract-teacher) [^;()]+)", message)
        code, _, err = run_cli(*shlex.split(words))
        return code, err

    return run


def imported(folder, run_cli):
    """A store that `store import` made."""
    (folder / "embeddings/img_emb").mkdir(parents=True)
    (folder / "embeddings/metadata").mkdir()
    np.save(folder / "embeddings/img_emb/img_emb_0.npy", np.ones((3, 8), np.float16))
    pq.write_table(pa.table({"image_path": ["a", "b", "c"]}), folder / "embeddings/metadata/metadata_0.parquet")
    code, _, err = run_cli("store", "import", "clip_retrieval", folder / "embeddings", folder / "store")
    assert code == 0, err
    return folder / "store"


@pytest.mark.parametrize("damage", ["{", "{}"], ids=["cut", "emptied"])
def test_an_imported_store_is_imported_again(tmp_path, run_cli, typed, damage):
    store = imported(tmp_path, run_cli)
    whole = (store / "manifest.json").read_text()
    (store / "manifest.json").write_text(damage)
    code, _, err = run_cli("store", "info", store)
    assert code == 1 and "extract" not in err.replace("extracted", "") and err.count("\n") == 1, err
    assert typed(err)[0] == 0
    assert json.loads((store / "manifest.json").read_text()) == json.loads(whole)


def test_an_imported_store_without_its_manifest_is_not_complete_and_says_what_completes_it(tmp_path, run_cli, typed):
    store = imported(tmp_path, run_cli)
    whole = (store / "manifest.json").read_text()
    (store / "manifest.json").unlink()
    code, told, _ = run_cli("store", "info", store)
    assert code == 0 and "not complete, 3 of 3 rows committed" in told and "extract" not in told
    assert typed(told)[0] == 0
    assert json.loads((store / "manifest.json").read_text()) == json.loads(whole)
    code, _, err = run_cli("store", "verify", store)
    assert code == 0, err


def test_a_store_that_was_mined_or_extracted_names_its_own_command(toy_stores, tmp_path, run_cli):
    store = shutil.copytree(toy_stores / "out/images", tmp_path / "images")
    (store / "manifest.json").write_text("{")
    code, _, err = run_cli("store", "info", store)
    assert code == 1 and err.rstrip().endswith(
        "run: distillkit extract-teacher RECIPE, where RECIPE is the recipe that it was begun with"
    )


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP], ids=errno.errorcode.get)
def test_where_there_are_no_locks_nobody_waits_for_a_process_that_does_not_exist(
    student, recipes, run_cli, tmp_path, monkeypatch, number
):
    without_locks(monkeypatch, number)
    for words in (["train-student", student.recipe], ["extract-teacher", recipes[0]]):
        code, _, err = run_cli(*words)
        assert code == 1 and err.splitlines()[-1].startswith("error: ") and "another process" not in err
        assert "this file system has no locks" in err and "set DISTILLKIT_LOCKS=off" in err
        assert "loading" not in err
    # Either cure: a disk that has locks ...
    monkeypatch.undo()
    assert run_cli("train-student", student.recipe, "--set", f'out="{tmp_path}/elsewhere"')[0] == 0
    # ... or the variable.
    without_locks(monkeypatch, number)
    monkeypatch.setenv("DISTILLKIT_LOCKS", "off")
    assert run_cli("train-student", student.recipe)[0] == 0 and run_cli("extract-teacher", recipes[0])[0] == 0


def test_a_lock_that_somebody_holds_is_told_as_that(student):
    from distillkit.runfolder import RunFolder

    with RunFolder(student.run).locked():
        code, err = student()
    assert code == 1 and "another process is using this run folder; wait for it or stop it" in err
    assert student()[0] == 0


@pytest.mark.parametrize(("folder", "words"), [("demo", "demo"), ("demo-quick", "demo --quick")])
def test_what_is_prepared_by_a_command_names_it(recipes, run_cli, tmp_path, monkeypatch, folder, words):
    monkeypatch.setenv("DISTILLKIT_CACHE", str(tmp_path / "cache"))
    table = f'corpora.0.source={{kind="csv",file="{{cache}}/{folder}/seen.tsv"}}'
    code, _, err = run_cli("extract-teacher", recipes[0], "--set", table)
    assert code == 1 and err.rstrip().endswith(f"no such file; run: distillkit data prepare {words}"), err
    code, _, err = run_cli("extract-teacher", recipes[0], "--set", 'corpora.0.source={kind="csv",file="nowhere.tsv"}')
    assert code == 1 and err.rstrip().endswith("mend source.file in the recipe")


def test_a_look_at_the_quick_demo_sees_it(run_cli, tmp_path, monkeypatch):
    monkeypatch.setenv("DISTILLKIT_CACHE", str(tmp_path))
    code, out, _ = run_cli("data", "check", "demo")
    assert code == 1 and "next: distillkit data prepare demo " in out and out.count("not prepared") == 2
    (tmp_path / "demo-quick").mkdir()
    (tmp_path / "demo-quick/prepared.json").write_text('{"teacher": {}}')
    code, out, _ = run_cli("data", "check", "demo")
    assert code == 0 and f"{tmp_path}/demo-quick: prepared (demo --quick)" in out and "next" not in out


def test_what_a_mac_leaves_beside_a_tar_is_told_as_that(recipes, run_cli, tmp_path):
    corpus = tmp_path / "tars"
    corpus.mkdir()
    with tarfile.open(corpus / "0.tar", "w") as tar:
        for image in sorted((tmp_path / "corpus/images").iterdir())[:4]:
            tar.add(image, image.name)
    (corpus / "._0.tar").write_bytes(b"\x00\x05\x16\x07" + bytes(4092))
    source = f'corpora=[{{name="tars",fields=["image"],source={{kind="webdataset",root="{corpus}",shards="%s"}}}}]'
    code, _, err = run_cli("extract-teacher", recipes[0], "--set", source % "*.tar")
    if code:  # a walk that takes hidden files tells what it is; one that passes them needs no cure
        assert "it is what a Mac leaves beside a file" in err and "fetch it again" not in err
        (corpus / "._0.tar").unlink()
        assert run_cli("extract-teacher", recipes[0], "--set", source % "*.tar")[0] == 0
    (corpus / "._0.tar").write_bytes(b"\x00\x05\x16\x07" + bytes(4092))
    code, _, err = run_cli("extract-teacher", recipes[0], "--set", source % ".*.tar")
    assert code == 1 and "it is what a Mac leaves beside a file" in err and "fetch it again" not in err


def test_a_corpus_of_nothing_says_what_was_there(recipes, run_cli, tmp_path):
    folder = tmp_path / "films"
    folder.mkdir()
    for number in range(3):
        (folder / f"{number}.mp4").write_bytes(b"film")
    source = f'corpora=[{{name="films",fields=["image"],source={{kind="folder",root="{folder}"}}}}]'
    code, _, err = run_cli("extract-teacher", recipes[0], "--set", source)
    assert code == 1 and "passed over: 3 .mp4" in err and f"{folder}: " in err and err.count("\n") == 1
    shutil.copy(tmp_path / "corpus/images/000.png", folder / "0.png")
    assert run_cli("extract-teacher", recipes[0], "--set", source)[0] == 0


# Teachers whose weights are not there are told before another one is loaded.


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ('kind = "openclip"\nmodel = "local-dir:/nowhere"', "no such folder; it must hold open_clip_config.json"),
        ('kind = "openclip"\nmodel = "local-dir:{tmp}"', "no open_clip_config.json in that folder"),
        ('kind = "openclip"\nmodel = "ViT-B-32/weights.pt"', "is neither a tag of ViT-B-32 nor a file"),
        ('kind = "openclip"\nmodel = "ViT-B-33/openai"', "did you mean ViT-B-32"),
        ('kind = "timm"\nmodel = "local-dir:/nowhere"', "no such folder; it must hold config.json"),
        ('kind = "timm"\nmodel = "vit_tiny_patch16_224"\nweights = "weights.pt"', "no such file; mend teacher.weights"),
        ('kind = "timm"\nmodel = "vit_tinny_patch16_224"', "did you mean vit_tiny_patch16_224"),
    ],
    ids=lambda text: text.partition("\n")[2] if "\n" in text else "",
)
def test_weights_that_are_not_there_are_told_before_another_teacher_is_loaded(
    run_cli, tmp_path, corpus, teacher_folder, second, message
):
    one = f'[[teachers]]\nname = "one"\nkind = "openclip"\nmodel = "local-dir:{teacher_folder}"\n'
    two = f'[[teachers]]\nname = "two"\n{second.replace("{tmp}", str(tmp_path))}\n'
    text = EXTRACT.format(out=tmp_path / "out", corpus=corpus, teacher=teacher_folder)
    head, _, corpora = text.partition("[teacher]")
    corpora = (
        corpora[corpora.index("[[corpora]]") :].replace('fields = ["', 'fields = ["one/').replace(', "', ', "one/')
    )
    (tmp_path / "two.toml").write_text(head + one + two + corpora)
    code, _, err = run_cli("extract-teacher", tmp_path / "two.toml")
    assert code == 1 and message in err.splitlines()[-1] and "loading" not in err, err


def test_the_cure_for_weights_that_are_not_there_works(run_cli, recipes, tmp_path):
    code, _, err = run_cli("extract-teacher", recipes[0], "--set", f'teacher.model="local-dir:{tmp_path}/new"')
    assert code == 1 and "it must hold open_clip_config.json and the weights" in err
    make_teacher(tmp_path / "new")
    assert run_cli("extract-teacher", recipes[0], "--set", f'teacher.model="local-dir:{tmp_path}/new"')[0] == 0


def test_a_hub_without_an_address_is_told_as_that(run_cli, recipes, monkeypatch):
    for address in ("huggingface.co", "https://huggingface.co:99999", "https://"):
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", address)
        code, _, err = run_cli("extract-teacher", recipes[0], "--set", 'teacher.model="hf-hub:nobody/nothing"')
        assert code == 1 and f"set HF_ENDPOINT to the hub's address (it is {address!r})" in err, err
    assert run_cli("extract-teacher", recipes[0])[0] == 0  # a local teacher asks no hub


def test_the_version_is_told(run_cli):
    from distillkit import __version__

    assert run_cli("--version") == (0, f"distillkit {__version__}\n", "")


def test_the_traceback_of_a_refused_file_can_be_seen(run_cli, monkeypatch, tmp_path):
    words = ("store", "merge", tmp_path / "out", Path("/proc/self/mem"))
    code, _, err = run_cli(*words)
    assert code == 1 and err.startswith("error: ") and err.count("\n") == 1
