"""Bytes to pixels: whatever a corpus holds becomes the right RGB image or one SourceError, never something between."""

import gc
import io
import random
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image
from PIL.PngImagePlugin import PngInfo

from distillkit.errors import SourceError
from distillkit.pixels import centre_view, decode, pillow, render
from distillkit.pixels.pillow import header_of_file
from distillkit.types import View

ORIENTATION = 0x0112

# Pillow talks about damaged files; distillkit.pixels silences it, but pytest has warning filters of its own.
pytestmark = pytest.mark.filterwarnings("ignore:::PIL")


def noise(height=24, width=32, seed=0):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def encoded(image, kind="PNG", **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def rotated(quarter):
    exif = Image.Exif()
    exif[ORIENTATION] = quarter
    return exif


def sixteen(values, kind="PNG"):
    return encoded(Image.fromarray(np.array(values, dtype=np.uint16)), kind)


def png_header(width, height):
    """A PNG that claims a size and holds nothing."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def refused(image, **options):
    """The message of the refusal, which is one line."""
    with pytest.raises(SourceError) as caught:
        decode(image, **options)
    assert str(caught.value) and "\n" not in str(caught.value)
    return str(caught.value)


def first_pixel(image):
    return decode(image).getpixel((0, 0))


# What is damaged is refused.


def test_what_is_no_image_is_refused(tmp_path):
    assert "not an image" in refused(b"")
    assert "not an image" in refused(b"<html>404</html>")
    assert "not an image" in refused(
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n"
    )  # Pillow would run Ghostscript
    (tmp_path / "empty.png").write_bytes(b"")
    assert "not an image" in refused(tmp_path / "empty.png")
    assert "No such file" in refused(tmp_path / "absent.png")
    assert "Is a directory" in refused(tmp_path)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
def test_a_truncated_image_is_refused_and_never_partly_grey(kind):
    whole = encoded(noise(), kind)
    pixels_of_whole = np.asarray(decode(whole))
    for length in range(len(whole)):
        try:
            image = decode(whole[:length])
        except SourceError:
            continue
        # Some files end in bytes that say nothing about pixels; without them the picture must be all there.
        assert length > 0.8 * len(whole)
        np.testing.assert_array_equal(np.asarray(image), pixels_of_whole)


def corrupted(random, data):
    """A valid file after a few accidents."""
    data = bytearray(data)
    for _ in range(random.choice((1, 1, 2, 5, 20))):
        at = random.randrange(min(len(data), random.choice((64, 256, len(data)))))
        accident = random.randrange(4)
        if accident == 0:
            data[at] ^= 1 << random.randrange(8)
        elif accident == 1:
            del data[at : at + random.randrange(1, 9)]
        elif accident == 2:
            data[at:at] = random.randbytes(random.randrange(1, 9))
        else:
            data[at : at + 4] = random.choice((b"\xff\xff\xff\xff", bytes(4), b"\x7f\xff\xff\xff", b"\0\0\0\1"))
        if len(data) < 8:
            break
    return bytes(data)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("JPEG", {"exif": rotated(6)}),
        ("JPEG", {"progressive": True}),
        ("PNG", {"exif": rotated(3)}),
        ("WEBP", {}),
        ("WEBP", {"save_all": True, "append_images": [noise(seed=1)]}),
        ("GIF", {"save_all": True, "append_images": [noise(seed=1)]}),
        ("BMP", {}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("TIFF", {"compression": "jpeg"}),
        ("PPM", {}),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value) or "plain",
)
def test_nothing_but_source_errors_ever_escapes(kind, options):
    draw, whole, answers = random.Random(f"{kind} {sorted(options)}"), encoded(noise(), kind, **options), set()
    for _ in range(300):
        try:
            image = decode(corrupted(draw, whole))
        except SourceError as error:
            assert "\n" not in str(error)
            answers.add("refused")
        else:
            assert image.mode == "RGB"
            answers.add("decoded")
    assert "refused" in answers  # the accidents were no harmless ones


# Bombs are refused before anything is decoded.


@pytest.mark.parametrize("size", [(20_000, 20_000), (2**31 - 1, 1000), (12_000, 8_000)])
def test_decompression_bombs_are_refused_by_their_header(size, monkeypatch):
    monkeypatch.setattr(Image.Image, "load", lambda *_: pytest.fail("it was decoded"))
    limit = 90_000_000
    assert "pixels" in refused(png_header(*size), max_pixels=limit)


def test_the_limit_is_exact():
    image = encoded(noise(10, 12))
    assert decode(image, max_pixels=120).size == (12, 10)
    assert "12 x 10 pixels, more than the limit of 119" in refused(image, max_pixels=119)


def test_a_line_is_a_bomb_too():
    """Scaled to 224 on its short side it would be 5 billion pixels."""
    assert "times the other" in refused(encoded(Image.new("RGB", (100_000, 1))))
    assert "times the other" in refused(encoded(Image.new("RGB", (2, 1001))))
    assert decode(encoded(Image.new("RGB", (2, 1000)))).size == (2, 1000)


def test_pillows_own_refusal_and_warning_are_source_errors_too(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    assert "DecompressionBombError" in refused(encoded(noise()))


# Every mode becomes the right RGB.


def test_sixteen_bits_are_scaled_not_clipped():
    values = [[0, 257, 32768, 65535]]
    for kind in ("PNG", "TIFF"):
        assert [pixel[0] for pixel in np.asarray(decode(sixteen(values, kind)))[0]] == [0, 1, 128, 255]


def test_a_dark_sixteen_bit_image_stays_dark():
    """Its white is 65535 whatever it holds: 200 of 65535 is black, not light grey."""
    assert np.asarray(decode(sixteen([[0, 100, 200, 255]]))).max() == 1


def test_sixteen_bit_colours_keep_their_high_byte():
    big_endian = np.array([[[0x1234, 0xFFFF, 0x8000]]], dtype=">u2").tobytes()
    assert first_pixel(b"P6\n1 1\n65535\n" + big_endian) in ((0x12, 255, 0x80), (0x12, 255, 0x7F))


def test_floats_are_grey_from_0_to_1_and_nothing_else():
    def tiff(values):
        return encoded(Image.fromarray(np.array([values], dtype=np.float32)), "TIFF")

    assert np.asarray(decode(tiff([0, 0.5, 1])))[0, :, 0].tolist() == [0, 128, 255]
    for bad in ([0, 2], [-1, 0], [np.nan, 0], [np.inf, 0]):
        assert "outside 0 to 1" in refused(tiff(bad))


def test_32_bit_integers_that_do_not_say_what_is_white_are_refused():
    assert "outside 0 to 65535" in refused(encoded(Image.fromarray(np.array([[0, 70_000]], dtype=np.int32)), "TIFF"))


def test_transparency_is_laid_on_white():
    rgba = Image.new("RGBA", (2, 1), (255, 0, 0, 255))
    rgba.putpixel((0, 0), (0, 0, 0, 0))
    half = Image.new("RGBA", (1, 1), (0, 0, 0, 128))
    for kind in ("PNG", "WEBP"):
        assert first_pixel(encoded(rgba, kind, **({"lossless": True} if kind == "WEBP" else {}))) == (255, 255, 255)
    assert first_pixel(encoded(half)) == (127, 127, 127)
    assert first_pixel(encoded(half.convert("LA"))) == (127, 127, 127)


@pytest.mark.parametrize("kind", ["PNG", "GIF"])
def test_transparent_palette_entries_are_white(kind):
    image = Image.new("P", (2, 1), 1)
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putpixel((0, 0), 0)
    decoded = decode(encoded(image, kind, transparency=0))
    assert [decoded.getpixel((x, 0)) for x in (0, 1)] == [(255, 255, 255), (40, 50, 60)]


def test_transparent_colours_of_grey_images_are_white():
    assert np.asarray(decode(encoded(Image.fromarray(np.array([[7, 9]], np.uint8)), transparency=7)))[
        0, :, 0
    ].tolist() == [255, 9]
    wide = encoded(Image.fromarray(np.array([[0x0700, 0x0900]], np.uint16)), transparency=0x0700)
    assert np.asarray(decode(wide))[0, :, 0].tolist() == [255, 9]


def test_cmyk_jpegs_are_converted():
    red, green, blue = first_pixel(encoded(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG"))
    assert red > 240 and green < 15 and blue < 15


@pytest.mark.parametrize("mode", ["1", "L", "P", "YCbCr"])
def test_other_modes_are_converted(mode):
    kind = "JPEG" if mode == "YCbCr" else "PNG"
    colour = {"1": 1, "L": 200, "P": 0, "YCbCr": (200, 128, 128)}[mode]
    decoded = decode(encoded(Image.new(mode, (8, 8), colour), kind))
    assert decoded.mode == "RGB" and len(set(decoded.getpixel((0, 0)))) == 1


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_of_an_animation_the_first_frame_is_taken(kind):
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "lime", "blue")]
    options = {"lossless": True} if kind == "WEBP" else {}
    animated = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    assert first_pixel(animated) == (255, 0, 0)


@pytest.mark.parametrize("quarter", range(1, 9))
def test_the_exif_rotation_is_applied(quarter):
    upright = Image.new("RGB", (16, 32), "white")
    upright.paste("black", (0, 0, 8, 8))
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = upright.transpose(undo[quarter]) if quarter in undo else upright
    decoded = decode(encoded(stored, exif=rotated(quarter)))
    np.testing.assert_array_equal(np.asarray(decoded), np.asarray(upright))


def test_damaged_exif_does_not_cost_the_image():
    image = encoded(noise(), exif=b"Exif\0\0MM\0\x2a\0\0\0\x08\xff\xff")
    np.testing.assert_array_equal(np.asarray(decode(image)), np.asarray(noise()))


def test_the_content_counts_and_not_the_extension(tmp_path):
    (tmp_path / "really a png.jpg").write_bytes(encoded(noise()))
    np.testing.assert_array_equal(np.asarray(decode(tmp_path / "really a png.jpg")), np.asarray(noise()))


def test_one_pixel_is_an_image():
    assert decode(encoded(Image.new("RGB", (1, 1), (1, 2, 3)))).getpixel((0, 0)) == (1, 2, 3)


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs /proc")
def test_files_are_closed(tmp_path):
    frames = encoded(noise(), "GIF", save_all=True, append_images=[noise(seed=1)])
    for name, content in (("good.gif", frames), ("bad.gif", frames[:300]), ("bomb.png", png_header(60_000, 60_000))):
        (tmp_path / name).write_bytes(content)

    def open_files():
        return sum(1 for _ in Path("/proc/self/fd").iterdir())

    gc.disable()
    try:
        before = open_files()
        kept = decode(tmp_path / "good.gif")
        refused(tmp_path / "bad.gif")
        refused(tmp_path / "bomb.png")
        assert open_files() == before and kept.size == (32, 24)
    finally:
        gc.enable()


def test_the_limit_is_one_that_pillow_lets_us_reach():
    assert Image.MAX_IMAGE_PIXELS is None or 2 * Image.MAX_IMAGE_PIXELS >= pillow.MAX_PIXELS


# Pixels to the network.


@pytest.mark.parametrize("name", ["bilinear", "bicubic"])
def test_the_whole_box_is_pillows_resize(name):
    want = noise().resize((8, 8), pillow.INTERPOLATIONS[name])
    np.testing.assert_array_equal(render(noise(), View(), 8, name).transpose(1, 2, 0), np.asarray(want))


def test_a_box_of_whole_pixels_is_a_crop():
    shown = render(noise(24, 32), View((0.25, 0.5, 0.5, 0.5 + 8 / 24)), 8)
    np.testing.assert_array_equal(shown.transpose(1, 2, 0), np.asarray(noise(24, 32))[12:20, 8:16])


def test_boxes_are_exact_between_pixels():
    """A ramp, a quarter of a pixel further right, is a quarter of a step brighter."""
    ramp = Image.fromarray(np.tile((np.arange(64) * 4).astype(np.uint8)[None, :, None], (64, 1, 3)))
    one = render(ramp, View((16 / 64, 0.25, 48 / 64, 0.75)), 32).astype(int)
    two = render(ramp, View((16.25 / 64, 0.25, 48.25 / 64, 0.75)), 32).astype(int)
    assert (two - one == 1).all()


def test_a_flip_mirrors_left_and_right():
    plain, flipped = (render(noise(), View((0.1, 0.2, 0.9, 0.8), flip), 16) for flip in (False, True))
    np.testing.assert_array_equal(flipped, plain[:, :, ::-1])
    assert flipped.flags.c_contiguous and flipped.dtype == np.uint8 and flipped.shape == (3, 16, 16)


def test_rendering_changes_nothing_and_repeats():
    image, view = noise(), View((0.1, 0.2, 0.9, 0.8), True)
    first = render(image, view, 16)
    first_copy = first.copy()
    first += 1
    np.testing.assert_array_equal(render(image, view, 16), first_copy)
    np.testing.assert_array_equal(np.asarray(image), np.asarray(noise()))


@pytest.mark.parametrize(
    ("size", "box"), [((4, 2), (0.25, 0, 0.75, 1)), ((2, 4), (0, 0.25, 1, 0.75)), ((3, 3), (0, 0, 1, 1))]
)
def test_the_clean_view_is_the_largest_centred_square(size, box):
    assert centre_view(*size).box == pytest.approx(box)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "TIFF"])
@pytest.mark.parametrize("held", range(1, 9))
def test_a_header_tells_the_size_that_decode_gives(tmp_path, form, held):
    camera = Image.Exif()
    camera[ExifTags.Base.Orientation] = held
    picture = tmp_path / f"picture.{form.lower()}"
    Image.new("RGB", (8, 4)).save(picture, exif=camera)
    for file in (picture, io.BytesIO(picture.read_bytes())):
        header = header_of_file(file)
        assert header == (8, 4, held) and header.upright == decode(picture).size


def test_a_tiff_is_as_wide_as_its_pixels_lie_in_any_version_of_pillow(tmp_path, monkeypatch):
    """10.3 tells of a TIFF the size that is in the file, newer ones that which it will have."""
    camera, file = Image.Exif(), tmp_path / "picture.tiff"
    camera[ExifTags.Base.Orientation] = 6
    Image.new("RGB", (8, 4)).save(file, exif=camera)
    for told in ((8, 4), (4, 8)):
        monkeypatch.setattr("PIL.TiffImagePlugin.TiffImageFile.size", told)
        assert header_of_file(file) == (8, 4, 6)


@pytest.mark.parametrize("name", ["exif", "Raw profile type exif", "XML:com.adobe.xmp"])
@pytest.mark.parametrize("behind", [False, True])
def test_a_text_of_a_png_may_say_how_it_was_held(name, behind):
    camera = Image.Exif()
    camera[ExifTags.Base.Orientation] = 6
    data = camera.tobytes()
    says = {"exif": data, "Raw profile type exif": f"\nexif\n{len(data):8}\n{data.hex()}".encode()}
    says = b"tEXt" + name.encode() + b"\0" + says.get(name, b"")
    if name.startswith("XML"):
        says = b"iTXt" + name.encode() + b"\0" * 5 + b'<x tiff:Orientation="6"/>'
    part = struct.pack(">I", len(says) - 4) + says + struct.pack(">I", zlib.crc32(says))
    made = io.BytesIO()
    Image.new("RGB", (8, 4)).save(made, "PNG")
    place = len(made.getvalue()) - 12 if behind else 33
    picture = made.getvalue()[:place] + part + made.getvalue()[place:]
    assert header_of_file(io.BytesIO(picture)) == (8, 4, 6) and decode(picture).size == (4, 8)


def test_of_a_png_that_does_not_say_how_it_was_held_no_pixel_is_read(tmp_path, monkeypatch):
    """Camera data may come behind the pixels; a PNG is looked through for it, and not decoded."""
    camera = Image.Exif()
    camera[ExifTags.Base.Orientation] = 6
    said = io.BytesIO()
    Image.new("RGB", (8, 4)).save(said, "PNG", exif=camera)
    start = said.getvalue().index(b"eXIf") - 4
    size = 12 + struct.unpack_from(">I", said.getvalue(), start)[0]
    bare, chunk = said.getvalue()[:start] + said.getvalue()[start + size :], said.getvalue()[start : start + size]
    behind = bare[:-12] + chunk + bare[-12:]
    assert header_of_file(io.BytesIO(behind)) == (8, 4, 6) and decode(behind).size == (4, 8)
    text = PngInfo()
    text.add_text("date:create", "2024-01-01")  # as ImageMagick writes into every one
    dated = io.BytesIO()
    Image.new("RGB", (8, 4)).save(dated, "PNG", pnginfo=text)
    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", lambda self: pytest.fail("decoded"))
    assert header_of_file(io.BytesIO(bare)) == header_of_file(dated) == (8, 4, 1)
    assert header_of_file(io.BytesIO(bare[:-20])) is None
