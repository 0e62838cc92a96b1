"""The floors: imports never point upwards, names say something, files stay short."""

import ast
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FLOORS = {
    "engine": {"engine", "numpy"},
    "schemas": {
        "schemas",
        "engine",
        "latex2mathml",
        "numpy",
        "orjson",
        "pybase64",
        "pydantic",
        "pydantic_core",
        "typing_extensions",
        "simdjson",
    },
}
PRODUCT = ("engine", "schemas", "app")
EMPTY_NAMES = {"utils", "util", "helpers", "helper", "common", "misc", "base", "core", "services"}
LONGEST_FILE = 500

SOURCES = sorted(
    path.relative_to(ROOT)
    for folder in (*PRODUCT, "tests", "benchmarks", "examples")
    for path in (ROOT / folder).rglob("*.py")
)


def imported_packages(source: str) -> Iterator[str]:
    """The top-level package of every import, in functions and type-checking blocks too; "." for a relative one."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield (node.module or "").partition(".")[0] if node.level == 0 else "."


def misplaced_imports(floor: str, source: str) -> set[str]:
    """What `source` imports and its floor may not."""
    return {
        package
        for package in imported_packages(source)
        if package not in FLOORS[floor] and package not in sys.stdlib_module_names
    }


@pytest.mark.parametrize("path", [p for p in SOURCES if p.parts[0] in FLOORS], ids=str)
def test_imports_never_point_upwards(path: Path) -> None:
    assert misplaced_imports(path.parts[0], (ROOT / path).read_text()) == set()


@pytest.mark.parametrize(
    ("floor", "source", "misplaced"),
    [
        ("engine", "import schemas.tensors", "schemas"),
        ("engine", "from pydantic import BaseModel", "pydantic"),
        ("engine", "def late():\n    import orjson", "orjson"),
        ("engine", "from ..schemas import tensors", "."),
        ("schemas", "from app.settings import settings", "app"),
        ("schemas", "if TYPE_CHECKING:\n    from fastapi import Request", "fastapi"),
    ],
)
def test_an_import_that_points_upwards_is_seen(floor: str, source: str, misplaced: str) -> None:
    assert misplaced_imports(floor, f"import math\n{source}") == {misplaced}


@pytest.mark.parametrize("folder", PRODUCT)
def test_every_floor_has_sources(folder: str) -> None:
    assert [path for path in SOURCES if path.parts[0] == folder]


def test_the_product_does_not_import_its_tests() -> None:
    for path in SOURCES:
        if path.parts[0] in PRODUCT:
            assert {"tests", "benchmarks", "examples"}.isdisjoint(imported_packages((ROOT / path).read_text())), path


def test_the_passes_over_the_network_ask_no_types() -> None:
    names = {n.id for n in ast.walk(ast.parse((ROOT / "engine/network.py").read_text())) if isinstance(n, ast.Name)}
    assert "isinstance" not in names


def test_every_file_has_a_name_that_says_something() -> None:
    assert [path for path in SOURCES if EMPTY_NAMES & {path.stem, *path.parent.parts}] == []


def test_files_stay_short() -> None:
    lines = {path: len((ROOT / path).read_text().splitlines()) for path in SOURCES}
    assert {path: count for path, count in lines.items() if count > LONGEST_FILE} == {}


def test_every_dependency_is_pinned_by_name_and_version_alone() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pins = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert [pin for pin in pins if "://" in pin or "@" in pin or pin.count("==") != 1] == []
    pinned = {pin.partition("==")[0].lower().replace("_", "-") for pin in pins}
    wanted = [*project["dependencies"], *project["optional-dependencies"]["test"]]
    assert {name.partition("[")[0].partition(">")[0] for name in wanted} <= pinned
