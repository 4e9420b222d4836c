"""Browser tests wait for what they assert, because a page needs a moment to show it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

BROWSER = Path(__file__).parent / "browser"
AT_ONCE = {
    *("all_inner_texts", "all_text_contents", "count", "get_attribute", "inner_html", "inner_text", "input_value"),
    *("is_checked", "is_disabled", "is_editable", "is_enabled", "is_hidden", "is_visible", "query_selector"),
    "text_content",
}
"""Methods of Playwright that read the present state of an element."""
FIXED = {"sleep", "wait_for_timeout"}


def name_of(node: ast.AST) -> str:
    """Return the name of the method that is called; "" if the node is not a method call."""
    return node.func.attr if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) else ""


def impatient(node: ast.AST, depth: int = 0) -> Iterator[str]:
    """Give the faults of a module. Functions inside a test are exempt: passes() repeats them until they hold."""
    for child in ast.iter_child_nodes(node):
        inner = depth + isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
        name, line = name_of(child), f"line {child.lineno}" if isinstance(child, ast.expr | ast.stmt) else ""
        if name in FIXED:
            yield f"{line}: {name}() waits for a time"
        if name == "wait_for_function":
            yield f"{line}: until() tells a promise, which is true at once, from a value"
        if isinstance(child, ast.Assert) and depth < 2:
            looks = (name_of(one.value) for one in ast.walk(child) if isinstance(one, ast.Await))
            yield from (f"{line}: {look}() is asserted at once" for look in looks if look in AT_ONCE)
        yield from impatient(child, inner)


@pytest.mark.parametrize("path", sorted(BROWSER.glob("test_*.py")), ids=lambda path: path.stem)
def test_what_a_page_shows_is_waited_for(path: Path) -> None:
    """They use expect(), or until(), eventually() and passes() of tests/browser/patience.py."""
    assert list(impatient(ast.parse(path.read_text(encoding="utf-8")))) == []


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("assert await page.is_visible('.x')", "is_visible() is asserted at once"),
        ("assert 'a' in (await box.inner_text()).lower()", "inner_text() is asserted at once"),
        ("await asyncio.sleep(2)", "sleep() waits for a time"),
        ("await page.wait_for_function('fetch(1)')", "until() tells a promise, which is true at once, from a value"),
    ],
)
def test_what_would_depend_on_a_moment_is_found(line: str, fault: str) -> None:
    assert list(impatient(ast.parse(f"async def test():\n    {line}"))) == [f"line 2: {fault}"]


def test_what_is_asserted_until_it_holds_is_none_of_it() -> None:
    source = (
        "async def test():\n    async def check():\n        assert await page.is_visible('.x')\n    await passes(check)"
    )
    assert list(impatient(ast.parse(source))) == []
