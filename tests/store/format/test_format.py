"""FORMAT.md is true: its code runs against a store where distillkit cannot be imported, its JSON is what is written."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch

from distillkit.store.format import layout
from distillkit.store.format.encode import encode
from distillkit.store.format.field import Field
from distillkit.store.format.manifest import Manifest, Shard
from distillkit.store.format.steps import Steps
from distillkit.store.reading.reader import FeatureStore

FORMAT = (Path(layout.__file__).parents[1] / "FORMAT.md").read_text("utf-8")


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", FORMAT, re.DOTALL | re.MULTILINE)


def test_its_code_runs_without_distillkit(toy):
    code = "\n".join(blocks("python")).replace('"stores/demo/images"', repr(str(toy.path)))
    assert len(blocks("python")) == 5 and str(toy.path) in code
    block = "import sys; sys.modules['distillkit'] = None\n"
    done = subprocess.run([sys.executable, "-c", block + code + "\nprint(digest)"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    key, norm, digest = done.stdout.split()
    assert key == "k0000" and np.isclose(float(norm), np.linalg.norm(toy.arrays["toy/image"][0].astype("f4")))
    assert digest == Manifest.read(toy.path).digest


def test_its_numbers_are_what_our_reader_gives(make_toy):
    """Of every dtype, with rows that failed."""
    fields = {
        f"toy/{dtype}": Field(teacher="toy", shape=[32], dtype=dtype)
        for dtype in ("float16", "float32", "bfloat16", "int8", "int32", "uint8")
    }
    toy = make_toy(fields=fields)
    toy.arrays["toy/bfloat16"] = encode(torch.randn(150, 32), fields["toy/bfloat16"]).rows
    writer = toy.writer(rows_per_shard=128)
    writer.steps = {"toy/int8": Steps.of(torch.randn(100, 32))}
    writer.begin()
    toy.write(rows_per_shard=128)
    scope = {}
    exec("\n".join(blocks("python")[:3]).replace('"stores/demo/images"', repr(str(toy.path))), scope)
    for name in fields:
        want = FeatureStore(toy.path).read(name, np.arange(150))
        want = want.float() if want.is_floating_point() else want
        np.testing.assert_allclose(scope["numbers"](name, slice(None)), want.numpy(), rtol=1e-6)


def test_its_code_notices_damage(toy):
    path = toy.path / "toy/text/c/0/0"
    raw = bytearray(path.read_bytes())
    raw[0] ^= 1
    path.write_bytes(raw)
    code = "\n".join(blocks("python")).replace('"stores/demo/images"', repr(str(toy.path)))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr.rstrip().endswith("AssertionError")


def test_its_metadata_is_what_is_written():
    assert json.loads(blocks("json")[1]) == layout.array_metadata(
        70, 64, Field(teacher="toy", shape=[32], dtype="float16")
    )


def test_its_ledger_line_has_the_keys_that_are_written(toy):
    assert json.loads(blocks("json")[0]).keys() == FeatureStore(toy.path).failures()[0].keys()


def test_it_names_every_key_of_the_manifest_and_every_file(toy):
    manifest = FORMAT.partition("## Manifest")[2].partition("It is JSON")[0]
    named = set(re.findall(r"`(\w+)`", manifest))
    assert set(Manifest.model_fields) | set(Shard.model_fields) | set(Field.model_fields) <= named
    assert f'"version"]) == ("distillkit", {Manifest.read(toy.path).version})' in FORMAT
    top = {path.relative_to(toy.path).parts[0] for path in toy.path.rglob("*") if path.is_file()} - {"toy"}
    assert all(f"`{name}" in FORMAT for name in top)
