"""Nobody is kept out: axe finds nothing on any tab, fingers hit every button, and who asks for no motion sees none."""

from __future__ import annotations

import json
from typing import Any

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Page, Route, expect

from tests.browser.conftest import Visitor
from tests.browser.patience import eventually

pytestmark = pytest.mark.browser

TABS = ("talk", "avatars", "studio", "jobs")
FINGER_PX = 44
SMALL = f"""() => [...document.querySelectorAll(".vv-desk :is(button, a, select, summary, textarea, [type=text])")]
    .filter((one) => one.checkVisibility() && !one.closest(".vv-framing-stage"))
    .map((one) => [one.outerHTML.slice(0, 120), one.getBoundingClientRect()])
    .filter(([, {{ width, height }}]) => width < {FINGER_PX} || height < {FINGER_PX})"""
FAILURE = {"code": "no_face", "message": "No face was found.", "hint": "Use another picture.", "report": None}


def job(number: int, kind: str, state: str) -> dict[str, Any]:
    """As GET /api/jobs tells it."""
    return {
        "id": str(number),
        "kind": kind,
        "name": f"{kind} {state}",
        "state": state,
        "stage": "render",
        "progress": 0.5,
        "avatar": "alpha",
        "backend": "",
        "error": FAILURE if state == "failed" else None,
        "result": {"clip": "/api/clips/none.mp4"} if state == "done" else None,
        "retryable": state == "cancelled",
        "gone": "",
        "speaker": "Alpha",
        "file_name": "Alpha - clip.mp4",
        "created_at": 1_790_000_000.0,
        "started_at": 1_790_000_001.0,
        "finished_at": 1_790_000_009.0,
    }


JOBS = [
    job(number, kind, state)
    for number, (kind, state) in enumerate(
        (kind, state) for kind in ("clip", "prepare") for state in ("queued", "running", "done", "failed", "cancelled")
    )
]


async def tell_jobs(route: Route) -> None:
    await route.fulfill(body=json.dumps(JOBS), content_type="application/json")


async def open_tab(page: Page, tab: str) -> None:
    await page.get_by_role("tab").nth(TABS.index(tab)).click()
    await page.wait_for_selector(f"vivavoce-{tab}")
    if tab != "talk":
        await page.wait_for_selector(f"vivavoce-{tab} [data-state]")  # its jobs are there
    if tab == "avatars":
        await page.wait_for_selector("vivavoce-avatars .vv-avatar")


async def open_details(page: Page) -> None:
    await page.locator("vivavoce-avatars .vv-avatar").first.click()
    await page.wait_for_selector(".vv-detail .vv-unready", state="attached")
    await page.wait_for_selector(".vv-detail .vv-pair")


async def faults(page: Page) -> list[str]:
    found = (await Axe().run(page)).response["violations"]
    return [f"{one['id']}: {node['target']} {node['failureSummary']}" for one in found for node in one["nodes"]]


@pytest.mark.parametrize(("language", "theme"), [("en", "light"), ("zh", "dark")])
async def test_axe_finds_nothing_on_any_tab(visit: Visitor, language: str, theme: str) -> None:
    """Contrast, names, headings, roles: on all tabs with jobs of every state, and in the details of an avatar.

    Contrast depends on the theme alone, and the others on the language, so not every pair of the two is looked at.
    """
    dark = "yes" if theme == "dark" else "no"
    visited = await visit(f"?lang={language}", before=f"localStorage.setItem('vivavoce.dark', '{dark}')")
    page = visited.page
    await page.emulate_media(reduced_motion="reduce")  # a colour in the middle of its change is nobody's fault
    await page.route("**/api/jobs*", tell_jobs)
    found = {}
    for tab in TABS:
        await open_tab(page, tab)
        found[tab] = await faults(page)
    await open_tab(page, "avatars")
    await open_details(page)
    found["details"] = await faults(page)
    await page.locator(".vv-title button").click()
    await expect(page.locator(".vv-renaming [name=name]")).to_be_visible()
    found["renaming"] = await faults(page)
    assert not any(found.values()), json.dumps(found, indent=1, ensure_ascii=False)


async def test_fingers_hit_what_they_mean(visit: Visitor) -> None:
    """On a phone everything that is pressed on the Avatars, Studio and Jobs tabs is 44 px wide and high."""
    page = (await visit(width=390, height=844, touch=True)).page
    await page.route("**/api/jobs*", tell_jobs)
    for tab in TABS[1:]:
        await open_tab(page, tab)
        await eventually(page, SMALL, [])
    await open_tab(page, "avatars")
    await open_details(page)
    await eventually(page, SMALL, [])


async def with_previews(route: Route) -> None:
    avatars = await (await route.fetch()).json()
    moving = [{**avatar, "preview": f"/api/avatars/{avatar['id']}/preview.mp4"} for avatar in avatars]
    await route.fulfill(body=json.dumps(moving), content_type="application/json")


@pytest.mark.parametrize(("motion", "moves"), [("no-preference", True), ("reduce", False)])
async def test_who_asks_for_no_motion_sees_none(visit: Visitor, motion: Any, moves: bool) -> None:
    """The gallery and the details show stills to those; to others what moves plays by itself."""
    page = (await visit()).page
    await page.emulate_media(reduced_motion=motion)
    await page.route("**/api/jobs*", tell_jobs)
    await page.route("**/api/avatars", with_previews)
    await open_tab(page, "avatars")
    await open_details(page)
    places = ("vivavoce-avatars .vv-avatar", ".vv-detail .vv-pair figure:first-child")
    shown, other = ("video", "img") if moves else ("img", "video")
    await expect(page.locator(", ".join(f"{place} {shown}" for place in places))).to_have_count(3)
    await expect(page.locator(", ".join(f"{place} {other}" for place in places))).to_have_count(0)
