"""The order of the rooms, read from the imports: data flows one way, and each room imports only from rooms above it."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import rem_release

PACKAGE = Path(rem_release.__file__).parent
ORDER = [
    *(
        "__init__",
        "plain_text",
        "tokens",
        "errors",
        "paths",
        "plain_yaml",
        "radius",
        "resources",
        "atomic_files",
        "versions",
        "method_names",
    ),
    *("recipe_files", "core", "models", "data", "training", "threats", "methods", "recipe", "recipe_changes"),
    *("release", "verdict", "verification", "audit", "hub", "gate"),
    *("console", "commands", "bench", "reproduce", "ending", "arguments", "cli", "__main__"),
]
"""From the foundation up to the door. A room may import those before it in this list, and itself."""
BARE = {"core": {"torch", "torchvision"}, "models": {"torch", "torchvision"}}
BARE["training"] = {*BARE["core"], "accelerate", "numpy", "safetensors"}
"""Third-party packages of the rooms that run on a bare GPU machine; numpy and safetensors come with accelerate."""


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def is_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def imports(path: Path) -> Iterator[str]:
    """Full names of all that a module imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            assert node.module is not None
            # `from rem_release import x` imports the room x
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def project_rooms(path: Path) -> set[str]:
    """The rooms that a module imports; what is no room is a name of the package itself."""
    found = {name.split(".")[1] for name in imports(path) if name.startswith("rem_release.")}
    return {name if name in ORDER else "__init__" for name in found}


def third_party(path: Path) -> set[str]:
    return {name.split(".")[0] for name in imports(path)} - {"rem_release"} - sys.stdlib_module_names


def test_every_module_stands_in_a_room() -> None:
    assert {room_of(path) for path in modules()} == set(ORDER)


@pytest.mark.parametrize("room", ORDER)
def test_a_room_imports_only_rooms_above_it(room: str) -> None:
    allowed = set(ORDER[: ORDER.index(room) + 1])
    for path in modules():
        if room_of(path) == room:
            assert project_rooms(path) <= allowed, path


@pytest.mark.parametrize("room", BARE)
def test_rooms_for_a_bare_machine_import_nothing_more(room: str) -> None:
    for path in modules():
        if room_of(path) == room:
            assert third_party(path) <= BARE[room], path
            assert project_rooms(path) <= {"__init__", "errors", "tokens", "atomic_files", *BARE}, path


def test_the_foundation_and_core_are_light() -> None:
    for path in modules():
        if room_of(path) in ("__init__", "plain_text", "tokens", "errors", "paths", "radius", "resources"):
            assert not third_party(path), path
        if room_of(path) == "atomic_files":
            assert third_party(path) <= {"numpy"}, path
        if room_of(path) == "plain_yaml":
            assert third_party(path) <= {"yaml"}, path
        if room_of(path) == "recipe":
            assert third_party(path) <= {"pydantic", "yaml"}, path
        if room_of(path) == "core":
            assert project_rooms(path) <= {"core"}, path


def test_nothing_heavy_is_imported_at_the_door() -> None:
    """`cli.py` imports what a command needs inside that command, or for types only."""
    tree = ast.parse((PACKAGE / "cli.py").read_text(encoding="utf-8"))
    at_once = [node for node in tree.body if not is_for_types(node)]
    names = {
        name.split(".")[0] if not name.startswith("rem_release") else name
        for node in at_once
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for name in ([node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names])
    }
    assert names - sys.stdlib_module_names <= {"typer", "rem_release.errors", "rem_release.arguments"}


def test_core_has_no_files_clock_printing_or_global_random_numbers() -> None:
    forbidden = {"open", "print", "manual_seed", "rand", "randn", "randint", "randperm", "uniform_", "normal_"}
    for path in modules():
        if room_of(path) != "core":
            continue
        assert not {name.split(".")[0] for name in imports(path)} & {"time", "random", "pathlib", "os", "io"}, path
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                assert called not in forbidden, f"{path}:{node.lineno} calls {called}"


def test_no_module_is_called_utils() -> None:
    assert not [path for path in modules() if path.stem == "utils"]
