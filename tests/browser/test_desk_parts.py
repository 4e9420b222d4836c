"""The closer look at an avatar, in a real Chromium: its name, its mouth, its gestures and clips, its voice sample."""

from __future__ import annotations

import json
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from avatars.gestures import gesture_names, open_with_gestures
from avatars.voice_sample import read_voice_sample
from portal.commands.portal_process import PortalProcess
from tests.browser.conftest import Chromium, browser_fixture
from tests.browser.desk_tabs import JOB_MS, show
from tests.browser.patience import until
from tests.clips import moving_portrait, write_clip
from tests.portraits import portrait_bundle
from tests.recordings import spoken, write_recording

pytestmark = pytest.mark.browser


@browser_fixture()
async def page(one_chromium: Chromium, workshop: PortalProcess) -> AsyncIterator[Page]:
    async with one_chromium.at(workshop.url) as page:
        yield page


async def test_an_avatar_is_renamed_and_goes_to_the_other_tabs(page: Page, workshop: PortalProcess) -> None:
    """From its details: another name, a talk with it, a clip of it, and the form for another picture of it."""
    portrait_bundle(workshop.log.parent / "avatars" / "grace", "woman", shifts=(0, 1, 2))
    await show(page, "avatars")
    card = page.locator("vivavoce-avatars [data-avatar=grace]")
    detail = page.locator(".vv-detail")
    await card.click()
    await detail.get_by_text("Rename").click()
    await detail.locator("[name=name]").fill("小美")
    await detail.locator("[name=name]").press("Enter")
    await expect(detail.locator("h2")).to_have_text("小美")
    await expect(card).to_contain_text("小美")
    await detail.get_by_text("Make a clip").click()
    await expect(page.locator("vivavoce-studio [name=avatar][value=grace]")).to_be_checked()
    await show(page, "avatars")
    await card.click()
    await page.evaluate("document.addEventListener('vivavoce:talk-with', ({ detail }) => (window.asked = detail))")
    await detail.get_by_text("Talk with it").click()
    await expect(page.locator("vivavoce-talk")).to_be_visible()
    await until(page, "window.asked === 'grace'")
    await show(page, "avatars")
    await card.click()
    await detail.get_by_text("Make it again").click()
    await expect(page.locator("vivavoce-avatars form [name=name]").first).to_have_value("小美")
    assert (await page.request.delete(f"{workshop.url}/api/avatars/grace")).status == 204


async def test_the_mouth_of_an_avatar_is_told_and_changed(page: Page, workshop: PortalProcess) -> None:
    """Its details say whether it speaks with real mouths; a press paints them instead, and another brings them back."""
    bundle = portrait_bundle(workshop.log.parent / "avatars" / "vera", "woman", shifts=(0, 1, 2))
    manifest = json.loads((bundle.path / "manifest.json").read_text())
    (bundle.path / "manifest.json").write_text(json.dumps({**manifest, "mouth": {"version": 1, "why_not": ""}}))
    await show(page, "avatars")
    await page.locator("vivavoce-avatars [data-avatar=vera]").click()
    detail = page.locator(".vv-detail")
    await expect(detail).to_contain_text("Speaks with the person's real mouth")
    await detail.get_by_text("Paint the mouth").click()
    await expect(detail).to_contain_text("Painted because you want it so")
    await detail.get_by_text("Use the real mouths").click()
    await expect(detail).to_contain_text("Speaks with the person's real mouth")
    assert (await page.request.delete(f"{workshop.url}/api/avatars/vera")).status == 204


async def test_a_gesture_is_added_tried_and_deleted(page: Page, workshop: PortalProcess, tmp_path: Path) -> None:
    """In the closer look: a form, the job's progress, the gesture in the list, a clip that plays, and none any more."""
    bundle = portrait_bundle(workshop.log.parent / "avatars" / "waver", size=256)
    await show(page, "avatars")
    await page.locator("vivavoce-avatars [data-avatar=waver]").click()
    gestures = page.locator(".vv-detail .vv-gesture-list")
    # Not to_contain_text(), which finds hidden words too: they are there before the gesture has gone.
    has_none = gestures.get_by_text("It has no gesture yet.")
    await expect(has_none).to_be_visible()
    form = gestures.locator("form")
    await gestures.locator("summary").click()
    await form.get_by_role("button", name="Add it").click()
    await expect(form.locator(".vv-note")).to_have_text("Choose a clip first.")
    await form.locator("input[type=file]").set_input_files(write_clip(tmp_path / "me.mp4", moving_portrait(30, 256)))
    await form.get_by_label("Name of the gesture").fill("Wave")
    await form.get_by_label("The person shown agrees to this gesture.").check()
    await form.get_by_role("button", name="Add it").click()
    row = gestures.locator("[data-gesture=wave]")
    await expect(row).to_be_visible(timeout=JOB_MS)
    await expect(gestures.locator("[data-state]")).to_have_count(0)
    await expect(row).to_contain_text("1.2 s")
    await row.get_by_role("button", name="Try it").click()
    await until(page, "document.querySelector('.vv-gesture video').currentTime > 0.2")
    await row.get_by_role("button", name="Delete").click()
    await row.get_by_role("button", name="Yes, delete it").click()
    await expect(has_none).to_be_visible()
    assert gesture_names(bundle.path) == []
    shutil.rmtree(bundle.path)


