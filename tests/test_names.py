"""Every name that our code looks up exists. The linter cannot tell: shapes in annotations look like names to it."""

import ast
import builtins
import dis
import pkgutil
import types
from importlib import import_module

import distillkit


def looked_up(code):
    """Global names that a function, or what is defined within it, reads when it runs."""
    names = {one.argval for one in dis.get_instructions(code) if one.opname == "LOAD_GLOBAL"}
    return names.union(*(looked_up(part) for part in code.co_consts if isinstance(part, types.CodeType)))


def annotated(tree):
    """Names in the annotations of arguments, results and values; shapes are strings and no names."""
    for node in ast.walk(tree):
        found = [getattr(node, "annotation", None), getattr(node, "returns", None)]
        yield from (name.id for one in found if one for name in ast.walk(one) if isinstance(name, ast.Name))


def bound(tree):
    """Names that an import or an assignment binds anywhere, as for the type checker alone."""
    imports = (node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom))
    assigned = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    return assigned | {(alias.asname or alias.name).split(".")[0] for node in imports for alias in node.names}


def test_every_name_that_is_looked_up_or_annotated_is_there():
    missing = []
    for found in pkgutil.walk_packages(distillkit.__path__, "distillkit."):
        if found.name.endswith("__main__"):
            continue
        module = import_module(found.name)
        source = module.__loader__.get_source(found.name)
        tree, known = ast.parse(source), vars(module).keys() | vars(builtins).keys()
        lost = looked_up(compile(source, module.__file__, "exec")) - known
        lost |= set(annotated(tree)) - known - bound(tree)
        missing += [f"{found.name}: {name}" for name in sorted(lost)]
    assert missing == []
