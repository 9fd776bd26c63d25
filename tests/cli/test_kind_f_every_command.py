"""Kind F, of every command: what its principal refusals tell to do is typed, and then the command works.

A fault spoils a world in which all commands work. What is told next stands in the message: a whole command (`run`), an
option to add, a knob to set, a word to take instead; it is taken from there, so a cure that does not exist fails here.
"""

import json
import re
import shlex
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cli.commands import ANEW, WORKING, all_commands
from tests.cli.conftest import call

RECIPES = {
    "extract-teacher": "extract.toml",
    "store append": "extract.toml",
    "mine-neighbours": "mine.toml",
    "train-student": "train.toml",
}


@dataclass(frozen=True)
class Fault:
    """`told`: a pattern of the last line, whose groups are the cure.

    `value`: of the knob or option that it names, and `at`: what the knob stands below; `instead`: the word that gives
    way to the one that it names; `mend`: what it asks to do by hand. `then`: whether the command itself works after it,
    or another one was meant.
    """

    command: str
    told: str
    spoil: Callable[[], object] = lambda: None
    words: tuple[str, ...] | None = None
    more: tuple[str, ...] = ()
    value: str = ""
    at: str = ""
    instead: str = ""
    mend: Callable[[], object] = lambda: None
    then: bool = True
    code: int = 1


def gone(*places):
    def spoil():
        for place in map(Path, places):
            shutil.rmtree(place) if place.is_dir() else place.unlink()

    return spoil


def moved(place, to):
    return lambda: Path(place).rename(to)


def written(place, text):
    return lambda: Path(place).write_text(text)


def changed(place, old, new):
    return lambda: Path(place).write_text(Path(place).read_text().replace(old, new))


def both(*steps):
    return lambda: [step() for step in steps]


def grown():
    with Path("corpus/texts.txt").open("a") as file:
        file.write("one more\n")


def shrunk():
    Path("corpus/texts.txt").write_text("".join(Path("corpus/texts.txt").read_text().splitlines(True)[1:]))


def images(content=None):
    """A dozen images are damaged, or mended."""

    def spoil():
        whole = Path("corpus/images/039.png").read_bytes()
        for number in range(12):
            Path(f"corpus/images/{number:03d}.png").write_bytes(whole if content is None else content)

    return spoil


def flipped(place):
    def spoil():
        content = Path(place).read_bytes()
        Path(place).write_bytes(content[::-1])

    return spoil


def few():
    """Of the pictures to ask about only some are left, the others are elsewhere."""
    Path("samples").rename("more")
    Path("samples").mkdir()
    shutil.copy("more/0.png", "samples/0.png")


def run(*words):
    return lambda: call(*words)