async def test_a_clip_that_the_avatar_shows_by_itself_is_added(
    page: Page, workshop: PortalProcess, tmp_path: Path
) -> None:
    """A tick in the same form. The list says so, and it is no gesture that somebody asks for."""
    bundle = portrait_bundle(workshop.log.parent / "avatars" / "idler", size=256)
    await show(page, "avatars")
    await page.locator("vivavoce-avatars [data-avatar=idler]").click()
    gestures = page.locator(".vv-detail .vv-gesture-list")
    form = gestures.locator("form")
    await gestures.locator("summary").click()
    await form.locator("input[type=file]").set_input_files(write_clip(tmp_path / "me.mp4", moving_portrait(30, 256)))
    await form.get_by_label("Name of the gesture").fill("Look aside")
    await form.get_by_label("The avatar shows it by itself now and then").check()
    await form.get_by_label("The person shown agrees to this gesture.").check()
    await form.get_by_role("button", name="Add it").click()
    row = gestures.locator("[data-gesture='look aside']")
    await expect(row).to_contain_text("1.2 s · by itself", timeout=JOB_MS)
    await expect(form.get_by_label("The avatar shows it by itself now and then")).not_to_be_checked()
    listed = await (await page.request.get(f"{workshop.url}/api/avatars/idler/gestures")).json()
    assert [(one["name"], one["idle"], one["sound"]) for one in listed] == [("look aside", True, False)]
    opened = open_with_gestures(bundle)
    assert (opened.gesture_names, gesture_names(bundle.path)) == ([], ["look aside"])
    shutil.rmtree(bundle.path)


async def test_a_voice_sample_is_added_put_right_and_deleted(
    page: Page, workshop: PortalProcess, tmp_path: Path
) -> None:
    """In the closer look: a form that asks for consent, the job's progress, its words, and none any more."""
    bundle = portrait_bundle(workshop.log.parent / "avatars" / "speaker", size=256)
    recording = write_recording(tmp_path / "me.m4a", spoken(5.0)[None], "mp4", "aac")
    await show(page, "avatars")
    await page.locator("vivavoce-avatars [data-avatar=speaker]").click()
    part = page.locator(".vv-detail .vv-voice-sample")
    await expect(part).to_contain_text("It has no voice sample yet.")
    await part.locator("summary").click()
    form = part.locator("details form")
    await form.get_by_role("button", name="Use this voice").click()
    await expect(form.locator(".vv-note")).to_have_text("Choose a recording first.")
    await form.locator("input[type=file]").set_input_files(recording)
    await form.get_by_role("button", name="Use this voice").click()
    await expect(form.locator(".vv-note")).to_have_text("Please confirm that the person who speaks agrees.")
    await form.get_by_label("What is said in it").fill("Good morning.")
    await form.get_by_label("The person who speaks agrees").check()
    await form.get_by_role("button", name="Use this voice").click()
    card = part.locator("article", has_text="5.0 s of speech")
    await expect(card).to_be_visible(timeout=JOB_MS)
    said = card.get_by_label("What is said in it")
    await expect(said).to_have_value("Good morning.")
    await said.fill("Good  evening.")
    await card.get_by_role("button", name="Save the words").click()
    await expect(said).to_have_value("Good evening.")
    sample = read_voice_sample(bundle.path)
    assert sample is not None and (sample.transcript, sample.source["consent"]) == ("Good evening.", True)
    await card.get_by_role("button", name="Delete").click()
    await card.get_by_role("button", name="Yes, delete it").click()
    await expect(part).to_contain_text("It has no voice sample yet.")
    assert read_voice_sample(bundle.path) is None
    shutil.rmtree(bundle.path)


async def test_a_clip_that_is_no_gesture_is_explained_in_its_avatar(
    page: Page, workshop: PortalProcess, tmp_path: Path
) -> None:
    """What is refused at once stands at the form: here a name with a bracket, which no tag could have."""
    bundle = portrait_bundle(workshop.log.parent / "avatars" / "waver", size=256)
    await show(page, "avatars")
    await page.locator("vivavoce-avatars [data-avatar=waver]").click()
    gestures = page.locator(".vv-detail .vv-gesture-list")
    await gestures.locator("summary").click()
    form = gestures.locator("form")
    await form.locator("input[type=file]").set_input_files(write_clip(tmp_path / "me.mp4", moving_portrait(30, 256)))
    await form.get_by_label("Name of the gesture").fill("a]b")
    await form.get_by_label("The person shown agrees to this gesture.").check()
    await form.get_by_role("button", name="Add it").click()
    await expect(form.locator(".vv-note")).to_contain_text("The gesture needs a name of letters and digits")
    shutil.rmtree(bundle.path)
