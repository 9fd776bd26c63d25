"""Memory for decoded images: what threads decode at once stays below the limit, and no pixel changes."""

import io
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from distillkit.errors import SourceError
from distillkit.pixels import decode, room
from distillkit.pixels.jpegs import opened
from distillkit.pixels.pillow import MAX_PIXELS
from distillkit.pixels.tensors import decode_tensor


@pytest.fixture
def held(monkeypatch):
    """A budget of 60,000 bytes, and the most that was ever held of it."""
    room.limit_to(60_000)
    most, budget = [0], room._room

    for name in ("take", "add"):
        real = getattr(budget, name)

        def noting(size, real=real):
            real(size)
            most[0] = max(most[0], budget._held)

        monkeypatch.setattr(budget, name, noting)
    yield most
    assert budget._held == 0
    room.limit_to(None)


def image(width, height, kind="PNG", mode="RGB"):
    made = io.BytesIO()
    pixels = np.random.default_rng(width).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).convert(mode).save(made, kind)
    return made.getvalue()


@pytest.mark.parametrize("way", [decode, decode_tensor])
def test_threads_hold_no_more_than_the_limit(held, way):
    files = [image(50, 40, "JPEG"), image(64, 64, "JPEG"), image(30, 30), image(40, 30, mode="RGBA")] * 6
    before = [np.asarray(way(file)) for file in files]

    def look(file):
        with room.room():
            return np.asarray(way(file)).copy()

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(look, files))
    assert all(np.array_equal(*pair) for pair in zip(before, found, strict=True))
    assert 64 * 64 * 8 <= held[0] <= 60_000


def test_what_is_too_large_is_decoded_all_the_same(held):
    large = image(200, 200)
    with ThreadPoolExecutor(4) as pool:
        assert all(one.size == (200, 200) for one in pool.map(decode, [large] * 4))
    assert held[0] == 200 * 200 * 8  # one alone


def test_a_room_lasts_until_its_end_and_lets_more_in_without_waiting(held):
    with room.room():
        decode(image(80, 80)), decode(image(80, 80))
        assert room._room._held == 2 * 80 * 80 * 8  # more than the limit, and nobody waits for himself
        with room.room():
            pass
        assert room._room._held == 2 * 80 * 80 * 8
    assert room._room._held == 0


def test_a_damaged_image_gives_back_what_it_took(held):
    with room.room(), pytest.raises(SourceError):
        decode(image(80, 80)[:2000])
    assert room._room._held == 0


def test_the_default_is_a_quarter_of_what_is_free(monkeypatch):
    monkeypatch.setattr(room, "available_memory", lambda: 4000)
    room.limit_to(None)
    assert room.limit() == 1000
    monkeypatch.setattr(room, "available_memory", lambda: 0)
    room.limit_to(None)
    assert room.limit() == 1 << 30
    room.limit_to(None)


@pytest.mark.parametrize("way", [decode, decode_tensor, opened])
def test_the_limit_of_pixels_can_be_set(way):
    file = image(50, 40, "JPEG")
    assert way(file, max_pixels=2000) is not None
    with pytest.raises(SourceError, match="50 x 40 pixels, more than the limit of 1999"):
        way(file, max_pixels=1999)
    assert MAX_PIXELS == 178_956_970  # as docs say


def test_a_jpeg_can_be_decoded_at_a_part_of_its_size():
    file = image(400, 320, "JPEG")
    assert [decode(file, reduced_to=least).size for least in (None, 321, 161, 160, 80, 1)] == [
        (400, 320),
        (400, 320),
        (400, 320),
        (200, 160),
        (100, 80),
        (50, 40),
    ]
    assert decode(image(400, 320), reduced_to=1).size == (400, 320)  # no JPEG


LEFT = """
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from distillkit.pixels import decode, room
from distillkit.system.cpu import settle

def private():
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("RssAnon"))
    return int(line.split()[1]) / 1000

def look(data):
    with room.room():
        decode(data).resize((8, 8))

settle()
room.limit_to(100_000_000)
data = Path(sys.argv[1]).read_bytes()
look(data)
before = private()
with ThreadPoolExecutor(8) as pool:
    list(pool.map(look, [data] * 32))
    print(private() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="measured on Linux")
def test_what_threads_leave_behind_goes_back_to_the_system(tmp_path):
    """An arena for each thread would keep 8 x 36 MB; one or two images at a time take no more than the limit."""
    Image.new("RGB", (3000, 3000), "red").save(tmp_path / "large.jpg")
    left = subprocess.run(
        [sys.executable, "-c", LEFT, tmp_path / "large.jpg"], capture_output=True, text=True, check=True
    )
    assert float(left.stdout) < 110
