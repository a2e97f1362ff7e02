"""Holds the structure of the package: who may import whom, and where a method's name may decide anything."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "alm_prompt"
FILES = sorted(PACKAGE.rglob("*.py"))

# From the ground up. A file may import from the floors below its own and from its own room.
FLOORS = (
    ("errors", "versions", "cache", "distributed", "files", "yaml_text"),
    ("registry", "outputs"),
    ("audio", "losses", "prompts", "hub"),
    ("data",),
    ("models",),
    ("methods",),
    ("loading",),
    ("training",),
    ("evaluation", "export"),
    ("pipelines",),
    ("__init__",),
    ("cli",),
    ("__main__",),
)
FLOOR_OF_ROOM = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in FILES}


def room_of(module: str) -> str:
    """Return the folder or file directly under the package in which a module lives."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def absolute(node: ast.ImportFrom, module: str) -> str:
    """Return the full name a `from ... import` refers to, relative imports resolved against `module`."""
    if node.level == 0:
        return node.module or ""
    package = module if MODULES[module].name == "__init__.py" else module.rpartition(".")[0]
    parent = package.rsplit(".", node.level - 1)[0]
    return f"{parent}.{node.module}" if node.module else parent


class WithoutTypeChecking(ast.NodeTransformer):
    """Drops `if TYPE_CHECKING:` blocks: names for annotations, never imported when the program runs."""

    def visit_If(self, node: ast.If) -> ast.AST | list[ast.stmt]:
        if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            return node.orelse
        return self.generic_visit(node)


def imported_modules(module: str, annotations: bool = True) -> Iterator[str]:
    """Yield every module that `module` imports anywhere in its text, at the top or inside a function."""
    tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))
    for node in ast.walk(tree if annotations else WithoutTypeChecking().visit(tree)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            source = absolute(node, module)
            for alias in node.names:
                name = f"{source}.{alias.name}"
                yield name if name in MODULES else source


def own_imports(module: str, annotations: bool = True) -> set[str]:
    """Return the modules of this package that `module` imports."""
    names = imported_modules(module, annotations)
    return {name for name in names if name.split(".")[0] == PACKAGE.name} - {module}


def test_every_room_has_a_floor() -> None:
    assert {room_of(module) for module in MODULES} <= set(FLOOR_OF_ROOM)


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_downwards(module: str) -> None:
    room = room_of(module)
    upward = {
        name
        for name in own_imports(module)
        if room_of(name) != room and FLOOR_OF_ROOM[room_of(name)] >= FLOOR_OF_ROOM[room]
    }
    assert not upward, f"{module} imports from its own floor or above: {sorted(upward)}"


def test_no_circular_imports() -> None:
    graph = {module: own_imports(module, annotations=False) & set(MODULES) for module in MODULES}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"circular imports: {' -> '.join(reversed(error.args[1]))}")


@pytest.mark.parametrize("module", MODULES)
def test_package_does_not_import_what_stands_beside_it(module: str) -> None:
    beside = {"tests", "examples", "benchmarks", "conftest"}
    assert not {name for name in imported_modules(module) if name.split(".")[0] in beside}


@pytest.mark.parametrize("module", [module for module in MODULES if room_of(module) != "methods"])
def test_only_methods_decide_by_method_name(module: str) -> None:
    names = {path.parent.name for path in (PACKAGE / "methods").glob("*/__init__.py")}
    tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))
    compared = {
        constant.value.lower().removeprefix("alm_")
        for node in ast.walk(tree)
        if isinstance(node, ast.Compare | ast.match_case)
        for constant in ast.walk(node if isinstance(node, ast.Compare) else node.pattern)
        if isinstance(constant, ast.Constant) and isinstance(constant.value, str)
    }
    assert not compared & names, f"{module} branches on the name of a method: {sorted(compared & names)}"


@pytest.mark.parametrize("module", [module for module in MODULES if room_of(module) != "registry"])
def test_only_the_registry_touches_pefts_tables(module: str) -> None:
    text = MODULES[module].read_text(encoding="utf-8")
    tables = ("register_peft_method", "PEFT_TYPE_TO_")
    assert not [table for table in tables if table in text]
