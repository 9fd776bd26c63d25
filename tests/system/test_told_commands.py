"""Commands that people are told can be pasted as they stand: whatever goes into one goes in as one word."""

import ast
import shlex
from pathlib import Path

import pytest
import typer

import distillkit
from distillkit.cli import app
from distillkit.system.wording import as_word

PACKAGE = Path(distillkit.__file__).parent
_END = (";", ",", "`", "\n", "(", ")", ": ", "  ", "<")  # where words that follow a command are no part of it
_QUOTING = {"as_word", "quote", "join"}  # join: shlex.join
# Where a value is words of the program's own.
_OURS = {"command", "words", "step.run"}


def commands(group=None, before=()):
    """All that may stand behind `distillkit`, as "store view"."""
    group = group or typer.main.get_command(app)
    for name, one in group.commands.items():
        if hasattr(one, "commands"):
            yield from commands(one, (*before, name))
        else:
            yield " ".join((*before, name))


COMMANDS = sorted(commands(), key=len, reverse=True)


def told(parts):
    """Values that stand within a command: parts are texts, or expressions."""
    within = named = False
    for part in parts:
        if isinstance(part, str):
            *before, last = part.split("distillkit ")
            named = bool(last)
            within = (within if not before else not named or last.startswith(tuple(COMMANDS))) and not ended(last)
        elif within and named:
            yield part.value if isinstance(part, ast.FormattedValue) else part
        else:
            named = True  # what stands where a command's name is, is one


def ended(text):
    """Whether words that stand behind this are no part of a command any more."""
    return any(end in text for end in _END)


def safe(value, function):
    """Whether a value cannot fall into several words: quoted, constant, a number, or a name for one of these."""
    match value:
        case ast.Constant():
            return True
        case ast.IfExp(body=one, orelse=other):
            return safe(one, function) and safe(other, function)
        case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name), args=given):
            mapped = any(isinstance(one, ast.Call) and ast.unparse(one).startswith("map(as_word, ") for one in given)
            return name in _QUOTING and (mapped or not ast.unparse(value).startswith(("' '.join", "'; '.join")))
        case ast.JoinedStr(values=parts):
            return all(safe(part, function) for part in parts)
        case ast.FormattedValue(value=inner, format_spec=spec):
            return spec is not None or safe(inner, function)
        case ast.Name(id=name):
            made = [
                one.value
                for one in ast.walk(function)
                if isinstance(one, ast.Assign) and any(isinstance(t, ast.Name) and t.id == name for t in one.targets)
            ]
            return name in _OURS or (bool(made) and all(safe(one, function) for one in made))
    return ast.unparse(value) in _OURS


def parts_of(node):
    """The texts and values of an f-string, or of a sum of texts."""
    match node:
        case ast.JoinedStr(values=parts):
            return [one.value if isinstance(one, ast.Constant) else one for one in parts]
        case ast.BinOp(op=ast.Add(), left=left, right=right):
            return [*parts_of(left), *parts_of(right)]
        case ast.Constant(value=str(text)):
            return [text]
    return [node]


def loose(source):
    """Lines of a program in which a command has a value that may fall into several words."""
    tree = ast.parse(source)
    functions = [one for one in ast.walk(tree) if isinstance(one, ast.FunctionDef)] + [tree]
    found = {}
    for function in functions:
        for node in ast.walk(function):
            if isinstance(node, ast.JoinedStr | ast.BinOp):
                for value in told(parts_of(node)):
                    good = safe(value, function) or safe(value, tree)
                    found[node.lineno, ast.unparse(value)] = found.get((node.lineno, ast.unparse(value)), False) or good
    return [f"{line}: {value}" for (line, value), good in found.items() if not good]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('f"run: distillkit store verify {path}"', ["1: path"]),
        ('f"{path}: run: distillkit store verify {as_word(path)}"', []),
        ('f"distillkit store view {as_word(a)} HELD --other-than {b}"', ["1: b"]),
        ('f"distillkit store failures STORE; {path} is damaged"', []),
        ('f"distillkit reads {version}"', []),
        ("f\"distillkit compare {' '.join(runs)}\"", ["1: ' '.join(runs)"]),
        ("f\"distillkit compare {' '.join(map(as_word, runs))}\"", []),
        ('"next: distillkit evaluate " + str(run)', ["1: str(run)"]),
        ('"next: distillkit evaluate " + as_word(run)', []),
    ],
)
def test_what_is_looked_for_is_found(line, expected):
    assert loose(line) == expected


def test_whatever_goes_into_a_command_goes_in_as_one_word():
    found = {path.relative_to(PACKAGE).as_posix(): loose(path.read_text()) for path in PACKAGE.rglob("*.py")}
    assert {name: lines for name, lines in found.items() if lines} == {}, "put values in with as_word"


def test_templates_tell_no_command_with_a_value_in_it():
    """A value of a template cannot be quoted there; commands come to it whole, see report/commands.py."""
    for path in (path for path in PACKAGE.rglob("*") if path.suffix in (".html", ".md")):
        for piece in path.read_text().split("distillkit ")[1:]:
            if any(piece.startswith(name) for name in COMMANDS):
                command = min((piece.partition(end)[0] for end in (*_END, "</")), key=len)
                assert "{{" not in command, f"{path.name}: distillkit {command}"


def test_a_word_is_itself_where_a_shell_would_read_it_so():
    for plain in ("runs/a@0", "stores/demo/images", "s3://bucket/a-b_c.d", "a=b"):
        assert as_word(plain) == plain
    for odd in ("sp ace/r", 'q"uote', "it's", "a;b", "$HOME/x", "", "#x", "a*b"):
        assert shlex.split(f"distillkit evaluate {as_word(odd)}")[2:] == [odd]
