"""The tabs of the page that list and make things: how a test comes to them."""

from __future__ import annotations

from pathlib import Path

from playwright.async_api import Page

JOB_MS = 90_000
TABS = ("talk", "avatars", "studio", "jobs")


FILLED = {
    "talk": "vivavoce-talk .vv-avatar",
    "avatars": "vivavoce-avatars .vv-gallery .vv-avatar",
    "studio": "vivavoce-studio [name=avatar]",
    "jobs": "vivavoce-jobs tbody tr",
}
"""What is there once a tab shows what the server has."""


async def show(page: Page, tab: str) -> None:
    await page.get_by_role("tab").nth(TABS.index(tab)).click()
    await page.wait_for_selector(f"vivavoce-{tab}")


async def show_filled(page: Page, tab: str) -> None:
    """Until it is as it looks in use."""
    await show(page, tab)
    await page.wait_for_selector(FILLED[tab], state="attached", timeout=JOB_MS)


async def upload(page: Page, file: Path, name: str) -> None:
    await show(page, "avatars")
    form = page.locator("vivavoce-avatars form")
    await form.locator("input[type=file]").set_input_files(file)
    await form.locator("[name=name]").fill(name)
    await form.locator("[name=consent]").check()
    await form.locator("[type=submit]").click()
