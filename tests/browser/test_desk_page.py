"""The Avatars, Studio and Jobs tabs in a real Chromium, before a portal with its real worker."""

from __future__ import annotations

import io
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from playwright.async_api import FilePayload, Page, expect

from avatars import prepare
from avatars.bundle import encode_jpeg
from avatars.library import presets
from avatars.media import read_photo
from avatars.media_limits import fit_within
from portal.commands.portal_process import PortalProcess
from portal.ui.error_texts import ERROR_TEXTS
from tests.alpha_clips import alphas
from tests.browser.conftest import Chromium, browser_fixture
from tests.browser.desk_tabs import JOB_MS, TABS, show, show_filled, upload
from tests.browser.patience import eventually, until
from tests.browser.test_networks_page import answer_jobs
from tests.clips import moving_portrait, write_clip
from tests.foreign_folders import musetalk, zipped
from tests.portraits import portrait_bundle

pytestmark = pytest.mark.browser

SCRIPTS_ARE_THERE = """Promise.all(
    ["talk", "avatars", "studio", "jobs"].map((tab) => customElements.whenDefined(`vivavoce-${tab}`))
).then(() => true)"""
TALK_BOXES = """() => [...document.querySelectorAll("vivavoce-talk, vivavoce-talk *")]
    .filter((part) => !part.matches(".vv-log *, .vv-state, #vv-status")) // those say something new by themselves
    .map((part) => [part.classList[0] ?? part.tagName, part.getBoundingClientRect().toJSON()])"""


@browser_fixture()
async def page(one_chromium: Chromium, workshop: PortalProcess) -> AsyncIterator[Page]:
    async with one_chromium.at(workshop.url) as page:
        yield page


async def test_looking_at_the_other_tabs_leaves_talk_as_it_was(page: Page) -> None:
    """Its elements have the same places and sizes before and after: what styles the others styles nothing else."""
    await page.wait_for_selector("#vv-start:not([disabled])", timeout=JOB_MS)
    await expect(page.locator("vivavoce-talk .vv-avatar")).to_have_count(len(presets()), timeout=JOB_MS)
    look = page.locator("link[rel=stylesheet][href*='desk/desk.css']")
    await look.evaluate("link => (link.disabled = true)")
    before = await page.evaluate(TALK_BOXES)
    await look.evaluate("link => (link.disabled = false)")
    await until(page, "[...document.styleSheets].some(({ href }) => href?.includes('desk/desk.css'))")
    for tab in (*TABS[1:], "talk"):
        await show_filled(page, tab)
    await eventually(page, TALK_BOXES, before)


async def test_a_tab_first_opened_while_the_server_is_away_comes_alive(page: Page) -> None:
    """What the tab needs is there already; what it lists comes when the server is back."""
    await page.evaluate(SCRIPTS_ARE_THERE)
    await page.route("**/*", lambda route: route.abort())
    for tab in TABS[1:]:
        await show(page, tab)
    await page.unroute("**/*")
    await show(page, "avatars")
    await expect(page.locator("vivavoce-avatars h2").first).to_have_text("Make a new avatar")
    await expect(page.locator("vivavoce-avatars .vv-avatar").first).to_be_visible(timeout=JOB_MS)
    await show(page, "studio")
    await expect(page.locator("vivavoce-studio [name=avatar]").first).to_be_checked()


def wave_of_a_second() -> bytes:
    sound = io.BytesIO()
    soundfile.write(sound, 0.2 * np.sin(np.arange(16_000) / 10), 16_000, format="WAV")
    return sound.getvalue()


STAGES = (
    "reading the upload",
    "finding the face",
    "bringing it to life",
    "telling the person from the background",
    "saving the avatar",
)


def small_photo(folder: Path) -> Path:
    path = folder / "photo.jpg"
    path.write_bytes(encode_jpeg(fit_within(read_photo(presets()[0].picture), 384)))
    return path


