"""The page of a comparison: what it holds agrees with the rows, and what is missing is one line."""

import base64
import io
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest

from distillkit import compare
from distillkit.evaluation.rows import read_rows, write_rows
from distillkit.report.flips import changes, galleries
from distillkit.report.heard import heard
from distillkit.report.mapped import packed
from distillkit.report.thumbnails import thumbnails
from distillkit.runfolder import RunFolder
from distillkit.students._count import count
from tests.browser import Browser, chromium
from tests.evaluation.test_evaluate import refused
from tests.evaluation.worlds import asked_otherwise, quiet


def answered(run, ranks, margins):
    """The run's student as one that gave these ranks and margins."""
    path = run / "evaluation/retrieval.arrow"
    rows = read_rows(path)
    one = rows.answers["student"]
    columns = one.columns | {"rank": np.asarray(ranks, one.columns["rank"].dtype), "margin": np.asarray(margins)}
    write_rows(path, replace(rows, answers=rows.answers | {"student": replace(one, columns=columns)}))
    return run


@pytest.fixture(scope="module")
def pair(world, tmp_path_factory):
    """Of 40 images the one gets the first 20, the other all but the first 5; both surer of later ones."""
    folder = tmp_path_factory.mktemp("pair")
    a, b = (shutil.copytree(world / name, folder / name[0]) for name in ("a@0", "b@0"))
    for run in (a, b):  # a log of more lines than a run of six steps has
        line = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
        lines = [line | {"step": step, "total": line["total"] + 1 / step} for step in range(1, 7)]
        (run / "metrics.jsonl").write_text("".join(f"{json.dumps(one)}\n" for one in lines))
    order = np.arange(40)
    answered(a, np.where(order < 20, 1, 3), np.where(order < 20, order, -order) / 100)
    answered(b, np.where(order < 5, 2, 1), np.where(order < 5, -order, order) / 100)
    return a, b


@pytest.fixture(scope="module")
def made(pair, tmp_path_factory):
    """The page of the two."""
    return compare.compare(pair, quiet, out=tmp_path_factory.mktemp("page"))


def held(page):
    """What its scripts show."""
    return json.loads(re.search(r'id="page">(.*?)</script>', page.read_text(), re.DOTALL)[1])


def test_galleries_are_who_gets_what_surest_first(pair):
    (evaluation,) = heard(compare.comparison(pair))
    a, b = map(str, pair)
    by_pair = {(one.winner, one.loser): one for one in galleries([evaluation])}
    assert by_pair.keys() == {("teacher", a), ("teacher", b), (a, b), (b, a)}
    assert (by_pair[a, b].count, by_pair[b, a].count, by_pair[a, b].items) == (5, 20, 40)
    assert [one.key for one in by_pair[b, a].flips[:2]] == evaluation.keys[39:37:-1]  # led by .39, misled by .39
    assert by_pair[b, a].flips[0].sure == pytest.approx(0.78)
    teacher = evaluation.right("teacher")
    assert by_pair["teacher", a].count == int((teacher & (np.arange(40) >= 20)).sum())
    assert by_pair[a, b].flips[0].truth == evaluation.truth(4) and by_pair[a, b].flips[0].said


def test_classes_add_up_to_the_evaluation(pair):
    (change,) = changes(heard(compare.comparison(pair)))
    assert sum(one.items for one in change.shown) == 40 and change.classes == len(change.shown)
    assert (sum(one.before for one in change.shown), sum(one.after for one in change.shown)) == (20, 35)
    gains = [(one.after - one.before) / one.items for one in change.shown]
    assert gains == sorted(gains, key=lambda gain: (gain == 0, gain < 0, -abs(gain))) and max(gains) > 0
    assert len(changes(heard(compare.comparison(pair)), most=2)[0].shown) == 2


def test_the_page_holds_what_its_scripts_need(pair, made):
    page = held(made)
    assert {one["name"] for one in page["curves"]} == {"a", "b"} and page["curves"][0]["columns"]["total"]
    costs = [point["costs"]["macs"] for point in page["plot"]["points"][:2]]
    assert costs == [count(RunFolder(run).recipe().student.build("students")).image_macs for run in pair]
    assert "MACs of an image" in made.read_text() and "MACs of an image" in made.with_suffix(".md").read_text()
    assert all(uri.startswith("data:image/jpeg;base64,") for uri in page["pictures"])
    assert all(flip["picture"] is not None for one in page["galleries"] for flip in one["flips"])
    assert page["map"]["networks"] == ["teacher", "a", "b"] and len(page["map"]["keys"]) == 40
    for who in ("teacher", "a", "b"):
        assert len(base64.b64decode(page["map"]["places"][who])) == 40 * 4
    assert base64.b64decode(page["map"]["right"]["b"]) == bytes([0] * 5 + [1] * 35)
    text = made.read_text()
    assert "No map" not in text and len(text) < 1e6 and not re.search(r'(src|href)="(?!data:)', text)


