"""Small files that unpack to far more than memory: refused or read on, in little memory."""

import gzip
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

READ = """
import resource, sys
from distillkit.errors import SourceError
from distillkit.sources import {kind}
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    source = {make}
    {use}
except SourceError as error:
    print(error, file=sys.stderr)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def memory_and_refusal(kind, make, use):
    """KiB that reading takes at most, and what is said of it."""
    code = READ.format(kind=kind, make=make, use=use)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300)
    return int(done.stdout.split()[-1]), done.stderr


def packed(path, codec, part, times):
    one = gzip.compress(part) if codec == "gzip" else pa.compress(part, codec=codec, asbytes=True)
    path.write_bytes(one * times)  # members and frames, one behind the other, are one stream
    return path


KINDS = {
    "textlines": "textlines.TextLines(file='{path}')",
    "csv": "csv.Csv(file='{path}')",
    "jsonl": "jsonl.Jsonl(file='{path}')",
}
CODECS = pytest.mark.parametrize(("codec", "ending"), [("gzip", "gz"), ("zstd", "zst")])


@CODECS
@pytest.mark.parametrize("kind", KINDS)
def test_a_packed_list_that_is_one_line_is_refused_in_little_memory(kind, codec, ending, tmp_path):
    path = packed(tmp_path / f"list.{kind}.{ending}", codec, b"x" * 2**20, 512)
    assert path.stat().st_size < 2 * 2**20
    taken, told = memory_and_refusal(kind, KINDS[kind].format(path=path), "sum(1 for _ in source)")
    assert told.count("\n") == 1 and f"{path}:1: a line of more than 67108864 bytes; is this a text file?" in told
    assert taken < 400 * 1024


@CODECS
def test_a_packed_list_of_many_lines_is_read_in_little_memory(codec, ending, tmp_path):
    path = packed(tmp_path / f"list.txt.{ending}", codec, (b"x" * (2**18 - 1) + b"\n") * 4, 256)
    use = "assert sum(1 for _ in source) == 1024"
    taken, told = memory_and_refusal("textlines", KINDS["textlines"].format(path=path), use)
    assert told == "" and taken < 100 * 1024


@pytest.mark.parametrize("struct", [False, True], ids=["bytes", "struct"])
def test_a_parquet_file_of_one_value_repeated_is_read_in_little_memory(struct, tmp_path):
    """A value that is stored once and named 4,096 times: 128 GiB of pictures in a small file."""
    rows, value = 4096, bytes(32 * 2**20 - 2**13) + np.random.default_rng(0).bytes(2**13)
    images = pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, "i4")), pa.array([value]))
    kind = pa.binary()
    if struct:
        images = pa.StructArray.from_arrays([images, pa.nulls(rows, pa.string())], ["bytes", "path"])
        kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    path = tmp_path / "0.parquet"
    table = pa.table({"image": images})
    pq.write_table(table, path, compression="zstd", store_schema=False)
    assert path.stat().st_size < 2**20 and pq.ParquetFile(path).schema_arrow.field("image").type == kind
    use = "assert [len(source.read(one.image)) for one in list(source)[:6]] == [32 * 2**20] * 6"
    taken, told = memory_and_refusal("parquet", f"parquet.Parquet(root='{tmp_path}')", use)
    assert told == "" and taken < 600 * 1024
