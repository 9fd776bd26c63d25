"""Kind E: whatever files and environment a command meets, it ends by itself, and what it cannot do is one line.

The commands are found in the app, so a new one is walked as well (`commands.WORKING` must say how it works).
"""

import errno
import io
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from distillkit import cli
from tests.cli.commands import ANEW, WORKING, all_commands
from tests.cli.conftest import call, without_locks

COMMANDS = sorted(WORKING)
# What is done already is done at once: such commands are walked both ways.
WAYS = [*COMMANDS, *(f"{command}, anew" for command in ANEW)]


def words_of(way):
    """The command of a way, and words with which it ends well."""
    command, _, anew = way.partition(",")
    return command, [*WORKING[command], *(ANEW[command] if anew else ())]


def each_with_each(commands, names):
    """Every command with every name: some of them in the default run, all of them in the slow one."""
    pairs = []
    for at, command in enumerate(commands):
        for number, name in enumerate(names):
            # Mining has a process of its own, which takes seconds.
            seldom = (at + number) % 8 or command.startswith("mine-neighbours")
            marks = [pytest.mark.slow] if seldom else []
            pairs.append(pytest.param(command, name, marks=marks, id=f"{command}-{name[:40]}"))
    return pytest.mark.parametrize(("way", "name"), pairs)


def ended_well(code, out, err):
    """0, or 1 or 2 with a reason that no traceback is part of."""
    assert code in (0, 1, 2), err
    assert "Traceback" not in out + err
    if code == 1 and "error: " in err:
        assert err.splitlines()[-1].startswith("error: "), err
    return code


@pytest.mark.skipif(sys.platform == "darwin", reason="its file systems take no such names")
def test_bytes_that_are_no_text_are_told_as_they_were_typed(student, tmp_path):
    """In a name or a value, as a terminal in Latin-1 sends them; records are UTF-8 and could not hold them."""
    name = os.fsdecode(b"gr\xfcn")
    (tmp_path / name).mkdir()
    recipe = shutil.copy(student.recipe, tmp_path / name / "mine.toml")
    for words in ([recipe], [student.recipe, "--set", f'note="{name}"']):
        code, out, err = student.cli("train-student", *words)
        assert ended_well(code, out, err) == 1 and "gr\\xfcn" in err.splitlines()[-1]
        assert "no text in UTF-8" in err and not (student.run / "recipe.json").exists()


def test_every_command_is_walked():
    assert sorted(name for name, _ in all_commands()) == COMMANDS


@pytest.mark.parametrize("way", WAYS)
def test_the_world_is_one_in_which_commands_work(world, way):
    command, words = words_of(way)
    code, _, err = call(*command.split(), *words)
    assert code == (1 if command == "data check" else 0), err
    assert ("already" in err) == (way in ANEW), err


# Files.


def empty(path):
    path.write_bytes(b"")


def binary(path):
    path.write_bytes(bytes(range(256)) * 40)


def latin(path):
    path.write_bytes('name = "café"\nout = "é"\n'.encode("latin-1"))


def unreadable(path):
    path.symlink_to("/proc/self/mem")  # a file that opens, and whose every read fails


def loop(path):
    path.symlink_to(path)


def deep(path):
    path.write_text("a = " + "[" * 5000 + "]" * 5000)


def long_number(path):
    path.write_text("seed = " + "9" * 5000)


FILES = {
    "absent": lambda path: None,
    "a folder": lambda path: path.mkdir(),
    "below a file": None,
    "empty": empty,
    "binary": binary,
    "latin-1": latin,
    "unreadable": unreadable,
    "a link to itself": loop,
    "nested for ever": deep,
    "a number of 5000 digits": long_number,
    "a name too long": None,
    "no name": None,
}


def hostile(name, folder):
    if name == "below a file":
        (folder / "file").write_text("x")
        return "file/there"
    if name in ("a name too long", "no name"):
        return "n" * 300 if name == "a name too long" else ""
    FILES[name](folder / "hostile.toml")
    return "hostile.toml"


def holes(command, working):
    """Where a word can be put: the places of arguments, and the options that take a value."""
    yield from ([*working[:n], None, *working[n + 1 :]] for n in range(len(working)))
    for parameter in dict(all_commands())[command].params:
        if parameter.param_type_name == "option" and not parameter.is_flag:
            yield [*working, parameter.opts[-1], None]


@each_with_each([one for one in WAYS if words_of(one)[1]], FILES)
def test_files_that_are_not_what_is_asked_for(world, way, name):
    command, working = words_of(way)
    for words in holes(command, working):
        place = hostile(name, world)
        ended_well(*call(*command.split(), *(place if word is None else word for word in words)))
        for path in (Path("hostile.toml"), Path("file")):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)