def test_the_same_page_every_time(pair, made, tmp_path):
    assert compare.compare(pair, quiet, out=tmp_path).read_bytes() == made.read_bytes()


def test_places_are_packed_with_one_scale():
    words = np.frombuffer(base64.b64decode(packed(np.array([[0.0, 0.0], [4.0, 1.0], [2.0, 0.5]]))), "<u2").reshape(3, 2)
    assert words[:, 0].tolist() == [0, 65535, 32768] and words[1, 1] - words[0, 1] == pytest.approx(65535 / 4, abs=1)


def test_captions_cannot_end_the_script(pair, tmp_path):
    a, b = (shutil.copytree(one, tmp_path / one.name) for one in pair)
    for run in (a, b):
        path = run / "evaluation/retrieval.arrow"
        rows = read_rows(path)
        names = ["</script><script>alert(1)</script>", *rows.answers["student"].names[1:]]
        write_rows(path, replace(rows, answers={who: replace(one, names=names) for who, one in rows.answers.items()}))
    text = compare.compare([a, b], quiet, out=tmp_path / "page", dots=0).read_text()
    assert "<script>alert" not in text and "\\u003c/script>" in text


def test_pictures_are_capped_and_what_is_not_here_is_told(world, pair, made):
    keys = held(made)["map"]["keys"]
    store = str(world / "out/images")
    found = thumbnails({store: keys}, {}, most=3)
    assert len(found.jpegs) == 3 and found.notes[0].startswith("3 of 40 pictures of ")
    assert "are not here" in thumbnails({str(world / "absent"): keys}, {}).notes[0]
    images = world / "corpus/images"
    images.rename(images.with_name("away"))
    try:
        gone = thumbnails({store: keys}, {})
    finally:
        images.with_name("away").rename(images)
    assert not gone.jpegs and len(gone.notes) == 1 and "are not here" in gone.notes[0]


def test_a_map_that_cannot_be_made_is_one_line_on_the_page(pair, tmp_path, monkeypatch):
    a, b = (shutil.copytree(one, tmp_path / one.name) for one in pair)
    assert "No map: none was asked for." in compare.compare([a, b], quiet, out=tmp_path / "1", dots=0).read_text()
    shutil.rmtree(b / "evaluation/features")
    told = compare.compare([a, b], quiet, out=tmp_path / "2").read_text()
    assert f"is not kept; run: distillkit evaluate {b}." in told
    monkeypatch.setitem(sys.modules, "openTSNE", None)
    told = compare.compare(pair, quiet, out=tmp_path / "3").read_text()
    assert "No map: openTSNE is not installed; run: pip install &#34;distillkit[report]&#34;." in told


def test_a_damaged_evaluation_is_one_line(pair, tmp_path, run_cli):
    a, b = (shutil.copytree(one, tmp_path / one.name) for one in pair)
    (a / "evaluation.json").write_text("[")
    assert "evaluation.json: damaged" in refused(run_cli, "compare", a, b, "--out", tmp_path / "page")
    assert not (tmp_path / "page").exists()


def test_an_atlas_has_a_row_an_image(pair, tmp_path, run_cli):
    code, out, err = run_cli("atlas", pair[1], "--out", tmp_path / "atlas.parquet", "--most", 30)
    assert (code, out.strip()) == (0, str(tmp_path / "atlas.parquet")) and "embedding-atlas" in err
    table = pq.read_table(tmp_path / "atlas.parquet")
    assert {"key", "class", "teacher_x", "student_y", "agreement", "cosine", "student_right"} <= set(table.column_names)
    assert table.num_rows == 30 and table["image"][0].as_py()["bytes"][:2] == b"\xff\xd8"
    assert np.isfinite(np.stack([table[name] for name in ("teacher_x", "teacher_y", "student_x", "student_y")])).all()
    assert sum(table["student_right"].to_pylist()) == 26  # all but 5 of 40, at even distances


def test_an_atlas_without_features_is_one_line(pair, tmp_path, run_cli):
    copy = shutil.copytree(pair[0], tmp_path / "copy")
    shutil.rmtree(copy / "evaluation/features")
    assert "no map can be made: " in refused(run_cli, "atlas", copy)
    assert not (copy / "atlas.parquet").exists()


