"""How the house is kept, in figures: sizes of modules and functions, what is typed, commented and caught.

    python -m tests.benchmarks.house [--root FOLDER] [--longest N]

It reads the product's Python files as text and runs none of them; tests and the client's package are left out. Beside
each figure stands that of the reading of 2026-11-28 (commit afe5810), after which the house was put in order. Code that
stands twice is counted by the command `duplicates`, where a machine has it: pairs of six lines or more, and those of
them that are the same to the letter. They are counted in the product (with its scripts, styles and clients), and in the
whole tree with its tests. Data classes begin alike (decorator, name, a sentence, fields), so pairs that share no more
than that are named apart.
"""

from __future__ import annotations

import argparse
import ast
import io
import re
import shutil
import statistics
import subprocess
import tempfile
import tokenize
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.test_import_circles import circle_in, house_of
from tests.test_layering import LAUNCHERS, LAYERS, ROOT

__all__ = ["BEFORE", "Reading", "figures_of", "read"]

BEFORE = {
    "modules": "180",
    "lines of modules: all, median, longest": "23800, 120, 434",
    "functions": "1575",
    "lines of functions: median, 9 of 10, longest": "6, 17, 81",
    "functions of over 50 lines": "not counted",
    "arguments and results with a type, %": "100",
    "Any": "214",
    "bare excepts": "0",
    "broad excepts: explained, not": "26, 0",
    "comments in 100 lines": "1.1",
    "public functions with a docstring, %": "69",
    "most methods of a class": "28",
    "most attributes of a class": "23",
    "modules in an import circle": "2",
    "pairs of six lines or more: all, to the letter": "49, 11",
    "the same in the product alone": "31, 6",
    "of these, heads of data classes": "11",
}
"""The reading of afe5810. Empty modules do not count in the median."""
BROAD = {"Exception", "BaseException"}
PAIRS = re.compile(r"(\d+) pairs? .*\((\d+) by shape alone")
PLACES = re.compile(r"^D\d+ (\S+):(\d+)-(\d+) ~ (\S+):(\d+)-(\d+)", re.MULTILINE)
Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(slots=True)
class Reading:
    """What was counted."""

    sources: dict[str, str] = field(default_factory=dict)
    "file -> its text"
    modules: dict[str, int] = field(default_factory=dict)
    "file -> lines"
    functions: dict[str, int] = field(default_factory=dict)
    "file:line name -> lines, with its docstring"
    methods: dict[str, int] = field(default_factory=dict)
    "class -> how many"
    attributes: dict[str, int] = field(default_factory=dict)
    "class -> how many are set by its methods"
    any_names: int = 0
    bare: list[str] = field(default_factory=list)
    explained: list[str] = field(default_factory=list)
    unexplained: list[str] = field(default_factory=list)
    slots: int = 0
    "arguments and results that could have a type"
    typed: int = 0
    public: int = 0
    described: int = 0
    comments: int = 0


def product(root: Path) -> Iterator[Path]:
    """The product's Python files below a checkout's folder."""
    for layer in LAYERS:
        yield from sorted((root / layer).rglob("*.py"))
    yield from (root / f"{one}.py" for one in LAUNCHERS if (root / f"{one}.py").exists())


def read(files: Iterable[Path], root: Path) -> Reading:
    """Count in these files; they are named from `root`."""
    reading = Reading()
    for path in files:
        source = path.read_text(encoding="utf-8")
        file = path.relative_to(root).as_posix()
        lines = source.splitlines()
        reading.sources[file] = source
        reading.modules[file] = len(lines)
        tokens = tokenize.generate_tokens(io.StringIO(source).readline)
        reading.comments += sum(token.type == tokenize.COMMENT for token in tokens)
        for node in ast.walk(ast.parse(source)):
            _count(node, file, lines, reading)
    return reading


def _count(node: ast.AST, file: str, lines: Sequence[str], reading: Reading) -> None:
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            _count_function(node, file, reading)
        case ast.ClassDef():
            name = f"{file} {node.name}"
            methods = [one for one in node.body if isinstance(one, Function)]
            reading.methods[name] = len(methods)
            reading.attributes[name] = len({one for method in methods for one in _set_by(method)})
        case ast.Name(id="Any") | ast.Attribute(attr="Any"):
            reading.any_names += 1
        case ast.ExceptHandler(type=None):
            reading.bare.append(f"{file}:{node.lineno}")
        case ast.ExceptHandler(type=caught) if caught is not None and _is_broad(caught):
            where = reading.explained if _has_comment(node, lines) else reading.unexplained
            where.append(f"{file}:{node.lineno}")


def _count_function(node: Function, file: str, reading: Reading) -> None:
    reading.functions[f"{file}:{node.lineno} {node.name}"] = (node.end_lineno or node.lineno) - node.lineno + 1
    arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    arguments += [one for one in (node.args.vararg, node.args.kwarg) if one]
    typed = [one.annotation is not None for one in arguments if one.arg not in ("self", "cls")]
    typed.append(node.returns is not None)
    reading.slots += len(typed)
    reading.typed += sum(typed)
    if not node.name.startswith("_"):
        reading.public += 1
        reading.described += ast.get_docstring(node) is not None


