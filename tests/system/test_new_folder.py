"""A new folder is made by one process at a time, and what is there is left alone."""

import subprocess
import sys

import pytest

from distillkit.errors import ExportError
from distillkit.system.locks import locked
from distillkit.system.new_folder import new_folder, refuse_name_of_a_file

# Says "made" or why not; its folder has 20 files with its own number in each.
MAKER = """
import sys, time
from pathlib import Path
from distillkit.errors import ExportError
from distillkit.system.new_folder import new_folder
print("ready", flush=True)
sys.stdin.readline()
try:
    with new_folder(Path(sys.argv[1]), ExportError) as partial:
        for number in range(20):
            (partial / str(number)).write_text(sys.argv[2])
            time.sleep(0.002)
    print("made")
except ExportError as refusal:
    print(refusal)
"""


def test_of_many_at_once_one_makes_it_and_nothing_is_mixed(tmp_path):
    place = tmp_path / "deep/made"
    command = [sys.executable, "-c", MAKER, str(place)]
    makers = [
        subprocess.Popen([*command, str(number)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for number in range(4)
    ]
    for maker in makers:
        assert maker.stdout.readline() == "ready\n"
    for maker in makers:
        maker.stdin.write("go\n")
        maker.stdin.flush()
    told = [maker.communicate()[0].strip() for maker in makers]
    assert told.count("made") == 1
    others = [line for line in told if line != "made"]
    assert all("another process is making it" in line or "is there already" in line for line in others), told
    assert {file.read_text() for file in place.iterdir()} == {str(told.index("made"))}
    assert len([*place.iterdir()]) == 20 and [*place.parent.iterdir()] == [place]


def test_what_is_there_is_left_alone_though_it_leads_nowhere(tmp_path):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to("nowhere")
    for name in ("file", "link"):
        with pytest.raises(ExportError, match=f"{name}: is there already"), new_folder(tmp_path / name, ExportError):
            pass
    assert (tmp_path / "file").read_text() == "mine" and (tmp_path / "link").is_symlink()


def test_a_refusal_leaves_no_lock_and_another_may_make_it(tmp_path):
    with pytest.raises(ValueError, match="stop"), new_folder(tmp_path / "made", ExportError):
        raise ValueError("stop")
    assert list(tmp_path.iterdir()) == []
    with new_folder(tmp_path / "made", ExportError) as partial:
        (partial / "one").write_text("1")
    assert [path.name for path in tmp_path.rglob("*")] == ["made", "one"]


def test_a_lock_whose_file_was_removed_keeps_nobody_out(tmp_path):
    """Who opened it before, and gets it after, would be alone with a file that nobody else sees."""
    lock = tmp_path / "lock"
    with locked(lock, leave=False) as first:
        assert first
        with locked(lock, wait=False, leave=False) as second:
            assert not second
        assert lock.exists()  # it is not the second's to remove
    assert not lock.exists()
    with locked(lock) as again:
        assert again
    assert lock.exists()


def test_a_folder_is_not_named_as_a_file_is(tmp_path):
    with pytest.raises(ExportError, match=r"/m\.onnx: a folder of files is made; name it \S+/m, or not$"):
        refuse_name_of_a_file(tmp_path / "m.onnx", ExportError, (".onnx",), ", or not")
    for name in ("m", "m.v1", ".onnx", "onnx"):
        refuse_name_of_a_file(tmp_path / name, ExportError, (".onnx",))
