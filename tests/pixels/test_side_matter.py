"""Kind G: what lies beside the pixels costs no picture, whichever way it is decoded; broken pixels stay refused."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from distillkit.errors import SourceError
from distillkit.pixels import decode, side_matter
from distillkit.pixels.tensors import decode_tensor
from tests.pixels.test_pillow import encoded, noise, rotated

PICTURE = noise(12, 16)


def chunk(kind, data, checksum=None):
    checksum = zlib.crc32(kind + data) if checksum is None else checksum
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)


def png(*more, end=None):
    """The picture, with chunks between its header and its pixels."""
    whole = encoded(PICTURE)
    end = whole[-12:] if end is None else end
    return whole[:33] + b"".join(more) + whole[33:-12] + end


def segment(marker, data):
    return struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data


def jpeg(*more, **options):
    whole = encoded(PICTURE, "JPEG", quality=90, **options)
    return whole[:2] + b"".join(more) + whole[2:]


def exif(*entries, orientation=None):
    """A JPEG's camera data with these raw entries (tag, type, count, value or offset)."""
    listed = [*([(0x0112, 3, 1, orientation)] if orientation else []), *entries]
    made = struct.pack("<2sHIH", b"II", 42, 8, len(listed)) + b"".join(struct.pack("<HHII", *one) for one in listed)
    return segment(0xE1, b"Exif\0\0" + made + bytes(4))


def with_text(**kinds):
    info = PngImagePlugin.PngInfo()
    for kind, content in kinds.items():
        getattr(info, f"add_{kind}")("Comment", content, zip=True)
    return encoded(PICTURE, pnginfo=info)


LONG = "a long story " * 200_000
SIDE = {
    "a text that unpacks to more than 1 MB": with_text(text=LONG),
    "an international one": with_text(itxt=LONG),
    "a profile above 1 MB": encoded(PICTURE, icc_profile=bytes(3 * 2**20)),
    "a profile that is none": png(chunk(b"iCCP", b"x\0\0" + b"no zlib")),
    "a checksum of a text": png(chunk(b"tEXt", b"Comment\0hello", 0)),
    "a checksum of a time": png(chunk(b"tIME", bytes(7), 1)),
    "a checksum of the end": png(end=chunk(b"IEND", b"", 5)),
    "camera data in a PNG": png(chunk(b"eXIf", b"II*\0" + b"\xff" * 40)),
    "numbers of a camera": jpeg(exif((0x011A, 5, 1, 10**9), (0x8298, 2, 2**31, 7), (0x8769, 4, 1, 2**31))),
    "numbers of a type that is none": jpeg(exif((0x0100, 77, 3, 4), (0x8825, 9, 1, 0xFFFFFFFF))),
    "camera data that is none": jpeg(segment(0xE1, b"Exif\0\0" + b"\xff" * 30)),
    "an index of previews": jpeg(segment(0xE2, b"MPF\0" + b"\xff" * 30)),
    "an index of previews that leads nowhere": jpeg(segment(0xE2, b"MPF\0II*\0\x08\0\0\0\x05\0" + b"\x07" * 60)),
    "a resolution of 1/0": jpeg(exif((0x0128, 3, 1, 2), (0x011A, 5, 1, 8))),
}


@pytest.mark.parametrize("kind", SIDE)
@pytest.mark.parametrize("way", ["pil", "torchvision"])
def test_it_costs_no_picture(kind, way):
    data = SIDE[kind]
    want = encoded(PICTURE, "JPEG", quality=90) if data.startswith(b"\xff\xd8") else encoded(PICTURE)
    make = decode if way == "pil" else lambda given: decode_tensor(given).permute(1, 2, 0).numpy()
    assert np.array_equal(np.asarray(make(data)), np.asarray(make(want)))


def test_what_was_dropped_is_told_once():
    side_matter.was_dropped()
    decode(encoded(PICTURE))
    assert not side_matter.was_dropped()
    decode(SIDE["a text that unpacks to more than 1 MB"])
    assert side_matter.was_dropped() and not side_matter.was_dropped()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_is_upright_whatever_else_its_camera_wrote(orientation):
    odd = jpeg(exif((0x8298, 2, 2**31, 7), (0x0100, 77, 3, 4), orientation=orientation))
    plain = encoded(PICTURE, "JPEG", quality=90, exif=rotated(orientation))
    assert np.array_equal(np.asarray(decode(odd)), np.asarray(decode(plain)))
    assert decode_tensor(odd).shape == decode_tensor(plain).shape


@pytest.mark.parametrize("way", [decode, decode_tensor])
def test_broken_pixels_are_no_side_matter(way):
    whole = with_text(text=LONG)
    at = whole.index(b"IDAT")
    for data in (
        whole[: at + 40],  # cut within its pixels, behind a text that is too long
        whole[:20] + bytes([whole[20] ^ 255]) + whole[21:],  # another width
        whole[: at + 4] + b"\xff" * 30 + whole[at + 34 :],
        jpeg(segment(0xE2, b"MPF\0" + b"\xff" * 30))[:-200],
    ):
        with pytest.raises(SourceError) as caught:
            way(data)
        assert "\n" not in str(caught.value) and "not an image" not in str(caught.value)


def test_transparency_and_how_a_picture_was_held_are_kept():
    palette = PICTURE.convert("P")
    clear = encoded(palette, transparency=3)
    broken = clear[:33] + chunk(b"tEXt", b"Comment\0hello", 0) + clear[33:]
    assert np.array_equal(np.asarray(decode(broken)), np.asarray(decode(clear)))
    held = encoded(PICTURE, exif=rotated(6))
    broken = held[:33] + chunk(b"tEXt", b"Comment\0hello", 0) + held[33:]
    assert decode(broken).size == decode(held).size == (PICTURE.height, PICTURE.width)


def test_what_is_neither_png_nor_jpeg_is_left_alone():
    out = io.BytesIO()
    Image.new("RGB", (4, 4)).save(out, "BMP")
    assert list(side_matter.without(out.getvalue())) == []