def _set_by(method: Function) -> Iterator[str]:
    """Names of the attributes of `self` that a method sets."""
    for node in ast.walk(method):
        match node:
            case ast.Attribute(value=ast.Name(id="self"), attr=name, ctx=ast.Store()):
                yield name


def _is_broad(caught: ast.expr) -> bool:
    return any(isinstance(name, ast.Name) and name.id in BROAD for name in ast.walk(caught))


def _has_comment(handler: ast.ExceptHandler, lines: Sequence[str]) -> bool:
    """On its own line, or on one of its own between it and what it does."""
    return any(
        "#" in line for line in lines[handler.lineno - 1 : handler.body[0].lineno - 1] or [lines[handler.lineno - 1]]
    )


def pairs_in_product(root: Path) -> dict[str, str]:
    """As pairs_in(), of a copy without all that is no product; and how many of them are heads of data classes."""
    with tempfile.TemporaryDirectory(prefix="house-") as copy:
        for part in (*LAYERS, "clients"):
            if (root / part).is_dir():
                shutil.copytree(root / part, Path(copy) / part, ignore=shutil.ignore_patterns("__pycache__"))
            elif (root / f"{part}.py").exists():
                shutil.copy(root / f"{part}.py", copy)
        answer = _duplicates(Path(copy))
        return {
            "the same in the product alone": pairs_in(answer),
            "of these, heads of data classes": str(sum(_is_head(Path(copy), row) for row in PLACES.findall(answer))),
        }


def _duplicates(root: Path) -> str:
    """What the command says; empty where a machine has none."""
    if not shutil.which("duplicates"):
        return ""
    command = ["duplicates", "--repo", str(root), "--most", "200", "--seconds", "120"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def pairs_in(answer: str) -> str:
    """How many pairs of places share six lines or more, and how many to the letter."""
    found = PAIRS.search(answer)
    return f"{found[1]}, {int(found[1]) - int(found[2])}" if found else answer.strip() or "not counted"


def _is_head(root: Path, row: tuple[str, ...]) -> bool:
    """Whether both places of a pair hold the decorator of a data class: what they share is its form."""
    places = ((row[0], row[1], row[2]), (row[3], row[4], row[5]))
    texts = ((root / file).read_text(encoding="utf-8").splitlines()[int(a) - 1 : int(b)] for file, a, b in places)
    return all(any("@dataclass" in line for line in lines) for lines in texts)


def figures_of(reading: Reading) -> dict[str, str]:
    """The table's figures, by the names of BEFORE."""
    modules, functions = sorted(filter(None, reading.modules.values())), sorted(reading.functions.values())
    all_lines = sum(modules)
    return {
        "modules": f"{len(reading.modules)}",
        "lines of modules: all, median, longest": f"{all_lines}, {statistics.median(modules):.0f}, {modules[-1]}",
        "functions": f"{len(functions)}",
        "lines of functions: median, 9 of 10, longest": (
            f"{statistics.median(functions):.0f}, {functions[len(functions) * 9 // 10]}, {functions[-1]}"
        ),
        "functions of over 50 lines": f"{sum(lines > 50 for lines in functions)}",
        "arguments and results with a type, %": f"{100 * reading.typed / reading.slots:.1f}",
        "Any": f"{reading.any_names}",
        "bare excepts": f"{len(reading.bare)}",
        "broad excepts: explained, not": f"{len(reading.explained)}, {len(reading.unexplained)}",
        "comments in 100 lines": f"{100 * reading.comments / all_lines:.1f}",
        "public functions with a docstring, %": f"{100 * reading.described / reading.public:.0f}",
        "most methods of a class": f"{max(reading.methods.values())}",
        "most attributes of a class": f"{max(reading.attributes.values())}",
        "modules in an import circle": f"{len(set(circle_in(house_of(reading.sources).late)))}",
    }


def _longest(counts: dict[str, int], number: int) -> Iterator[str]:
    for name, lines in sorted(counts.items(), key=lambda one: -one[1])[:number]:
        yield f"  {lines:5}  {name}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=ROOT, help="folder of another checkout")
    parser.add_argument("--longest", type=int, default=10, help="how many of the longest are named")
    options = parser.parse_args()
    root: Path = options.root.resolve()
    reading = read(product(root), root)
    figures = {
        **figures_of(reading),
        "pairs of six lines or more: all, to the letter": pairs_in(_duplicates(root)),
        **pairs_in_product(root),
    }
    width = max(map(len, figures))
    print(f"{'':{width}}  {'now':>16}  {'afe5810':>16}")
    for name, now in figures.items():
        print(f"{name:{width}}  {now:>16}  {BEFORE[name]:>16}")
    for title, counts in (
        ("modules", reading.modules),
        ("functions", reading.functions),
        ("classes, by methods", reading.methods),
        ("classes, by attributes", reading.attributes),
    ):
        print(f"\nLongest {title}:", *_longest(counts, options.longest), sep="\n")
    for title, places in (("Bare excepts", reading.bare), ("Broad excepts without a reason", reading.unexplained)):
        if places:
            print(f"\n{title}:", *places, sep="\n  ")


if __name__ == "__main__":
    main()
