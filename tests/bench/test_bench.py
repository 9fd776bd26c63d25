"""Benchmarks cannot rot: every row runs at tiny sizes in the default tests."""

import importlib

import pytest

from tests.bench.__main__ import names, table


@pytest.mark.parametrize("name", names())
def test_rows_run_and_print(name, tmp_path):
    rows = importlib.import_module(f"tests.bench.{name}").run(tmp_path, quick=True)
    assert rows and all(row.ratio > 0 for row in rows)
    assert all(row.name in table(rows) for row in rows)