# Numbers.

NUMBERS = [
    "99999999999999999999",
    "-99999999999999999999",
    "9223372036854775807",
    "9" * 5000,
    "-1",
    "0",
    "1e999",
    "nan",
]
KNOBS = {
    "extract-teacher": ["corpora.0.batch_size", "corpora.0.rows_per_shard", "decode_threads", "corpora.0.max_failures"],
    "mine-neighbours": ["k", "held_out", "seed", "rows_per_shard", "threads", "exact_within"],
    "select-texts": ["k", "min_cosine", "examples"],
    "train-student": [
        "seed",
        "data.batch_size",
        "data.text_batch_size",
        "data.workers",
        "student.embed_dim",
        "student.image_size",
        "optim.epochs",
        "optim.lr",
        "losses.0.temperature",
        "losses.0.weight",
        "log.every_steps",
        "checkpoints.every_steps",
        "checkpoints.keep",
    ],
    "recipe check": ["optim.epochs", "student.embed_dim", "data.batch_size"],
    "store append": ["corpora.0.batch_size"],
}


@each_with_each(KNOBS, NUMBERS)
def test_numbers_that_no_knob_expects(world, way, name):
    plan = ["--plan"] if way in ("train-student", "extract-teacher") else []
    for knob in KNOBS[way]:
        ended_well(*call(*way.split(), *WORKING[way], *plan, "--set", f"{knob}={name}"))


@pytest.mark.parametrize("number", NUMBERS, ids=lambda number: number[:21])
def test_numbers_behind_options(world, number):
    for words in (
        ["store", "view", "out/images", "view", f"--rows=0:{number}"],
        ["store", "view", "out/images", "view", f"--rows=0:9:{number}"],
        ["store", "view", "out/images", "view", f"--labels={number}"],
        ["store", "verify", "out/images", f"--reforward={number}"],
        ["extract-teacher", "extract.toml", f"--shard={number}/{number}"],
    ):
        ended_well(*call(*words))
    if len(number) > 8:
        assert ended_well(*call("mine-neighbours", "mine.toml", f"--max-memory={number}GiB"))


# The environment.


def without_home(monkeypatch):
    def unknown(user):
        raise KeyError(user)

    for variable in ("HOME", "XDG_CACHE_HOME", "DISTILLKIT_CACHE"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)


def hub_at(address):
    def change(monkeypatch):
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", address)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)

    return change


def variable(name, value):
    return lambda monkeypatch: monkeypatch.setenv(name, value)


ENVIRONMENTS = {
    "no home": without_home,
    "no locks: ENOSYS": lambda monkeypatch: without_locks(monkeypatch, errno.ENOSYS),
    "no locks: ENOLCK": lambda monkeypatch: without_locks(monkeypatch, errno.ENOLCK),
    "no locks: EOPNOTSUPP": lambda monkeypatch: without_locks(monkeypatch, errno.EOPNOTSUPP),
    "locks fail: EIO": lambda monkeypatch: without_locks(monkeypatch, errno.EIO),
    "hub without scheme": hub_at("huggingface.co"),
    "hub with a bad port": hub_at("https://huggingface.co:99999"),
    "hub with a port that is no number": hub_at("https://huggingface.co:port"),
    "hub without a name": hub_at("https://"),
    "hub of strange characters": hub_at("https://[::1"),
    "hub with a name too long": hub_at("http://" + "a" * 70 + ".example"),
    "cache is a file": variable("DISTILLKIT_CACHE", "extract.toml"),
    "cache below a file": variable("DISTILLKIT_CACHE", "extract.toml/cache"),
    "cache nowhere": variable("DISTILLKIT_CACHE", "/proc/cache"),
    "threads in words": variable("OMP_NUM_THREADS", "four"),
    "threads without end": variable("OMP_NUM_THREADS", "9" * 30),
    "rank in words": variable("LOCAL_RANK", "first"),
    "world in words": variable("WORLD_SIZE", "all"),
    "world alone": variable("WORLD_SIZE", "2"),
    "local world of none": variable("LOCAL_WORLD_SIZE", "0"),
    "a terminal of no width": variable("COLUMNS", "0"),
}


@each_with_each(WAYS, ENVIRONMENTS)
def test_environments(world, way, name, monkeypatch):
    command, words = words_of(way)
    ENVIRONMENTS[name](monkeypatch)
    ended_well(*call(*command.split(), *words))


def told_in_ascii():
    """The keys and files of a photographer, on a terminal of 1970."""
    return io.TextIOWrapper(io.BytesIO(), encoding="ascii")


