"""The product has no circular imports, neither while modules are loaded nor inside functions."""

from __future__ import annotations

from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter

import pytest

from tests.test_layering import ROOT, imports_of, product_files

LATE_BY_COST = {
    "avatars/importers/networks.py": "looks for networks in other people's files, with torch",
    "launch.py": "has only the standard library before there is an environment",
    "pipeline/registry.py": "settings read its table at each start, and face formats bring OpenCV along",
    "portal/app.py": "MCP is an extra",
    "portal/commands/arguments.py": "`--help` answers without the library of avatars",
    "portal/commands/cli.py": "its parts each load what one command needs: `--help` answers at once",
    "portal/intake/uploads.py": "what decodes media is loaded when media come",
}
"""File -> why its functions import modules of ours, apart from modules that load torch or gradio."""
HEAVY = {"torch", "gradio"}
Graph = dict[str, set[str]]


@dataclass(frozen=True)
class House:
    """The imports of a set of files, as file -> imported files."""

    eager: Graph
    "imports that run when the file is loaded"
    late: Graph
    "these, and the imports inside functions"
    heavy: set[str]
    "files that load a package of HEAVY themselves"


def house_of(sources: dict[str, str]) -> House:
    """Build the graphs. sources: file -> its text."""
    files = {file.removesuffix(".py").removesuffix("/__init__").replace("/", "."): file for file in sources}
    house = House({}, {}, set())
    for file, source in sources.items():
        house.eager[file], house.late[file] = set(), set()
        for one in imports_of(source, file):
            if one.package in HEAVY and not one.lazy:
                house.heavy.add(file)
            # `from a.b import c` imports either the module a.b.c, or a name from the module a.b.
            imported = files.get(one.module) or files.get(one.module.rpartition(".")[0])
            if imported and imported != file:
                house.late[file].add(imported)
                if not one.lazy:
                    house.eager[file].add(imported)
    return house


@pytest.fixture(scope="module")
def house() -> House:
    return house_of({file: (ROOT / file).read_text(encoding="utf-8") for file in product_files()})


def circle_in(graph: Graph) -> list[str]:
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        circle: list[str] = error.args[1]
        return circle
    return []


def loads(graph: Graph, file: str, wanted: set[str], seen: set[str]) -> bool:
    """Whether loading a file also loads one of the wanted files."""
    if file in wanted:
        return True
    seen.add(file)
    return any(loads(graph, other, wanted, seen) for other in graph[file] if other not in seen)


def test_the_product_has_no_import_circle(house: House) -> None:
    """No module imports itself indirectly, and no import in a function hides a circle."""
    assert circle_in(house.late) == []


def test_imports_in_functions_have_a_reason(house: House) -> None:
    """A function imports a module of ours only where that loads torch or gradio, or where the table says why."""
    unexplained = [
        f"{file} imports {imported} in a function"
        for file in house.late
        if file not in LATE_BY_COST
        for imported in house.late[file] - house.eager[file]
        if not loads(house.eager, imported, house.heavy, set())
    ]
    assert unexplained == []


def test_the_reasons_are_needed(house: House) -> None:
    """The table lists no file whose functions import nothing of ours any more."""
    assert [file for file in LATE_BY_COST if house.late[file] == house.eager[file]] == []


@pytest.mark.parametrize(
    "first",
    [
        "import avatars.b",
        "from avatars import b",
        "from avatars.b import name",
        "def f():\n    from avatars.b import name",
        "class A:\n    def f(self):\n        import avatars.b",
    ],
)
def test_a_circle_is_found(first: str) -> None:
    """Two files that import each other are found, whichever way the import is written."""
    two = house_of({"avatars/a.py": first, "avatars/b.py": "from avatars.a import name"})
    assert set(circle_in(two.late)) == {"avatars/a.py", "avatars/b.py"}


def test_what_only_the_type_checker_sees_is_no_import() -> None:
    """An import for annotations only does not close a circle."""
    only_types = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from avatars.b import Name"
    two = house_of({"avatars/a.py": only_types, "avatars/b.py": "from avatars.a import name"})
    assert circle_in(two.late) == []