AGAIN = r"run: (?P<run>distillkit .*)$"
OF_A_STORE = r"(?P<run>distillkit extract-teacher (?:RECIPE|extract.toml))\)$"
# The first of each command is in the default run.
FAULTS = [
    Fault("data check", r"no corpus 'demos' is known here; there are: .*(?P<take>demo)\b", words=("demos",),
          instead="demos", mend=run("data", "prepare", "demo", "--quick")),
    Fault("data check", r"next: (?P<run>distillkit data prepare demo --quick|distillkit data prepare demo) ",
          words=("demo",)),
    Fault("data prepare", r"'demos' cannot be prepared; there is one: (?P<take>demo)$", words=("demos", "--quick"),
          instead="demos", code=2),
    Fault("data show", r"no corpus 'food' is known here; there are: .*\b(?P<take>food101)\b", words=("food",),
          instead="food"),
    Fault("data split", r"1 folder with images; a split needs two or more, one a class$", words=("corpus",),
          mend=lambda: shutil.copytree("classed/a", "corpus/a")),
    Fault("extract-teacher", r"add (?P<add>--overwrite), which keeps", more=("--set", 'corpora.0.dtype="float32"')),
    Fault("extract-teacher", "no such recipe, did you mean (?P<take>extract.toml)", words=("extrac.toml",),
          instead="extrac.toml"),
    Fault("extract-teacher", rf"this is a training recipe; {AGAIN}", words=("train.toml",), then=False),
    Fault("extract-teacher", r"keep them and compute 1 more with `(?P<run>distillkit store append)`", grown),
    Fault("extract-teacher", r"1 of its 160 rows gone .* set it aside with (?P<add>--allow-smaller)$", shrunk),
    Fault("extract-teacher", r"mend (?P<set>source\.file) in the recipe$", moved("corpus/texts.txt", "texts.txt"),
          value='"texts.txt"', at="corpora.1.", more=("--overwrite",)),
    Fault("extract-teacher", r"set (?P<set>source\.image_column) to one of these", value='"path"', at="corpora.0.",
          spoil=changed("corpus/pairs.tsv", "filepath", "path"), more=("--overwrite",)),
    Fault("extract-teacher", r"12 of 40 samples failed; .*or mend them and add (?P<add>--retry-failed)\)$",
          both(images(b""), gone("out")), mend=images()),
    Fault("extract-teacher", r"more than (?P<set>max_failures) = 0.1: raise it", both(images(b""), gone("out")),
          value="0.5", at="corpora.0."),
    Fault("extract-teacher", r"samples failed; see: (?P<run>distillkit store failures out/images) ", then=False,
          spoil=both(images(b""), gone("out"))),
    Fault("extract-teacher", r"no weights in that folder .*; put them there",
          moved("teacher/open_clip_model.safetensors", "weights"),
          mend=moved("weights", "teacher/open_clip_model.safetensors")),
    Fault("extract-teacher", r"plan\.json: damaged .*; move out/images away and make it again$",
          written("out/images/plan.json", "{"), mend=moved("out/images", "elsewhere")),
    Fault("extract-teacher", r"^error: out: file exists; mend that place or name another, and run the same command",
          both(gone("out"), written("out", "")), mend=gone("out")),
    Fault("mine-neighbours", r"\(extract it first: " + OF_A_STORE, gone("out/images")),
    Fault("mine-neighbours", r"160 rows to choose from; lower (?P<set>k) = 4000$", more=("--set", "k=4000"), value="4"),
    Fault("mine-neighbours", r"no field 'imag'; it has: openclip/(?P<take>image)\b", instead='field="imag"',
          more=("--set", 'field="imag"')),
    Fault("select-texts", r"no neighbours 'neighbours' .*" + AGAIN, gone("out/images/added")),
    Fault("select-texts", r"the best at 0\.\d+; lower (?P<set>min_cosine)$", more=("--set", "min_cosine=0.99"),
          value="-1.0"),
    Fault("select-texts", r"5 are asked for; ask for fewer, or mine again with k = 5$", more=("--set", "k=5"),
          mend=run("mine-neighbours", "mine.toml", "--set", "k=5")),
    Fault("train-student", r"; set (?P<set>student\.embed_dim) to the teacher's width$", value="32",
          more=(*ANEW["train-student"], "--set", "student.embed_dim=16")),
    Fault("train-student", r"\(extract it first: " + OF_A_STORE, gone("out/texts", "run")),
    Fault("train-student", r"no batch of 64 from 40 rows; lower (?P<set>data\.batch_size)$", value="16",
          more=(*ANEW["train-student"], "--set", "data.batch_size=64")),
    Fault("train-student", r"a file has that name\); set (?P<set>out) to another$", value='"elsewhere"',
          spoil=both(gone("run"), written("run", ""))),
    Fault("train-student", r"are by now, tell train-student in (?P<set>data\.root), or", value='"moved"',
          spoil=both(gone("run"), moved("corpus", "moved"))),
    Fault("train-student", r"finds no GPU here; .*set (?P<set>device) to (?P<value>auto)$", gone("run"),
          more=("--set", 'device="cuda"')),
    Fault("evaluate", r"has not finished; rerun: (?P<run>distillkit train-student train.toml)$",
          gone("run/student.json")),
    Fault("evaluate", r"is no run folder; make one with: (?P<run>distillkit train-student RECIPE)$", gone("run")),
    Fault("evaluate", r"--teacher STORE goes with (?P<add>--eval) FILE", words=("--teacher", "out/images"), code=2,
          value="evals.toml",
          spoil=written("evals.toml", '[[evals]]\nkind = "retrieval"\nstore = "out/images"\n')),
    Fault("compare", r"this student has not been evaluated; " + AGAIN, gone("run/evaluation", "run/evaluation.json")),
    Fault("compare", r"name another run, or add (?P<add>--teacher)$", words=("run",)),
    Fault("claims", r"claims\[0\]: no arm 'c'; there are: a, (?P<take>b)$", changed("claims.toml", '"b"]]', '"c"]]'),
          mend=changed("claims.toml", '"c"]]', '"b"]]')),
    Fault("claims", r"train\.toml: no such recipe \(there are: claims\.toml, extract\.toml",
          moved("train.toml", "other"), mend=moved("other", "train.toml")),
    Fault("suggest-scale", r"name the store of images, and texts with (?P<add>--texts)$", words=("out/texts",),
          mend=both(gone("out/texts"), moved("out/images", "out/texts"), moved("out/images2", "out/images")),
          value="out/images"),
    Fault("export", r"is there already; move it away, or name another folder with (?P<add>--out)$", value="elsewhere",
          spoil=run("export", *WORKING["export"])),
    Fault("export", r"name a folder of more with (?P<add>--samples) ", few, value="more"),
    Fault("export", r"is written in (?P<take>fp32) or fp16, not in int8$", more=("--precision", "int8"),
          instead="int8"),
    Fault("export", r"--samples nowhere: no such folder; name one of pictures", instead="nowhere",
          words=("run", "--to", "timm", "--samples", "nowhere", "--out", "left"), mend=moved("samples", "nowhere")),
    Fault("embed", r"name a folder, a picture, or (?P<add>--texts) FILE$", words=("run", "--out", "vectors.npy"),
          value="corpus/texts.txt"),
    Fault("embed", r"is no run folder; make one with: (?P<run>distillkit train-student RECIPE)$", gone("run")),
    Fault("embed", r"its teacher cannot be loaded: local-dir:teacher: no such folder", moved("teacher", "away"),
          words=("run", "--texts", "corpus/texts.txt", "--out", "texts.npy"), mend=moved("away", "teacher")),
    Fault("search", r"give either a text or a picture \((?P<add>--image) FILE\) to search by$",
          words=("run", "--in", "samples"), value="samples/0.png"),
    Fault("search", r"nowhere: no such file or folder; name a folder of pictures", instead="nowhere",
          words=("run", "a square", "--in", "nowhere"), mend=moved("samples", "nowhere")),
    Fault("push", r"run: nothing of it was exported; run: distillkit export run --to hf$", gone("run/exports"),
          mend=run("export", "run", "--to", "timm", "--samples", "samples")),
    Fault("bench-model", r"--runtime torc: there are (?P<take>torch)\b", instead="torc",
          words=("run", "--runtime", "torc", "--batch", "2", "--no-memory")),
    Fault("recipe check", r"unknown key 'lrr', did you mean '(?P<take>lr)'", more=("--set", "optim.lrr=0.1"),
          instead="optim.lrr=0.1"),
    Fault("recipe check", r"or say in \[(?P<set>data\.expect)\] what it will hold: rows, widths$", gone("out/texts"),
          value="{rows=40,widths={image=32,text=32}}"),
    Fault("recipe check", rf"this is a mining recipe; {AGAIN}", words=("mine.toml",), then=False),
    Fault("recipe list", r"corpus: no training recipes \(\*\.toml\) here; name a folder that has some$",
          words=("corpus",), mend=lambda: shutil.copy("train.toml", "corpus")),
    Fault("recipe new", r"\(extract it first: " + OF_A_STORE, gone("out/images")),
    Fault("recipe copy", r"did you mean (?P<take>demo/dime_fm)\b", words=("demo/dime_fn", "copied"),
          instead="demo/dime_fn"),
    Fault("recipe copy", r"name another folder after the recipe's name$", mend=moved("copied", "other"),
          spoil=both(lambda: Path("copied/demo").mkdir(parents=True), written("copied/demo/dime_fm.toml", ""))),
    Fault("recipe explain", r"no kind and no key .*did you mean .*'(?P<take>optim\.lr)'", words=("optim.lrr",),
          instead="optim.lrr"),
    Fault("recipe explain", r"did you mean '(?P<take>affinity)'", words=("affinty",), instead="affinty"),
    Fault("show", r"extract it first: " + OF_A_STORE, gone("out/images")),
    Fault("atlas", r"this student has not been evaluated; " + AGAIN, gone("run/evaluation", "run/evaluation.json")),
    Fault("store info", r"not JSON .*; " + AGAIN, written("out/images/manifest.json", "{")),
    Fault("store info", r"extract it first: " + OF_A_STORE, gone("out/images")),
    Fault("store verify", r"delete these files, which does only their shards anew, and " + AGAIN,
          flipped("out/images/openclip/image/c/0/0"), mend=gone("out/images/openclip/image/c/0/0")),
    Fault("store verify", r"and run: (?P<run>distillkit mine-neighbours mine.toml)$",
          flipped("out/images/added/neighbours/neighbours/ids/c/0/0"),
          mend=gone("out/images/added/neighbours/neighbours/ids/c/0/0")),
    Fault("store verify", r"delete these files, .*and " + AGAIN, written("out/images/plan.arrow", "x"),
          mend=gone("out/images/plan.arrow")),
    Fault("store verify", r"delete these files, .*and " + AGAIN, written("out/images/openclip/image/zarr.json", "{"),
          mend=gone("out/images/openclip/image/zarr.json")),
    Fault("store verify", r"no such folder; it must hold", gone("teacher"), more=("--reforward", "4"), then=False),
    Fault("store precision", r"no field 'imag'; it has: (?P<take>openclip/image)", more=("--field", "imag"),
          instead="imag"),
    Fault("store precision", r"has not finished; rerun it: (?P<run>distillkit extract-teacher extract.toml)\)$",
          gone("out/images/manifest.json")),
    Fault("store failures", r"extract it first: " + OF_A_STORE, gone("out/images")),
    Fault("store merge", r"out/texts: holds another store; move it away, or choose another place$",
          words=("out/texts", "out/images", "out/images2"), mend=moved("out/texts", "elsewhere")),
    Fault("store merge", r"nowhere: no part of an extraction .*; name folders of stores$", instead="nowhere",
          words=("merged", "out/images", "nowhere"), mend=moved("out/images2", "nowhere")),
    Fault("store import", r"no column 'nope' to name rows by; set (?P<set>key) to one of: (?P<value>image_path)$",
          more=("--set", 'key="nope"')),
    Fault("store import", r"unknown kind 'clip_retrieva', did you mean '(?P<take>clip_retrieval)'",
          words=("clip_retrieva", "embeddings", "imported"), instead="clip_retrieva"),
    Fault("store import", r"out/images: holds another store; move it away", instead="out/images",
          words=("clip_retrieval", "embeddings", "out/images"), mend=moved("out/images", "elsewhere")),
    Fault("store view", r"write --rows as (?P<take>0:1000) or", more=("--rows", "all"), instead="all"),
    Fault("store view", r"the first is 'zz': there is no such key; leave them out$", more=("--keys", "keys"),
          spoil=written("keys", "zz\nimages/000.png\n"), mend=written("keys", "images/000.png\n")),
    Fault("store view", r"out/texts: holds a store; move it away", words=("out/images", "out/texts", "--rows", "0:5"),
          mend=moved("out/texts", "elsewhere")),
    Fault("store export", r"'csv' is no format of export; take one of: npy, arrow, (?P<take>parquet)",
          more=("--to", "csv"), instead="csv"),
    Fault("store export", r"exported: is there already; move it away", lambda: Path("exported").mkdir(),
          mend=gone("exported")),
    Fault("store append", r"extract it first: " + OF_A_STORE, gone("out")),
    Fault("store push", r"toy: is no name of a repository; write (?P<take>OWNER/NAME)$", instead="toy",
          words=("out/images", "toy", "--dry-run")),
    Fault("store append", r"extract anew: (?P<run>distillkit extract-teacher RECIPE --allow-smaller)$", shrunk),
]  # fmt: skip