async def test_a_photo_becomes_an_avatar_on_the_page(page: Page, tmp_path: Path) -> None:
    """Upload, moving preview, face report, spoken test clip, delete."""
    await upload(page, small_photo(tmp_path), "Ada")
    job = page.locator(".vv-making .vv-job", has_text="Ada")
    card = page.locator("vivavoce-avatars .vv-avatar", has_text="Ada")
    await expect(card).to_be_visible(timeout=JOB_MS)
    await expect(job).to_have_count(0)
    await until(page, "[...document.querySelectorAll('.vv-avatar video')].pop().currentTime > 0.2")
    await card.click()
    detail = page.locator(".vv-detail")
    await expect(detail).to_contain_text("The face is well visible.")
    assert await detail.locator(".vv-strip img").evaluate("image => image.decode().then(() => image.naturalWidth)") > 50
    await expect(detail.locator("video[controls]")).to_be_visible(timeout=JOB_MS)
    await detail.get_by_text("Delete", exact=True).click()
    await detail.get_by_text("Yes, delete it").click()
    await expect(card).to_have_count(0)


async def test_each_stage_of_a_preparation_is_told(page: Page) -> None:
    """In words, while the server says that it is at that stage: a small photo is through before a page has looked."""
    await show(page, "avatars")
    job = page.locator(".vv-making .vv-job", has_text="Eve")
    for stage, words in zip(prepare.STAGES, STAGES, strict=True):
        await answer_jobs(page, id="eve", kind="prepare", name="Eve", state="running", stage=stage, error=None)
        await expect(job).to_contain_text(f"{words} · 50%")


async def test_each_cause_of_one_code_is_told_in_chinese(page: Page) -> None:
    """By its own words where there are some; a cause that is newer than the page is told by the code."""
    told = await page.evaluate(
        """async (texts) => {
            const { errorText } = await import(new URL("static/errors.js", document.baseURI));
            return ["document", "tomorrow"].map((cause) =>
                errorText({ code: "bad_media", cause, message: "No." }, texts));
        }""",
        ERROR_TEXTS["zh"],
    )
    assert [one["cause"] for one in told] == [
        ERROR_TEXTS["zh"]["error.bad_media.document"],
        ERROR_TEXTS["zh"]["error.bad_media"],
    ]
    assert told[0]["remedy"] == ERROR_TEXTS["zh"]["hint.bad_media.document"]


async def test_a_part_of_a_picture_is_chosen_on_the_page(page: Page, tmp_path: Path) -> None:
    """Of a wide picture a square is dragged to the face on the right; the avatar is that square."""
    await show(page, "avatars")
    form = page.locator("vivavoce-avatars form").first
    face = fit_within(read_photo(presets()[0].picture), 384)
    wide = np.concatenate([np.full_like(face, 200), face], axis=1)
    path = tmp_path / "wide.jpg"
    path.write_bytes(encode_jpeg(wide))
    await form.locator("input[type=file]").set_input_files(path)
    await form.get_by_text("A part of it").click()
    await form.locator(".vv-framing [type=range]").fill("0.9")
    stage = form.locator(".vv-framing-stage")
    await until(page, "document.querySelector('.vv-framing-stage img').getBoundingClientRect().height > 0")
    box = await stage.bounding_box()
    assert box is not None
    await stage.click(position={"x": 0.75 * box["width"], "y": 0.5 * box["height"]})
    square = form.locator(".vv-framing-square")
    await expect(square).to_be_focused()
    await square.press("ArrowUp")
    await form.locator("[name=consent]").check()
    await form.locator("[type=submit]").click()
    await expect(form.locator(".vv-framing")).to_be_hidden()
    card = page.locator("vivavoce-avatars .vv-avatar", has_text="wide")
    await expect(card).to_be_visible(timeout=JOB_MS)
    (made,) = [one for one in await (await page.request.get(f"{page.url}api/avatars")).json() if one["name"] == "wide"]
    assert made["width"] == made["height"] and 0.3 < made["face"][0] + made["face"][2] / 2 < 0.7


