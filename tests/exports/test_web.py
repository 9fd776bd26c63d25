"""The page: its JavaScript makes the pixels and tokens of Python, and in a browser it says what the student says.

What needs Node, Chromium or the runtime (npm's onnxruntime-web, named by ONNXRUNTIME_WEB) is skipped where that is not;
`make test-web` fetches the runtime.
"""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from distillkit.errors import ExportError
from distillkit.export import export
from distillkit.exports._mending import cleaning, mending
from distillkit.exports._page import PAGE, RUNTIME
from distillkit.exports._tokens import _clip, read_tokens
from distillkit.exports.web import _runtime
from distillkit.parity.reference import Reference
from distillkit.runfolder import RunFolder
from distillkit.store.reading.reader import FeatureStore
from tests.conftest import WORDS
from tests.exports.browser import CHROMIUM, Browser
from tests.exports.mended import MENDED
from tests.exports.world import STUDENTS, card_of, finish, json_of

NODE, _NAMED = shutil.which("node"), os.environ.get("ONNXRUNTIME_WEB")
NPM = None if _NAMED is None else str(Path(_NAMED).absolute())  # tests go to other folders
needs_node = pytest.mark.skipif(NODE is None, reason="needs Node")
needs_page = pytest.mark.skipif(
    None in (NODE, NPM, CHROMIUM), reason="needs Node, Chromium and ONNXRUNTIME_WEB: make test-web"
)