def cases():
    """One of each command in the default run; mining has a process of its own, which takes seconds."""
    met = set()
    for number, fault in enumerate(FAULTS):
        quick = fault.command not in met and fault.command != "mine-neighbours"
        met.add(fault.command)
        name = re.sub(r"[^\w ]+", "", fault.told)[:40]
        yield pytest.param(fault, id=f"{fault.command}-{number}-{name}", marks=[] if quick else [pytest.mark.slow])


def test_every_command_that_can_be_told_something_wrong_has_a_cure_here():
    every = dict(all_commands())
    asked = {name for name in every if any(not getattr(one, "is_flag", False) for one in every[name].params)}
    assert asked == {fault.command for fault in FAULTS} and set(WORKING) - asked == {"data list"}


@pytest.mark.parametrize("fault", list(cases()))
def test_kind_f_the_cure_that_is_told_works(world, fault):
    command, words = fault.command.split(), [*(fault.words or WORKING[fault.command]), *fault.more]
    fault.spoil()
    code, out, err = call(*command, *words)
    line = (out + err).rstrip().splitlines()[-1]
    found = re.search(fault.told, line.replace("│", "").rstrip())
    assert code == fault.code and "Traceback" not in out + err, out + err
    assert found, line
    cure = found.groupdict()
    fault.mend()
    if "run" in cure:
        code, out, err = type_out(cure["run"])
        assert code == 0, err
    if fault.then:
        code, out, err = call(*command, *cured(words, cure, fault))
        assert code == 0 or fault.command == "data check", err


def type_out(line):
    """What a message tells to run, with the recipe that it means."""
    words = shlex.split(line)[1:]
    recipe = next((recipe for start, recipe in RECIPES.items() if " ".join(words).startswith(start)), None)
    words = [recipe if word == "RECIPE" else word for word in words]
    return call(*words, *([] if recipe is None or recipe in words else [recipe]))


def cured(words, cure, fault):
    """The words of a command, changed as the message says."""
    if "add" in cure:
        return [*words, cure["add"], *([fault.value] if fault.value else [])]
    if "take" in cure:
        wrong, right = fault.instead, cure["take"]
        return [word.replace(wrong, right_of(wrong, right)) if word == wrong else word for word in words]
    if "set" in cure:
        return [
            *words,
            "--set",
            f"{fault.at}{cure['set']}={json.dumps(cure['value']) if 'value' in cure else fault.value}",
        ]
    return words


def right_of(wrong, right):
    """A knob or its value that was misspelt within `knob=value`."""
    knob, found, value = wrong.partition("=")
    if not found:
        return right
    return f'{knob}="{right}"' if value.startswith('"') else f"{knob.rpartition('.')[0]}.{right}={value}"