async def test_the_person_is_cut_out_of_a_clip_where_that_is_ticked(page: Page, tmp_path: Path) -> None:
    """There is a box for a clip, which is empty at first, and none for a photo."""
    await show(page, "avatars")
    form = page.locator("vivavoce-avatars form").first
    box, file = form.get_by_label("Cut out the background"), form.locator("input[type=file]")
    clip = write_clip(tmp_path / "me.mp4", moving_portrait(30, 256))
    await expect(box).to_be_hidden()
    await file.set_input_files(clip)
    await expect(box).to_be_visible()
    await expect(box).not_to_be_checked()
    await file.set_input_files(small_photo(tmp_path))
    await expect(box).to_be_hidden()
    await file.set_input_files(clip)
    await box.check()
    await upload(page, clip, "Nell")
    card = page.locator("vivavoce-avatars .vv-avatar", has_text="Nell")
    await expect(card).to_be_visible(timeout=JOB_MS)
    (made,) = [one for one in await (await page.request.get(f"{page.url}api/avatars")).json() if one["name"] == "Nell"]
    assert made["kind"] == "clip" and made["mattes"]
    await expect(box).to_be_hidden()
    await expect(box).not_to_be_checked()


async def test_a_zipped_foreign_avatar_is_dropped_on_the_page(page: Page, tmp_path: Path) -> None:
    """A zip becomes an avatar whose detail tells where it comes from; a hostile one is refused by name."""
    await upload(page, zipped(musetalk(tmp_path / "sun", 26)), "Sun")
    card = page.locator("vivavoce-avatars .vv-avatar", has_text="Sun")
    await expect(card).to_be_visible(timeout=JOB_MS)
    await card.click()
    origin = page.locator(".vv-detail .vv-origin")
    await expect(origin).to_contain_text("Imported from MuseTalk, 26 pictures.")
    await expect(origin).to_contain_text("forwards and then backwards")
    await page.get_by_text("Close", exact=True).click()
    evil = musetalk(tmp_path / "evil", 2)
    (evil / "coords.pkl").write_bytes(b"cos\nsystem\n(S'touch /tmp/evil'\ntR.")
    await upload(page, zipped(evil), "Evil")
    job = page.locator(".vv-failed .vv-job", has_text="Evil")
    await expect(job).to_contain_text("coords.pkl asks for os.system", timeout=JOB_MS)
    await job.get_by_text("Remove").click()
    await expect(job).to_have_count(0)


async def test_an_avatar_whose_folder_alone_was_copied_has_no_broken_pictures(
    page: Page, workshop: PortalProcess
) -> None:
    """The words of its face report are its own; the pictures have stayed where it came from."""
    await show(page, "avatars")
    card = page.locator("vivavoce-avatars .vv-avatar", has_text=presets()[0].names["en"])
    await expect(card).to_be_visible(timeout=JOB_MS)
    shutil.rmtree(workshop.log.parent / "reports" / presets()[0].id)
    await page.reload()
    await show(page, "avatars")
    await card.click()
    await expect(page.locator(".vv-detail")).to_contain_text("The face is well visible.")
    await expect(page.locator(".vv-detail .vv-strip")).to_have_count(0)


async def test_what_is_missing_is_said_before_anything_is_sent(page: Page, tmp_path: Path) -> None:
    """No file, no consent: the page says what is missing."""
    await show(page, "avatars")
    form = page.locator("vivavoce-avatars form")
    await form.locator("[type=submit]").click()
    await expect(form.locator(".vv-note")).to_contain_text("Choose a photo")
    await form.locator("input[type=file]").set_input_files(small_photo(tmp_path))
    await form.locator("[type=submit]").click()
    await expect(form.locator(".vv-note")).to_contain_text("consent")


async def test_a_refused_picture_is_explained_with_its_remedy(page: Page, tmp_path: Path) -> None:
    """A wrong file is refused at once; a picture without a face after a look, with the picture; both with remedies."""
    text = tmp_path / "letter.png"
    text.write_text("no picture " * 50)
    await upload(page, text, "Letter")
    await expect(page.locator("vivavoce-avatars .vv-note")).to_contain_text("This is a text")
    wall = tmp_path / "wall.jpg"
    wall.write_bytes(encode_jpeg(np.full((200, 300, 3), 180, np.uint8)))
    await upload(page, wall, "Wall")
    job = page.locator(".vv-failed .vv-job", has_text="Wall")
    await expect(job).to_contain_text("No face was found", timeout=JOB_MS)
    await expect(page.locator(".vv-making .vv-job", has_text="Wall")).to_have_count(0)
    await expect(job.get_by_role("button")).to_have_text(["Remove"])  # it would fail the same way again
    await expect(job).to_contain_text("from the front")
    await expect(job.locator(".vv-strip img")).to_be_visible()
    await job.get_by_text("Remove").click()
    await expect(job).to_have_count(0)


