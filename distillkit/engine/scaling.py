"""Hours, disk and cost of a large extraction, from rates that were measured or published elsewhere: pure arithmetic.

    python -m distillkit.engine.scaling --images-per-second 312

Work divides evenly over GPUs because shards do not know of each other; what is left out is the last, half-filled round.
"""

from __future__ import annotations

import argparse

from distillkit.engine.cost import duration
from distillkit.system.wording import size

# Multiply-adds of CLIP ViT-L/14: 162 GFLOP an image at 224 pixels, 13.3 GFLOP a text of 77 tokens.
_TEXTS_PER_IMAGE = 162 / 13.3
_ROW_BYTES = 768 * 2


def table(images: float, texts: float, rate: float, price: float, decoded: float) -> list[str]:
    """A Markdown table. `rate`: images a second of a GPU, `price`: of its hour, `decoded`: images a second and core."""
    lines = ["| GPUs | time | disk | CPU cores that decode | cost |", "|---|---|---|---|---|"]
    for gpus in (1, 8, 64):
        seconds = (images / rate + texts / (rate * _TEXTS_PER_IMAGE)) / gpus
        cores, cost = -(-rate * gpus // decoded), seconds * gpus / 3600 * price
        disk = size((images + texts) * _ROW_BYTES)
        lines.append(f"| {gpus} | {duration(seconds)} | {disk} | {cores:.0f} | {cost:,.0f} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=float, default=40e6)
    parser.add_argument("--texts", type=float, default=28e6)
    parser.add_argument("--images-per-second", type=float, required=True, help="of one GPU")
    parser.add_argument("--price", type=float, default=2.0, help="of one GPU for an hour")
    parser.add_argument("--decoded-per-second", type=float, default=213, help="images of one CPU core")
    given = parser.parse_args()
    lines = table(given.images, given.texts, given.images_per_second, given.price, given.decoded_per_second)
    print("\n".join(lines))  # noqa: T201


if __name__ == "__main__":
    main()
