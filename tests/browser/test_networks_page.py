"""Preparing an avatar for networks in its details, in a real Chromium: tiny random weights, the real worker."""

from __future__ import annotations

import itertools
import re
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from neural_avatars import write_weights
from playwright.async_api import Locator, Page, expect

from avatars.library import presets
from portal.commands.portal_process import PortalProcess, running_portal
from tests.browser.conftest import Chromium, browser_fixture, held_jobs
from tests.browser.patience import eventually, until
from tests.portraits import portrait_bundle

pytestmark = pytest.mark.browser

JOB_MS = 90_000
COUNT_PREVIEWS = """() => {
    window.previews = 0;
    const ask = window.fetch;
    window.fetch = (address, ...rest) => {
        if (String(address).endsWith("/parts/preview")) previews += 1;
        return ask(address, ...rest);
    };
}"""


MOVE_ON = """() => {
    const [begin, end] = [window.setTimeout, window.clearTimeout];
    const waiting = new Map();
    window.setTimeout = (run, _ms, ...given) => {
        const timer = begin(() => {}, 1e9);
        waiting.set(timer, () => run(...given));
        return timer;
    };
    window.clearTimeout = (timer) => (waiting.delete(timer), end(timer));
    window.rest = () => {
        [window.setTimeout, window.clearTimeout] = [begin, end];
        for (const run of waiting.values()) run();
    };
}"""
"""Until rest() no time passes for the page: on a slow machine a hand on a slider would rest between two presses."""


@pytest.fixture(scope="module")
def portal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PortalProcess]:
    """With weights of MuseTalk 1.5, Wav2Lip 96 and HuBERT, and with short avatars that are prepared for nothing."""
    data_dir = tmp_path_factory.mktemp("prepared")
    for preset, name in zip(presets(), itertools.cycle(("woman", "man")), strict=False):
        portrait_bundle(data_dir / "avatars" / preset.id, name, shifts=(0, 1, 2))
    for backend in ("musetalk15", "wav2lip96", "ultralight"):
        write_weights(data_dir / "weights", backend)
    with running_portal(data_dir, "--tts", "beep") as process:
        yield process


@browser_fixture()
async def page(one_chromium: Chromium, portal: PortalProcess) -> AsyncIterator[Page]:
    async with one_chromium.at(portal.url) as page:
        yield page


async def look_at_mira(page: Page) -> None:
    """Her closer look, in which the networks are."""
    await page.get_by_role("tab").nth(1).click()
    await page.locator("vivavoce-avatars .vv-avatar[data-avatar=mira]").click()
    await expect(page.locator(".vv-network")).to_have_count(5)


def row_of(page: Page, backend: str) -> Locator:
    return page.locator(f".vv-network[data-backend={backend}]")


async def other_preview(row: Locator, before: str = "") -> str:
    """Address of the picture once it is another one."""
    picture = row.locator(".vv-adjust img")
    await expect(picture).to_have_attribute("src", re.compile(f"^blob:(?!{before.removeprefix('blob:') or '$'})"))
    return str(await picture.evaluate("image => image.decode().then(() => image.src)"))


async def prepared(page: Page, portal: PortalProcess) -> dict[str, dict[str, Any]]:
    answer = await (await page.request.get(f"{portal.url}/api/avatars/mira")).json()
    return dict(answer["prepared"])


async def test_a_network_is_adjusted_and_prepared(page: Page, portal: PortalProcess) -> None:
    """A parameter is moved, its effect seen, the avatar prepared with it; the next time the form begins there."""
    await look_at_mira(page)
    row = row_of(page, "wav2lip96")
    await expect(row).to_contain_text("not prepared")
    await row.get_by_role("button", name="Adjust").click()
    usual = await other_preview(row)
    await row.get_by_label("below").fill("40")
    await row.get_by_label("Smoothing").uncheck()
    assert await other_preview(row, usual) != usual
    await row.get_by_role("button", name="Prepare with these").click()
    await expect(row.locator(".vv-adjust")).to_be_hidden()
    await expect(row).to_have_attribute("data-state", "prepared", timeout=JOB_MS)
    await expect(row).to_contain_text("Pads 0, 40, 0, 0 · Smoothing off")
    parameters = (await prepared(page, portal))["wav2lip96"]
    assert (parameters["pads"], parameters["smooth"]) == ([0, 40, 0, 0], False)

    await page.get_by_role("button", name="Close").click()
    await look_at_mira(page)
    await row.get_by_role("button", name="Adjust").click()
    await expect(row.get_by_label("below")).to_have_value("40")
    await expect(row.get_by_label("Smoothing")).not_to_be_checked()
    await row.get_by_role("button", name="Reset to defaults").click()
    await expect(row.get_by_label("below")).to_have_value("10")
    await expect(row.get_by_label("Smoothing")).to_be_checked()