async def test_a_refusal_is_told_in_chinese(page: Page, tmp_path: Path) -> None:
    """Cause and remedy are Chinese; the server's own sentence is folded away until somebody wants it."""
    await page.locator(".vv-language", has_text="中文").click()
    text = tmp_path / "letter.png"
    text.write_text("no picture " * 50)
    await upload(page, text, "Letter")
    note = page.locator("vivavoce-avatars .vv-note").first
    await expect(note.locator("strong")).to_contain_text("这是文本文件")
    english = note.locator("details small")
    await expect(english).to_be_hidden()
    await note.locator("summary").click()
    await expect(english).to_contain_text("This is a text")
    await page.route("**/api/avatars", lambda route: route.fulfill(status=413, body="<html>nginx</html>"))
    await page.locator("vivavoce-avatars [type=submit]").first.click()
    await expect(note).to_contain_text("代理")


async def test_a_text_becomes_a_clip_in_the_studio(page: Page) -> None:
    """A text and an avatar give an MP4 that plays and can be downloaded; the Jobs tab tells of it."""
    await show(page, "studio")
    form = page.locator("vivavoce-studio form")
    await expect(form.locator("[name=avatar]").first).to_be_checked(timeout=JOB_MS)
    await form.locator(f"label:has([value={presets()[0].id}])").click(timeout=JOB_MS)
    await form.locator("textarea").fill("One two three four five.")
    await form.locator("[type=submit]").click()
    job = page.locator("vivavoce-studio .vv-job", has_text="One two three")
    video = job.locator("video")
    await expect(video).to_be_visible(timeout=JOB_MS)
    await until(page, "document.querySelector('vivavoce-studio video').duration > 1")
    notice = page.locator("vivavoce-job-notice")
    await expect(notice).to_contain_text("“One two three four five” is ready.")
    await show(page, "jobs")
    await notice.get_by_text("Show").click()
    await expect(job).to_be_visible()
    await expect(notice).to_be_hidden()
    link = job.get_by_text("Download")
    await expect(link).to_have_attribute("download", f"{presets()[0].names['en']} - One two three four five.mp4")
    answer = await page.request.get(str(await link.evaluate("link => link.href")))
    assert answer.status == 200 and (await answer.body())[4:8] == b"ftyp"
    await show(page, "jobs")
    row = page.locator("vivavoce-jobs tbody tr", has_text="One two three")
    await expect(row).to_contain_text("done")
    await expect(row).to_contain_text("100%")
    await row.get_by_text("Remove").click()
    await row.get_by_text("Keep it").click()
    await row.get_by_text("Remove").click()
    await row.get_by_text("Yes, delete it").click()
    await expect(row).to_have_count(0)