def only(places):
    """Of an evaluation only these items."""

    def change(one):
        columns = {name: column[places] for name, column in one.columns.items()}
        kept = {name: getattr(one, name)[places] for name in ("target", "group", "best")}
        return replace(one, key=list(np.array(one.key)[places]), columns=columns, **kept)

    return change


def at(name):
    """The same evaluation of another store."""
    return lambda made_of: made_of | {"eval": made_of["eval"] | {"store": name}}


ODD = {
    "one item": (only([0]), lambda made_of: made_of, "too few for a map: 1 item"),
    "all right": (
        lambda one: replace(one, columns=one.columns | {"rank": np.ones_like(one.columns["rank"])}),
        lambda made_of: made_of,
        "surest first",
    ),
    "other keys": (
        lambda one: replace(one, key=[f"x{key}" for key in one.key]),
        lambda made_of: made_of,
        "are not here: ",
    ),
    "no store": (lambda one: one, at("nowhere/images"), "the images of nowhere/images are not here: "),
}


@pytest.fixture(scope="module")
def odd(pair, tmp_path_factory):
    """The page of an evaluation that is unlike others, by the name of what is odd."""

    def page(name):
        change, made_of, _ = ODD[name]
        folder = tmp_path_factory.mktemp("odd")
        runs = [shutil.copytree(one, folder / one.name) for one in pair]
        for run in runs:
            path = run / "evaluation/retrieval.arrow"
            rows = read_rows(path)
            answers = {who: change(one) for who, one in rows.answers.items()}
            write_rows(path, replace(rows, answers=answers))
            asked_otherwise(run, "retrieval", made_of)
        return compare.compare(runs, quiet, out=folder / "page")

    return page


@pytest.mark.parametrize("name", ODD)
def test_odd_evaluations_have_a_page_that_says_so(name, odd, tmp_path):
    page = odd(name)
    assert ODD[name][2].lower() in page.read_text().lower()
    assert held(page)["galleries"]
    if chromium() is not None:
        opened = Browser(tmp_path / "profile")
        opened.open(page)
        opened.close()
        assert opened.said == []


@pytest.fixture
def browser(tmp_path):
    if chromium() is None:
        pytest.skip("no Chromium on this machine")
    opened = Browser(tmp_path / "profile")
    yield opened
    opened.close()


# Where the mouse is on the map of that number, and which dots are marked in both.
MARKED = "[...document.querySelectorAll('.map canvas:first-child')].map((one) => [one.dataset.marked, one.dataset.at])"
# Whether something is drawn over the map around a place.
INK = """(([x, y]) => { const over = document.querySelectorAll('.map canvas + canvas')[%d];
  const sharp = over.width / over.clientWidth, edge = Math.round(24 * sharp);
  const data = over.getContext('2d').getImageData(x * sharp - edge / 2, y * sharp - edge / 2, edge, edge).data;
  return data.some((one) => one > 0) && !over.getContext('2d').getImageData(0, 0, 1, 1).data[3]; })([%s])"""


def placed(browser, what):
    """Left, top and width of an element, once it is in sight."""
    browser.run(f"document.querySelector('{what}').scrollIntoView()")
    box = f"document.querySelector('{what}').getBoundingClientRect()"
    return browser.run(f"(({{ left, top, width }}) => [left, top, width])({box})")