async def test_one_press_prepares_with_the_usual_settings(page: Page, portal: PortalProcess) -> None:
    """Progress is shown while the job runs; then the row says prepared, and so does the API; other forms stay open."""
    await look_at_mira(page)
    row, other = row_of(page, "musetalk15"), row_of(page, "wav2lip96")
    await other.get_by_role("button", name="Adjust").click()
    await other.get_by_label("left").fill("7")
    async with held_jobs(page, portal.url):
        await row.get_by_role("button", name="Prepare").click()
        await expect(row.locator("progress")).to_be_visible()
    await expect(row).to_have_attribute("data-state", "prepared", timeout=JOB_MS)
    await expect(row).to_contain_text("With the usual settings.")
    await expect(other.get_by_label("left")).to_have_value("7")
    await expect(other.get_by_label("left")).to_be_visible()
    await expect(row.get_by_role("button", name="Prepare", exact=True)).to_be_hidden()
    assert (await prepared(page, portal))["musetalk15"]["parsing_mode"] == "jaw"


async def test_the_preview_follows_and_tells_what_makes_no_sense(page: Page) -> None:
    """By keyboard alone: a slider that is held asks once; widths of cheeks go with the mode; nonsense is explained."""
    await look_at_mira(page)
    row = row_of(page, "musetalk15")
    await row.get_by_role("button", name="Adjust").focus()
    await page.keyboard.press("Enter")
    shown = await other_preview(row)
    await page.evaluate(COUNT_PREVIEWS)
    await row.get_by_role("slider", name="Box shift").focus()
    await page.evaluate(MOVE_ON)
    for _ in range(12):
        await page.keyboard.press("ArrowRight")
    await expect(row.get_by_role("spinbutton", name="Box shift")).to_have_value("12")
    await page.evaluate("rest()")
    shown = await other_preview(row, shown)
    assert await page.evaluate("previews") == 1
    await row.get_by_label("Mask").select_option("neck")
    await expect(row.get_by_role("slider", name="Left cheek")).to_be_hidden()
    shown = await other_preview(row, shown)
    await row.get_by_role("spinbutton", name="Box shift").fill("900")
    await expect(row.locator(".vv-adjust .vv-failure")).to_contain_text("leave nothing of the face")
    await row.get_by_role("button", name="Prepare with these").click()
    await expect(row.locator(".vv-note")).to_contain_text("leave nothing of the face")
    await expect(row.locator(".vv-adjust .vv-failure")).to_be_hidden()  # it is told once
    await row.get_by_role("button", name="Reset to defaults").click()
    await other_preview(row, shown)
    await expect(row.locator(".vv-note")).to_be_hidden()


async def test_a_number_that_does_not_fit_is_told_at_its_field(page: Page) -> None:
    """It alone, with what would fit: nothing is asked or sent meanwhile, and a valid one takes the words away."""
    await look_at_mira(page)
    row = row_of(page, "wav2lip96")
    await row.get_by_role("button", name="Adjust").click()
    shown = await other_preview(row)
    ratio, slider = (row.get_by_role(role, name="Upper boundary") for role in ("spinbutton", "slider"))
    for attribute, value in (("min", "0"), ("max", "0.99"), ("step", "0.01")):
        await expect(ratio).to_have_attribute(attribute, value)
    before = await slider.input_value()
    await ratio.fill("")
    faults = row.locator(".vv-fault:visible")
    await expect(faults).to_have_text(["A number from 0 to 0.99, please."])
    await expect(slider).to_have_value(before)
    await row.get_by_label("below").fill("1.5")
    whole = "A whole number from -1000 to 1000, please."
    await expect(faults).to_have_text([whole, "A number from 0 to 0.99, please."])
    await row.get_by_role("button", name="Prepare with these").click()
    await expect(row.get_by_label("below")).to_be_focused()
    await expect(row.locator(".vv-note")).to_be_hidden()
    await ratio.fill("0.4")
    await expect(faults).to_have_text([whole])
    await row.get_by_label("below").fill("40")
    await expect(faults).to_have_count(0)
    await other_preview(row, shown)