async def test_a_transparent_clip_is_made_in_the_studio(page: Page, workshop: PortalProcess, tmp_path: Path) -> None:
    """WebM keeps the avatar's alpha; of an avatar of which nobody knows what the person is, there is MP4 only."""
    await show(page, "studio")
    form = page.locator("vivavoce-studio form")
    for preset in presets()[:2]:
        await expect(form.locator(f"label:has([value={preset.id}])")).to_be_visible(timeout=JOB_MS)
    note = page.locator("#vv-format-note")
    await form.locator(f"label:has([value={presets()[1].id}])").click()
    await expect(form.locator("option[value=webm]")).to_have_js_property("disabled", True)
    await expect(note).to_contain_text("only MP4 can be made")
    await form.locator(f"label:has([value={presets()[0].id}])").click()
    await expect(note).to_contain_text("MP4 cannot be transparent")
    await form.locator("[name=format]").select_option("webm")
    await expect(note).to_be_hidden()
    await form.locator("textarea").fill("See through.")
    await form.locator("[type=submit]").click()
    job = page.locator("vivavoce-studio .vv-job", has_text="See through")
    await expect(job.locator("video")).to_be_visible(timeout=JOB_MS)
    await until(page, "document.querySelector('vivavoce-studio video').videoWidth > 1")
    link = job.get_by_text("Download")
    await expect(link).to_have_attribute("download", f"{presets()[0].names['en']} - See through.webm")
    answer = await page.request.get(str(await link.evaluate("link => link.href")))
    clip = tmp_path / "clip.webm"
    clip.write_bytes(await answer.body())
    assert answer.headers["content-type"] == "video/webm"
    alpha = alphas(clip)
    assert len(alpha) > 10 and alpha[:, :4, -4:].max() < 15 and alpha[:, alpha.shape[1] // 2 :].max() > 240


async def test_a_cancelled_clip_of_a_recording_can_be_taken_up_again(page: Page, workshop: PortalProcess) -> None:
    """It stays in the Studio with a way to go on; nothing of it looks as if it were running."""
    avatars = await (await page.request.get(f"{workshop.url}/api/avatars")).json()
    long = {"avatar": avatars[0]["id"], "text": "one two three " * 300, "name": "Long"}
    await page.request.post(f"{workshop.url}/api/clips", data=long)  # the recording waits behind it
    await show(page, "studio")
    form = page.locator("vivavoce-studio form")
    await form.get_by_text("Recording", exact=True).click()
    sound = FilePayload(name="speech.wav", mimeType="audio/wav", buffer=wave_of_a_second())
    await form.locator("input[type=file]").set_input_files(sound)
    await form.locator("[type=submit]").click()
    job = page.locator("vivavoce-studio .vv-job", has_text="speech.wav")
    await job.get_by_text("Cancel", exact=True).click()
    await expect(job).to_contain_text("cancelled")
    await expect(job.locator("progress")).to_be_hidden()
    await show(page, "jobs")
    row = page.locator("vivavoce-jobs tbody tr", has_text="speech.wav")
    await expect(row).to_contain_text("cancelled")
    await expect(row.locator("progress")).to_have_count(0)
    await expect(row).not_to_contain_text("waiting")
    await page.locator("vivavoce-jobs tbody tr", has_text="Long").get_by_text("Cancel", exact=True).click()
    await show(page, "studio")
    await job.get_by_text("Try again").click()
    await expect(job.locator("video")).to_be_visible(timeout=JOB_MS)


async def test_a_job_without_its_avatar_says_so(page: Page, workshop: PortalProcess) -> None:
    """Cancelled because its avatar was deleted, it offers no second try, and the reason is there."""
    portrait_bundle(workshop.log.parent / "avatars" / "ada", "woman", shifts=(0, 1, 2))
    for text in ("one two three " * 300, "waits behind it"):
        await page.request.post(f"{workshop.url}/api/clips", data={"avatar": "ada", "text": text})
    assert (await page.request.delete(f"{workshop.url}/api/avatars/ada")).status == 204
    for tab, place in (("studio", ".vv-job"), ("jobs", "tbody tr")):
        await show(page, tab)
        job = page.locator(f"vivavoce-{tab} {place}", has_text="waits behind it")
        await expect(job).to_contain_text("its avatar was deleted")
        await expect(job.get_by_role("button")).to_have_text(["Remove"])


async def test_the_language_is_switched_on_the_spot(page: Page) -> None:
    """Every tab follows the switch in the header."""
    await show(page, "jobs")
    await expect(page.locator("vivavoce-jobs h2")).to_have_text("Jobs")
    await page.locator(".vv-language", has_text="中文").click()
    await expect(page.locator("vivavoce-jobs h2")).to_have_text("任务")
    await show(page, "studio")
    await expect(page.locator("vivavoce-studio [type=submit]")).to_have_text("开始制作视频")
    await expect(page.get_by_role("radiogroup", name="制作视频")).to_be_visible()


async def test_the_tabs_fit_a_phone(page: Page) -> None:
    """Nothing is wider than a screen of 390 pixels."""
    await page.set_viewport_size({"width": 390, "height": 844})
    for tab in TABS[1:]:
        await show_filled(page, tab)
        await until(page, "document.documentElement.scrollWidth <= 390")
