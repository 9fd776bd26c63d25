"""A source that draws."""

from collections.abc import Iterator
from io import BytesIO

from PIL import Image

from distillkit.types import Sample


class Drawn:
    """`count` squares, each of its own colour; a location is the colour."""

    root = None

    def __init__(self, *, count: int = 32):
        self.count = count

    def __iter__(self) -> Iterator[Sample]:
        for number in range(self.count):
            red, blue = 8 * (number % 32), 255 - 8 * (number % 32)
            yield Sample(f"square-{number}", image=f"{red:02x}00{blue:02x}")

    def read(self, location: str) -> bytes:
        packed = BytesIO()
        Image.new("RGB", (16, 16), f"#{location}").save(packed, "PNG")
        return packed.getvalue()