def test_the_page_in_a_browser(browser, made):
    browser.open(made)
    # Every picture of every gallery is there.
    shown = browser.run("""(async () => { let bad = 0, all = 0; const pairs = document.getElementById('gallery-pair');
      for (const one of pairs.options) { pairs.value = one.value; pairs.dispatchEvent(new Event('change'));
        for (const image of document.querySelectorAll('#gallery img')) {
          await image.decode(); all++; bad += !image.naturalWidth; } } return [all, bad]; })()""")
    assert shown[0] >= 25 and shown[1] == 0
    # Tables sort, both ways, and filter.
    column = "[...document.querySelectorAll('#changes tbody tr')].map((row) => Number(row.cells[4].dataset.v))"
    press = "document.querySelectorAll('#changes th button')[4].click()"
    browser.run(press)
    down = browser.run(column)
    browser.run(press)
    assert down == sorted(down, reverse=True) and browser.run(column) == sorted(down) and len(set(down)) > 1
    rows = browser.run("""(() => { const box = document.querySelector('[data-filters=tests]'); box.value = 'R@1 better';
      box.dispatchEvent(new Event('input'));
      const rows = [...document.querySelectorAll('#tests tbody tr')];
      return rows.filter((row) => !row.hidden).map((row) => row.innerText); })()""")
    assert rows and all("R@1" in row and "better" in row for row in rows)
    # Curves zoom to what is dragged over.
    left, top, wide = placed(browser, "#curves")
    button = {"button": "left", "buttons": 1, "clickCount": 1}
    browser.point(left + wide * 0.4, top + 80, "mousePressed", **button)
    browser.point(left + wide * 0.7, top + 80, **button)
    browser.point(left + wide * 0.7, top + 80, "mouseReleased", **button)
    zoom = browser.run("document.getElementById('curves').dataset.zoom")
    assert zoom and float(zoom.split()[0]) < float(zoom.split()[1])
    # Pointing at a dot marks its partner.
    x, y, size = placed(browser, ".map canvas")
    found = {}
    for row in range(1, 16):
        for step in range(1, 16):
            mouse = x + size * step / 16, y + size * row / 16
            browser.point(*mouse)
            (one, _), (other, _) = browser.run(MARKED)
            assert one == other
            found |= {one: mouse} if one else {}
    assert len(found) > 10
    browser.point(5, 5)
    assert browser.run(MARKED)[0][0] is None
    assert browser.said == [] and all(one.startswith(("file:", "data:")) for one in browser.asked)
    assert len([one for one in browser.asked if one.startswith("file:")]) == 1
    for dot, mouse in list(found.items())[:8]:  # last, because a browser remarks on pixels that are read back
        browser.point(*mouse)
        (one, _), (_, there) = browser.run(MARKED)
        assert one == dot and browser.run(INK % (1, there.replace(" ", ", ")))


@pytest.mark.parametrize("dark", [False, True])
def test_a_phone_scrolls_down_only(browser, made, dark):
    browser.open(made, 390, 844, dark=dark, phone=True)
    assert browser.run("document.documentElement.scrollWidth") == 390
    assert browser.said == []


@pytest.mark.slow
def test_a_hundred_thousand_dots_are_drawn_between_two_frames(browser, made, tmp_path):
    """In software, on a busy machine: a tenth of a second for a drawing, a thousandth to find a dot."""
    browser.open(made)
    drawn, found = browser.run("""(() => { const n = 100000, places = new Uint16Array(2 * n);
      for (let i = 0; i < 2 * n; i++) places[i] = 65535 * Math.random();
      const map = new DotMap(document.querySelector('.map canvas'), () => {});
      map.show(places);
      const colours = Uint8Array.from({ length: n }, (_, i) => i % 4), times = [];
      for (let k = 0; k < 20; k++) { const t = performance.now();
        map.draw(colours, ['#5653cc', '#0b7f66', '#b8700f', '#9a9a96']); times.push(performance.now() - t); }
      const t = performance.now();
      for (let k = 0; k < 1000; k++) map.nearest(map.size * Math.random(), map.size * Math.random());
      return [times.sort((a, b) => a - b)[10], (performance.now() - t) / 1000]; })()""")
    print(f"a drawing {drawn:.1f} ms, a dot {found:.3f} ms")
    assert drawn < 100 and found < 1


def served(address, seconds=120):
    """What is at an address, as soon as somebody answers there."""
    until = time.monotonic() + seconds
    while True:
        try:
            with urllib.request.urlopen(address, timeout=30) as answer:
                return answer.read()
        except OSError:
            assert time.monotonic() < until, f"nobody answers at {address}"
            time.sleep(0.5)


@pytest.mark.slow
def test_embedding_atlas_opens_what_is_written(pair, tmp_path):
    """Embedding Atlas itself, from PyPI, in an environment of its own: it brings PyTorch, so minutes."""
    program = os.environ.get("EMBEDDING_ATLAS") or shutil.which("embedding-atlas")
    if program is None:
        pytest.skip("no embedding-atlas: pip install it elsewhere, and name it in EMBEDDING_ATLAS")
    path = compare.atlas(pair[1], quiet, out=tmp_path / "atlas.parquet")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    columns = ["--x", "teacher_x", "--y", "teacher_y", "--text", "class", "--disable-projection"]
    process = subprocess.Popen([program, path, *columns, "--host", "127.0.0.1", "--port", str(port), "--no-auto-port"])
    try:
        page = served(f"http://127.0.0.1:{port}/").decode()
        told = json.loads(served(f"http://127.0.0.1:{port}/data/metadata.json"))
        rows = pq.read_table(io.BytesIO(served(f"http://127.0.0.1:{port}/data/dataset.parquet")))
    finally:
        process.terminate()
        process.wait(30)
    assert "Embedding Atlas" in page and "teacher_x" in json.dumps(told)
    assert rows.num_rows == 40 and {"key", "student_x", "agreement", "image"} <= set(rows.column_names)
