"""Waiting for what a page shows, which comes after what it was asked: who reads at once reads what was there before."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any

from playwright.async_api import Error, Frame, Page

__all__ = ["WITHIN_S", "eventually", "note", "passes", "until", "until_noted"]

WITHIN_S = 60.0
"""What has not come by then does not come. Tests say what comes, not when: a busy machine may be slow."""
LOOK_EVERY_S = 0.05
PATIENT = """() => {{
    try {{
        return ((value) => {{
            if (value instanceof Promise) throw new TypeError("A promise is true at once: use eventually().");
            return value;
        }})({condition});
    }} catch (error) {{
        if (error.message.startsWith("A promise")) throw error;
        return false; // what it reads is not there yet
    }}
}}"""
"""The condition stands where none of these names is known: they may be the page's own."""


async def until(page: Page | Frame, condition: str, within_s: float = WITHIN_S) -> None:
    """Wait until a JavaScript expression is true; an element that it reads may come later."""
    patient = PATIENT.format(condition=condition)
    await page.wait_for_function(patient, timeout=1000 * within_s, polling=20)


async def passes(check: Callable[[], Awaitable[None]], within_s: float = WITHIN_S) -> None:
    """Wait until all that this asserts is true; a failure is the last one."""
    deadline_s = time.monotonic() + within_s
    while True:
        try:
            return await check()
        except AssertionError:
            if time.monotonic() > deadline_s:
                raise
        await asyncio.sleep(LOOK_EVERY_S)


async def eventually(page: Page | Frame, expression: str, wanted: Any, within_s: float = WITHIN_S) -> None:
    """Wait until a JavaScript expression, or what its promise comes to, is this."""

    async def check() -> None:
        try:
            seen = await page.evaluate(expression)
        except Error as error:  # what it reads is not there yet, or the page is being loaded
            raise AssertionError(f"{expression}: {error}") from error
        assert seen == wanted, f"{expression} is {seen!r}, not {wanted!r}"

    await passes(check, within_s)


NOTE = """(selector) => {
    const part = document.querySelector(selector);
    const look = () => {
        const seen = part.checkVisibility() ? part.textContent : "";
        if (seen !== said.at(-1)) said.push(seen);
    };
    const said = ((window.noted ||= {})[selector] = []);
    look();
    new MutationObserver(look).observe(part, { attributes: true, characterData: true, childList: true, subtree: true });
}"""


async def note(page: Page, selector: str) -> None:
    """From now on every text that this element shows is kept in `noted[selector]`: what passes is not missed."""
    await page.evaluate(NOTE, selector)


async def until_noted(page: Page, selector: str, text: str) -> None:
    """Wait until an element of note() shows the text, or has shown it."""
    await until(page, f"noted[{json.dumps(selector)}].some((seen) => seen.includes({json.dumps(text)}))")