async def test_what_cannot_be_prepared_says_why(page: Page) -> None:
    """Without weights the command that brings them is there to be copied; Ultralight wants a network of its own."""
    await look_at_mira(page)
    unready, lacking = row_of(page, "wav2lip256"), row_of(page, "ultralight")
    await expect(unready).to_be_hidden()
    await page.locator(".vv-detail").get_by_text("More engines (2)", exact=True).click()
    await expect(unready).to_contain_text("Wav2Lip 256")
    await expect(unready.locator(".vv-job-body code").first).to_have_text("python launch.py fetch wav2lip256")
    await expect(lacking.locator(".vv-job-body code")).to_have_text("data/avatars/mira/parts/ultralight.pth")
    for row in (unready, lacking):
        await expect(row.get_by_role("button")).to_have_count(0)


async def test_in_chinese_what_cannot_run_is_told_in_chinese_alone(page: Page, portal: PortalProcess) -> None:
    """Folded, with the command that brings it."""
    await page.goto(f"{portal.url}/?lang=zh")
    await look_at_mira(page)
    await page.locator(".vv-detail").get_by_text("更多口型模型（2）", exact=True).click()
    unready = row_of(page, "wav2lip256")
    await expect(unready.locator(".vv-job-body code").first).to_have_text("python launch.py fetch wav2lip256")
    await expect(unready).to_have_text(re.compile("^Wav2Lip 256.*获取", re.DOTALL))
    await expect(unready).not_to_contain_text("missing")


async def test_an_avatar_deleted_elsewhere_closes_its_details(page: Page, portal: PortalProcess) -> None:
    """Back in this window, the dialog is gone, and a short notice tells why; one's own deletion needs none."""
    for avatar in ("ada", "eve"):
        portrait_bundle(portal.log.parent / "avatars" / avatar, "woman")
    await page.get_by_role("tab").nth(1).click()
    card, notice = page.locator("vivavoce-avatars .vv-avatar[data-avatar=ada]"), page.locator(".vv-gone")
    await card.click()
    assert (await page.request.delete(f"{portal.url}/api/avatars/ada")).status == 204
    await page.evaluate("dispatchEvent(new Event('focus'))")
    await expect(page.locator(".vv-detail")).to_be_hidden()
    await expect(notice).to_have_text("woman was deleted elsewhere.")
    await page.locator(".vv-language").click()
    await expect(notice).to_be_hidden()  # rather than in the other language
    await page.locator(".vv-language").click()
    await page.locator("vivavoce-avatars .vv-avatar[data-avatar=eve]").click()
    await expect(notice).to_be_hidden()
    await page.locator(".vv-detail").get_by_text("Delete", exact=True).click()
    await page.get_by_text("Yes, delete it").click()
    await expect(page.locator(".vv-avatar[data-avatar=eve]")).to_have_count(0)
    await expect(notice).to_be_hidden()


async def test_only_a_press_beside_the_details_closes_them(page: Page) -> None:
    """Neither one on their edge, nor one that began in a field and ended beside them, or the other way round."""
    await look_at_mira(page)
    detail = page.locator(".vv-detail")
    box = await detail.bounding_box()
    assert box
    edge, away = (box["x"] + 5, box["y"] + 60), (box["x"] - 60, box["y"] + 60)
    for begin, end in ((edge, edge), (edge, away), (away, edge)):
        await page.mouse.move(*begin)
        await page.mouse.down()
        await page.mouse.move(*end)
        await page.mouse.up()
        await expect(detail).to_be_visible()
    await page.mouse.click(*away)
    await expect(detail).to_be_hidden()


async def test_another_avatar_leaves_the_details_as_they_are(page: Page, portal: PortalProcess) -> None:
    """A question that waits for its answer still waits when somebody has made another avatar."""
    await look_at_mira(page)
    await page.locator(".vv-detail").get_by_text("Delete", exact=True).click()
    sure = page.get_by_text("Yes, delete it")
    await sure.focus()
    portrait_bundle(portal.log.parent / "avatars" / "zoe", "woman")
    await page.evaluate("dispatchEvent(new Event('focus'))")
    await expect(page.locator(".vv-avatar[data-avatar=zoe]")).to_have_count(1)
    await expect(sure).to_be_focused()
    assert (await page.request.delete(f"{portal.url}/api/avatars/zoe")).status == 204