@pytest.mark.parametrize("command", ["store failures", "store info", "data list", "store view", "recipe list"])
def test_a_stdout_that_cannot_encode_a_key(world, command, monkeypatch, toy_stores):
    Path("café \u2028.toml").write_text(Path("train.toml").read_text())
    (Path("out") / "images").rename("out/imagés")
    words = [word.replace("out/images", "out/imagés") for word in WORKING[command]]
    ledger = Path("out/imagés/failures/00000.jsonl")
    ledger.parent.mkdir(exist_ok=True)
    stdout = told_in_ascii()
    monkeypatch.setattr(sys, "argv", ["distillkit", *command.split(), *words])
    monkeypatch.setattr(sys, "stdout", stdout)
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert not stopped.value.code
    shown = stdout.buffer.getvalue().decode("ascii")
    assert ("\\xe9" in shown) == (command in ("store info", "recipe list"))


def process(words, **options):
    """A whole process, as a shell starts it."""
    line = [sys.executable, "-m", "distillkit", *words]
    return subprocess.run(line, stderr=subprocess.PIPE, text=True, timeout=120, check=False, **options)


@pytest.mark.parametrize("command", ["store info", "data list"])
def test_a_stdout_that_nobody_reads_or_that_is_full(world, command):
    words = [*command.split(), *WORKING[command]]
    reader, writer = os.pipe()
    os.close(reader)
    closed = process(words, stdout=writer)
    os.close(writer)
    assert closed.returncode in (0, 1) and closed.stderr == ""
    with Path("/dev/full").open("w") as full:
        done = process(words, stdout=full)
    assert done.returncode == 1 and "no space left on device" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_locale_of_few_characters(world):
    """As batch systems have it that set LC_ALL=C, with a Python that is told not to read it as UTF-8."""
    env = os.environ | {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = process(["show", *WORKING["show"]], env=env, stdout=subprocess.PIPE)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_a_user_without_home_and_name(world):
    """In processes that begin so: libraries look for a home when they are imported, too."""
    bare = {name: value for name, value in os.environ.items() if name in ("PATH", "PYTHONPATH", "LANG")}
    for command in ("recipe check", "store info", "extract-teacher", "train-student", "data prepare"):
        options = {"user": 54321, "group": 54321} if os.getuid() == 0 else {}
        done = process([*command.split(), *WORKING[command]], env=bare, stdout=subprocess.PIPE, **options)
        assert "Traceback" not in done.stderr, done.stderr


@pytest.fixture
def read_only(world):
    """A world that this user may read and not write. Root may write anywhere, so it is somebody else for a while."""
    if os.geteuid():
        for path in (world, *world.rglob("*")):
            path.chmod(path.stat().st_mode & ~0o222)
        yield world
        for path in (world, *world.rglob("*")):
            path.chmod(path.stat().st_mode | 0o200)
        return
    with tempfile.TemporaryDirectory() as place:
        Path(place).chmod(0o755)
        shutil.copytree(world, Path(place) / "world")
        os.chdir(Path(place) / "world")
        os.seteuid(65534)
        try:
            yield Path(place) / "world"
        finally:
            os.seteuid(0)
            os.chdir(world)


QUICK = [way for way in WAYS if not way.startswith("mine-neighbours")]
WRITE = ("store view", "store export", "store merge", "select-texts", "data prepare")
FINISHED = ("train-student", "evaluate")  # README: a finished one run again does nothing


@pytest.mark.parametrize("way", QUICK)
def test_a_folder_that_can_only_be_read(read_only, way):
    command, words = words_of(way)
    code, out, err = call(*command.split(), *words)
    ended_well(code, out, err)
    if way in FINISHED:
        assert code == 0 and "already" in err, err
    if command in WRITE or way.endswith("anew"):
        assert code == 1 and ("permission denied" in err.lower() or "not be written" in err), err


@pytest.mark.parametrize("way", QUICK)
def test_a_current_folder_that_is_gone(world, way, tmp_path):
    command, words = words_of(way)
    gone = tmp_path / "gone"
    gone.mkdir()
    os.chdir(gone)
    gone.rmdir()
    try:
        ended_well(*call(*command.split(), *words))
    finally:
        os.chdir(world)


def test_threads_that_cannot_be_started_are_one_line(monkeypatch, capsys):
    """As under a small `ulimit -u`, or in a container that may have few processes."""
    from distillkit.cli.ending import in_one_line

    monkeypatch.delenv("DISTILLKIT_TRACEBACK", raising=False)
    with pytest.raises(SystemExit) as ended, in_one_line():
        raise RuntimeError("can't start new thread")
    err = capsys.readouterr().err
    assert ended.value.code == 1 and err.startswith("error: no thread can be started; raise `ulimit -u`"), err
