"""`python -m tests.typed`: runs mypy over product and tests, and checks the list of tests that are excused from it.

pyproject.toml lists modules whose faults are not reported. Here mypy runs without that list. So a module on it that has
no fault any more is found, and has to be taken off the list.
"""

from __future__ import annotations

import re
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from configparser import ConfigParser
from pathlib import Path

from mypy import api
from mypy.util import hard_exit

__all__ = ["MAX_EXCUSED_MODULES", "complaints", "excused"]

ROOT = Path(__file__).resolve().parents[1]
MAX_EXCUSED_MODULES = 37
"""The number of modules on the list. Lower it when the list gets shorter; it must never rise."""
_FAULT = re.compile(r"(\S+)\.py:\d+: error: ")
_TARGETS = {"modules": "--module", "packages": "--package"}
"The keys of mypy's settings that name what it checks by default, here the product -> the matching option."


def excused(settings: Mapping[str, object]) -> frozenset[str]:
    """Return the modules on the list. settings: `tool.mypy` of pyproject.toml."""
    return frozenset(module for one in _overrides(settings) if "ignore_errors" in one for module in _modules(one))


def complaints(report: Iterable[str], on_list: frozenset[str]) -> Iterator[str]:
    """Give the complaints about types and about the list. report: the lines that mypy prints without the list."""
    faulty: set[str] = set()
    for line in report:
        if fault := _FAULT.match(line):
            module = fault[1].replace("/", ".")
            faulty.add(module)
            if module not in on_list:
                yield line
    for module in sorted(on_list - faulty):
        yield f"{module} has no fault any more: take it off the list in pyproject.toml, and lower MAX_EXCUSED_MODULES."
    if len(on_list) > MAX_EXCUSED_MODULES:
        yield f"{len(on_list)} modules are excused, and {MAX_EXCUSED_MODULES} may be: give the new ones types."


def main() -> int:
    """Report what is wrong. Return the exit status."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["mypy"]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mypy.ini"
        with path.open("w", encoding="utf-8") as file:
            _without_list(settings).write(file)
        report, trouble, status = api.run(["--config-file", str(path), *_looked_at(settings), *sys.argv[1:]])
    if status > 1:  # mypy itself failed: there is no report
        sys.stdout.write(report + trouble)
        return status
    wrong = list(complaints(report.splitlines(), excused(settings)))
    sys.stdout.writelines(f"{line}\n" for line in wrong or ["The types are right."])
    return 1 if wrong else 0


def _looked_at(settings: Mapping[str, object]) -> list[str]:
    """Return the options that name product and tests."""
    product = [word for name, option in _TARGETS.items() for one in _listed(settings[name]) for word in (option, one)]
    return [*product, "--package", "tests"]


def _without_list(settings: Mapping[str, object]) -> ConfigParser:
    """Return the settings without the list, as an ini file: the standard library can write that, but not TOML."""
    parser = ConfigParser(interpolation=None)
    parser["mypy"] = {name: _value(value) for name, value in settings.items() if name not in (*_TARGETS, "overrides")}
    for one in _overrides(settings):
        if "ignore_errors" not in one:
            for module in _modules(one):
                parser[f"mypy-{module}"] = {name: _value(value) for name, value in one.items() if name != "module"}
    return parser


def _overrides(settings: Mapping[str, object]) -> list[Mapping[str, object]]:
    found = settings["overrides"]
    assert isinstance(found, list)
    return found


def _modules(override: Mapping[str, object]) -> list[str]:
    return _listed(override["module"])


def _listed(value: object) -> list[str]:
    return value if isinstance(value, list) else [str(value)]


def _value(value: object) -> str:
    return ", ".join(value) if isinstance(value, list) else str(value)


if __name__ == "__main__":
    hard_exit(main())  # mypy's own way to end: to free all that it knows takes half a minute