async def test_an_avatar_that_has_lost_its_pictures_shows_our_logo(page: Page, portal: PortalProcess) -> None:
    """In the gallery and in the Studio, rather than a broken picture."""
    folder = portal.log.parent / "avatars" / "lost"
    portrait_bundle(folder, "woman")
    for picture in ("poster.jpg", "preview.mp4"):
        (folder / picture).unlink(missing_ok=True)
    for tab, place in (
        (1, "vivavoce-avatars [data-avatar=lost] img"),
        (2, "vivavoce-studio label:has([value=lost]) img"),
    ):
        await page.get_by_role("tab").nth(tab).click()
        await until(page, f"document.querySelector('{place}').naturalWidth > 0")
    assert (await page.request.delete(f"{portal.url}/api/avatars/lost")).status == 204


JOB_OF_MIRA = {
    **{"kind": "clip", "name": "A test", "stage": "render", "progress": 0.5, "avatar": "mira", "backend": ""},
    **{"result": None, "gone": "", "created_at": 1.0, "started_at": 2.0, "finished_at": 3.0},
}


async def answer_jobs(page: Page, **job: Any) -> None:
    """Have the page see one job, and nothing else."""
    await page.unroute("**/api/jobs?*")
    await page.route("**/api/jobs?*", lambda route: route.fulfill(json=[{**JOB_OF_MIRA, **job}]))
    await page.evaluate("dispatchEvent(new Event('focus'))")


async def test_a_test_clip_that_came_to_nothing_says_why(page: Page) -> None:
    """While it is made, its stage is told; afterwards the reason, and it can be asked for again."""
    await look_at_mira(page)
    test = page.locator(".vv-detail .vv-no-test")
    again = test.get_by_role("button", name="Speak a test sentence")
    await answer_jobs(page, id="test-mira", state="running", error=None, retryable=False)
    await expect(test).to_contain_text("speaking and drawing")
    await expect(again).to_be_disabled()
    error = {"code": "speech_failed", "message": "No voice spoke.", "hint": "Try again."}
    await answer_jobs(page, id="test-mira", state="failed", error=error, retryable=True)
    await expect(test).to_contain_text("No voice spoke.")
    await expect(again).to_be_enabled()
    await answer_jobs(page, id="test-mira", state="cancelled", error=None, retryable=True)
    await expect(test).to_contain_text("cancelled")
    await expect(test).not_to_contain_text("No voice spoke.")


@pytest.mark.parametrize(("tab", "place"), [(1, ".vv-gallery-part"), (2, ".vv-speakers")])
async def test_where_there_is_no_avatar_it_is_told_what_is_being_made(page: Page, tab: int, place: str) -> None:
    """That the first ones are on their way is said while a job makes one, in the gallery and in the Studio."""
    await page.route("**/api/avatars", lambda route: route.fulfill(json=[]))
    await page.get_by_role("tab").nth(tab).click()
    empty = page.locator(f"{place} .vv-empty")
    await expect(empty).to_have_text("There is no avatar yet.")
    await answer_jobs(page, id="first", kind="prepare", state="running", error=None, retryable=False)
    await expect(empty).to_have_text("There is no avatar yet. The first ones are being made.")
    await page.locator(".vv-language").click()
    await expect(empty).to_have_text("还没有数字人，第一批正在制作中。")


@pytest.mark.parametrize(("tab", "element"), [(2, "studio"), (3, "jobs")])
async def test_a_refused_second_try_is_explained(page: Page, tab: int, element: str) -> None:
    """The reason stands beside the button, which can be pressed again."""
    await page.get_by_role("tab").nth(tab).click()
    await answer_jobs(page, id="gone", state="cancelled", error=None, retryable=True)
    actions = page.locator(f"vivavoce-{element} .vv-actions")
    retry = actions.get_by_role("button", name="Try again")
    await retry.click()  # the server knows of no such job
    await expect(actions.get_by_role("alert")).to_be_visible()
    await expect(actions.get_by_role("alert")).to_contain_text("job")
    await expect(retry).to_be_enabled()


async def test_the_form_fits_a_phone_in_chinese(page: Page, portal: PortalProcess) -> None:
    """Nothing of the dialog is wider than it, and every word is Chinese."""
    await page.set_viewport_size({"width": 390, "height": 844})
    await page.goto(f"{portal.url}/?lang=zh")
    await look_at_mira(page)
    for backend in ("musetalk15", "wav2lip96"):
        row = row_of(page, backend)
        await row.get_by_role("button", name="调整").click()
        await other_preview(row)
    await expect(row_of(page, "wav2lip96").get_by_role("button", name="按此准备")).to_be_visible()
    dialog = "document.querySelector('.vv-detail')"
    await eventually(page, f"{dialog}.scrollWidth - {dialog}.clientWidth", 0)
    await until(page, "document.documentElement.scrollWidth <= 390")