def under_node(code, given):
    """What JavaScript beside the page's own files prints as JSON; `given`: an object that it reads as `given`."""
    lines = ['import { readFileSync } from "node:fs";', "const given = JSON.parse(readFileSync(0));", code]
    done = subprocess.run(
        [NODE, "--input-type=module", "-e", "\n".join(lines)],
        input=json.dumps(given),
        cwd=PAGE,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@needs_node
def test_resizing_is_pillows_byte_for_byte():
    random = np.random.default_rng(0)
    given = []
    for (width, height), to in [
        ((40, 57), (32, 45)),
        ((17, 9), (64, 33)),
        ((64, 64), (64, 20)),
        ((301, 200), (48, 32)),
    ]:
        for resample in (2, 3):
            data = random.integers(0, 256, (height, width, 3), dtype=np.uint8)
            data[: height // 2] = data[: height // 2] // 128 * 255  # hard edges overshoot
            given.append({"width": width, "height": height, "data": data.flatten().tolist(), "to": to, "by": resample})
    code = """
const { resize } = await import("./resize.js");
console.log(JSON.stringify(given.map((one) => [...resize(one, ...one.to, one.by).data])));
"""
    for one, made in zip(given, under_node(code, given), strict=True):
        picture = Image.fromarray(np.array(one["data"], np.uint8).reshape(one["height"], one["width"], 3))
        expected = np.asarray(picture.resize(one["to"], one["by"])).flatten().tolist()
        assert made == expected, (one["to"], one["by"])


TEXTS = [
    *("a photo of a cat", "", "  two  spaces\tand\na line ", "it's they'll I'D", "Über ÉCOLE Straße", "日本語 の text"),
    *("constructor __proto__ toString", "1234 5,6.7!?", "emoji 👩‍🚀 ☀️", "a" * 150, "word " * 40, "e\u0301 \u00e9"),
    *("nine o’clock “so”", "salt &amp; pepper &lt;3", "oﬃce ﬁve Ǆ", "costs $5 $& $1"),
    *("\u00a0nbsp\u2003em", "x\u200by", "don't—stop", "<html> & [MASK]x", "ﬁ ligature Ǆ", "ΑΣ ς"),
    *MENDED,
]


@needs_node
def test_tokens_are_those_of_python(tmp_path):
    import tokenizers
    from tokenizers import normalizers
    from tokenizers.implementations import BertWordPieceTokenizer

    clip = _clip()
    letters = {letter for text in TEXTS for letter in text.lower()}
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "photo", "##os", "cat", "word", "it", "con", "##struct", "##or"]
    pieces += sorted(letters | {f"##{letter}" for letter in letters if letter.isalpha()} | {"e", "u", "##e"})
    vocabulary = {piece: number for number, piece in enumerate(dict.fromkeys(pieces))}
    bert = BertWordPieceTokenizer(vocabulary)
    bert.normalizer = normalizers.Sequence([*mending(tokenizers), bert.normalizer])
    canonical = BertWordPieceTokenizer(vocabulary)
    steps = [*mending(tokenizers), *cleaning(tokenizers, "canonicalize"), canonical.normalizer]
    canonical.normalizer = normalizers.Sequence(steps)
    for name, made, pad in (("clip", clip, "!"), ("bert", bert, "[PAD]"), ("canonical", canonical, "[PAD]")):
        made.enable_truncation(24)
        made.enable_padding(length=24, pad_id=0, pad_token=pad)
        (tmp_path / name).mkdir()
        made.save(str(tmp_path / name / "tokenizer.json"))
        code = """
const { tokenizer } = await import("./tokens.js");
console.log(JSON.stringify(given.texts.map(tokenizer(JSON.parse(readFileSync(given.file))))));
"""
        found = under_node(code, {"texts": TEXTS, "file": str(tmp_path / name / "tokenizer.json")})
        for text, ours, theirs in zip(TEXTS, found, read_tokens(tmp_path / name, TEXTS).tolist(), strict=True):
            assert ours == theirs, (name, text)


def test_without_the_runtime_one_line_says_how_to_get_it(runs, tmp_path):
    for named, told in (
        (None, "npm pack onnxruntime-web"),
        (tmp_path, f"--runtime-dir {tmp_path}: onnxruntime-web is"),
    ):
        with pytest.raises(ExportError, match=re.escape(told)) as refusal:
            export(runs("pair"), "web", runtime_dir=named, out=tmp_path / "out", say=lambda line: None)
        assert "\n" not in str(refusal.value) and not (tmp_path / "out").exists()


def test_the_runtime_is_found_where_npm_puts_it(tmp_path):
    for place in ("dist", "package/dist", "node_modules/onnxruntime-web/dist"):
        folder = tmp_path / place.replace("/", "-")
        (folder / place).mkdir(parents=True)
        for name in RUNTIME[:2]:
            (folder / place / name).touch()
        with pytest.raises(ExportError, match="take a newer onnxruntime-web"):
            _runtime(folder)
        (folder / place / RUNTIME[2]).touch()
        assert _runtime(folder) == folder / place


def test_an_image_student_without_texts_and_classes_has_nothing_to_show(runs, tmp_path):
    with pytest.raises(ExportError, match="has no text tower and no classes are known"):
        export(runs("image"), "web", out=tmp_path / "out", say=lambda line: None)


@pytest.fixture(scope="module")
def pair_page(runs, pictures, tmp_path_factory):
    """A pair as a page: its folder, and what the gate said."""
    folder, lines = tmp_path_factory.mktemp("web") / "page", []
    export(runs("pair"), "web", classes=f"{pictures}/prompts", runtime_dir=NPM, out=folder, say=lines.append)
    return folder, lines


@pytest.fixture(scope="module")
def served(pair_page):
    """The address of a plain server of files, as the page's own words start it."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = re.search(r"```sh\n(.*?)```", card_of(pair_page[0]), re.DOTALL)[1].partition("#")[0]
    words = command.replace("8000", str(port)).split()
    server = subprocess.Popen([sys.executable, *words[1:]], cwd=pair_page[0], stderr=subprocess.DEVNULL)
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            break
        except OSError:
            time.sleep(0.05)
    yield f"http://127.0.0.1:{port}/"
    server.terminate()
    server.wait()


@pytest.fixture
def browser():
    made = Browser()
    yield made
    made.close()


@needs_page
def test_the_gate_asks_the_pages_own_javascript(pair_page):
    folder, lines = pair_page
    asked = re.compile(r"the page's own JavaScript and onnxruntime-web \d+\.\d+\.\d+, under Node v\d")
    assert any(map(asked.search, lines)) and asked.search(card_of(folder))
    assert json_of(folder / "page.json")["classes"] == list(WORDS)
    assert sum("worst cosine" in line for line in lines) == 2


@needs_page
def test_a_page_that_resizes_otherwise_is_refused(runs, pictures, tmp_path, monkeypatch):
    spoilt = tmp_path / "page"
    shutil.copytree(PAGE, spoilt)
    code = (spoilt / "resize.js").read_text()
    (spoilt / "resize.js").write_text(code.replace("const wide = Math.max(scale, 1);", "const wide = 1;"))
    monkeypatch.setattr("distillkit.exports.web.PAGE", spoilt)
    with pytest.raises(ExportError, match="worst cosine of the image tower"):
        export(runs("pair"), "web", runtime_dir=NPM, out=tmp_path / "out", say=lambda line: None)
    assert not (tmp_path / "out").exists()


def best_of(student, path, vectors):
    """Names of the five best classes, and how far each is from the next."""
    image = torch.from_numpy(Reference(student).images([Image.open(path).convert("RGB")]))
    cosines = (torch.nn.functional.normalize(image) @ vectors.T)[0]
    return [WORDS[place] for place in cosines.argsort(descending=True)[:5].tolist()]


@needs_page
def test_in_a_browser_it_says_what_the_student_says(pair_page, served, browser, runs, pictures):
    """The same five classes for 20 pictures, words find the same pictures, and nothing but the page is asked for."""
    student = RunFolder(runs("pair")).load_student()
    reference = Reference(student)
    names = list(json_of(pair_page[0] / "page.json")["classes"])
    vectors = torch.from_numpy(np.fromfile(pair_page[0] / "classes.bin", "<f4").reshape(len(names), -1))
    files = sorted((pictures.parent / "corpus/images").glob("*.png"))[2::3][:20]  # squares, which all cut alike
    browser.open(served)
    browser.until("!document.getElementById('one').hidden")
    for number, path in enumerate(files):
        begun = time.perf_counter()
        browser.choose("#picture", [path])
        browser.until(f"document.getElementById('classes').dataset.for === '{path.name}'")
        assert number or time.perf_counter() - begun < 2, "the first answer takes more than two seconds"
        told = browser.say("[...document.querySelectorAll('#classes b')].map((one) => one.textContent)")
        assert told == best_of(student, path, vectors), path.name
    browser.choose("#folder", [files[0].parent])
    browser.until("/^\\\\d+ pictures/.test(document.getElementById('found').textContent)".replace("\\\\", "\\"), 120)
    browser.say("document.getElementById('query').value = 'a circle', document.querySelector('#search button').click()")
    browser.until("document.getElementById('results').dataset.for === 'a circle'")
    told = browser.say("[...document.querySelectorAll('#results span')].map((one) => one.textContent.split('  ')[1])")
    squares = [path for path in sorted(files[0].parent.glob("*.png")) if len(set(Image.open(path).size)) == 1]
    seen = reference.images([Image.open(path).convert("RGB") for path in squares])
    found = unit(seen) @ unit(reference.texts(["a circle"]))[0]
    expected = [squares[place].name for place in np.argsort(-found)]
    assert [name for name in told if name in expected[:5]] == expected[: sum(name in expected[:5] for name in told)]
    assert browser.errors == [] and browser.asked
    assert all(address.startswith((served, "blob:", "data:")) for address in browser.asked), browser.asked


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


@needs_page
def test_classes_are_what_is_typed_and_a_file_that_is_no_picture_is_said(served, browser, runs, pictures, tmp_path):
    browser.open(served)
    browser.until("!document.getElementById('one').hidden")
    browser.choose("#picture", [next((pictures.parent / "corpus/images").glob("002.png"))])
    browser.until("document.querySelectorAll('#classes b').length === 5")
    names = ["a red ball", "a blue ring"]
    lines = json.dumps("\n".join(names))
    browser.say(f"document.getElementById('names').value = {lines}, document.getElementById('apply').click()")
    browser.until("document.querySelectorAll('#classes b').length === 2")
    told = browser.say("[...document.querySelectorAll('#classes b')].map((one) => one.textContent)")
    reference = Reference(RunFolder(runs("pair")).load_student())
    seen = reference.images([Image.open(pictures.parent / "corpus/images/002.png").convert("RGB")])
    cosines = (unit(seen) @ unit(reference.texts(names)).T)[0]
    assert told == [names[place] for place in np.argsort(-cosines)]
    (tmp_path / "words.png").write_text("no picture")
    browser.choose("#picture", [tmp_path / "words.png"])
    browser.until("document.getElementById('state').textContent.includes('words.png is no picture')")


@needs_page
def test_image_students_find_pictures_like_a_picture(pictures, tmp_path):
    evals = [{"kind": "zero_shot", "store": f"{pictures}/images", "prompts": f"{pictures}/prompts"}]
    run = finish(tmp_path / "run", pictures, STUDENTS["tokens"], evals)
    folder = export(run, "web", runtime_dir=NPM, out=tmp_path / "page", say=lambda line: None)
    told = json_of(folder / "page.json")
    assert told["text"] is None and not (folder / "tokenizer.json").exists() and told["classes"] == list(WORDS)
    width = FeatureStore(f"{pictures}/prompts").field("text").shape[0]
    assert (folder / "classes.bin").stat().st_size == 4 * len(WORDS) * width
    assert Path(folder / "runtime" / RUNTIME[2]).stat().st_size > 1_000_000
