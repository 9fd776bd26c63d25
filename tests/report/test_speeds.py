"""Speeds as a table: every number beside how many times better it is than the first network's."""

from distillkit.parity.speed import Speed
from distillkit.report.speeds import table

TEACHER = Speed("teacher", "torch", 100_000_000, 400_000_000, 0.040, 50.0, 0.010, 400.0, is_teacher=True)
STUDENT = Speed("runs/x", "onnx", 4_000_000, 20_000_000, 0.002, 1000.0)


def test_ratios_are_times_better_and_what_is_not_there_is_a_dash():
    head, _, first, second, _, told = table([TEACHER, STUDENT], 32, 2, {"cpu": "Some CPU"}).splitlines()
    cells = [cell.strip() for cell in second.strip("|").split("|")]
    assert "images/s, 32 at once" in head and "(" not in first
    assert cells[:4] == ["runs/x", "onnx", "2 ms (20x)", "1,000 (20x)"]
    assert cells[4:] == ["–", "–", "4 MB (25x)", "20 MB (20x)"]
    assert told == "On Some CPU, 2 threads; in brackets, times better than teacher in torch."


def test_columns_of_towers_that_nobody_has_are_left_out():
    assert "text" not in table([STUDENT], 8, 1, {"cpu": "Some CPU"})
