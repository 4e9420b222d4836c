"""How the Talk tab looks and is reached: sizes, keyboard, fingers, languages, announcements, in a real Chromium."""

from __future__ import annotations

import pytest
from playwright.async_api import Browser

from portal.commands.portal_process import PortalProcess
from tests.browser.conftest import NO_UDP, WORDS, Visit, Visitor, note, plain_page, until_noted

pytestmark = pytest.mark.browser

MOVED = """
    window.moved = [];
    new PerformanceObserver((list) => {
        for (const { node } of list.getEntries().flatMap(({ sources }) => [...sources])) {
            const isOurs = node?.id === "vv-tabs" || node?.closest?.(".vv-header, #vv-tabs .tab-container");
            if (isOurs) moved.push(node.outerHTML);
        }
    }).observe({ type: "layout-shift", buffered: true });
"""


"""What of the header and of the row of tabs has been seen in more than one place."""

LIVE_REGIONS = """[...document.querySelectorAll('[aria-live], [role=status], [role=alert], [role=log]')]
    .filter((part) => part.closest('vivavoce-talk') && part.getAttribute('aria-live') !== 'off')"""


@pytest.mark.parametrize(
    ("touch", "focused"), [(False, ".vv-composer textarea"), (True, "#vv-stop")], ids=["mouse", "touch"]
)
async def test_the_focus_stays_on_the_page(visit: Visitor, touch: bool, focused: str) -> None:
    """After Start one can type, but no keyboard opens on a phone; after Stop, Start can be pressed again."""
    page = await visit("?transport=websocket", touch=touch)
    await page.start()
    assert await page.run(f"document.activeElement === document.querySelector('{focused}')")
    await page.page.click("#vv-stop")
    assert await page.run("document.activeElement.id") == "vv-start"


async def test_the_keyboard_reaches_avatars_and_settings(visit: Visitor) -> None:
    """One tab stop for all avatars, arrows among them; in a session they do not choose. Escape leaves the settings."""
    page = await visit("?transport=websocket")
    keyboard, at = page.page.keyboard, "document.activeElement.dataset.id"
    checked = "document.querySelector('.vv-avatar[aria-checked=true]').dataset.id"
    assert await page.run("document.querySelectorAll('.vv-avatars [tabindex=\"0\"]').length") == 1
    await page.page.focus(".vv-avatars [tabindex='0']")
    await keyboard.press("ArrowRight")
    assert (await page.run(at), await page.run(checked)) == ("beta", "beta")
    await keyboard.press("ArrowRight")
    assert (await page.run(at), await page.run(checked)) == ("alpha", "alpha")
    await page.start()
    await page.page.focus(".vv-avatars [tabindex='0']")
    await keyboard.press("ArrowLeft")
    assert (await page.run(at), await page.run(checked)) == ("beta", "alpha")
    await keyboard.press("Enter")
    await page.until(f"{checked} === 'beta'")
    await page.page.click(".vv-settings > summary")
    await page.page.focus(".vv-settings [name=voice]")
    await keyboard.press("Escape")
    assert await page.run("document.activeElement.matches('.vv-settings:not([open]) > summary')")


async def test_a_toast_is_a_sentence_in_the_language_of_the_page(visit: Visitor) -> None:
    """The fallback is told whole, and nothing of it is left when the language is switched."""
    page = await visit(flags=NO_UDP)
    await note(page.page, ".vv-toast")
    await page.start()
    await until_noted(page.page, ".vv-toast", "Switched to WebSocket: the network lets no UDP through.")
    await page.run("document.querySelector('vivavoce-talk').tab.toast('news', Infinity)")
    await page.page.click(".vv-language")
    assert not await page.page.locator(".vv-toast.vv-on").count()


async def test_a_sentence_that_stands_is_back_after_one_that_passes(visit: Visitor) -> None:
    """That sound waits for a click is told until it comes, whatever else was told meanwhile."""
    page = await visit()
    await note(page.page, ".vv-toast")
    await page.run("document.querySelector('vivavoce-talk').tab.toast('Click for sound', Infinity)")
    await page.run("document.querySelector('vivavoce-talk').tab.toast('Switched', 1)")
    await page.until("noted['.vv-toast'].join().endsWith('Click for sound,Switched,Click for sound')")
    assert await page.page.locator(".vv-toast.vv-on").count()


@pytest.mark.parametrize(("width", "height"), [(390, 844), (844, 390), (1280, 600)])
async def test_the_whole_of_the_settings_is_within_the_window(visit: Visitor, width: int, height: int) -> None:
    """With the list of what is not ready opened, all of it can be scrolled to."""
    page = await visit(width=width, height=height)
    await page.page.click(".vv-settings > summary")
    await page.page.click(".vv-lacking > summary")
    panel = await page.page.locator(".vv-settings > .vv-panel").bounding_box()
    assert panel is not None and panel["y"] >= 0 and panel["y"] + panel["height"] <= height
    last = page.page.locator(".vv-lacking li").last
    await last.scroll_into_view_if_needed()
    item = await last.bounding_box()
    assert item is not None and item["y"] + item["height"] <= panel["y"] + panel["height"]


async def test_what_is_not_ready_is_listed_with_the_command_that_gets_it(visit: Visitor) -> None:
    """The menu has room for names only; below it stands what to do about the others, in both languages."""
    for query, word in (("?lang=en", "not ready"), ("?lang=zh", "不可用")):
        page = await visit(query)
        await page.page.click(".vv-settings summary")
        disabled = "document.querySelectorAll(':is([name=tts], [name=lipsync]) option:disabled')"
        options = await page.run(f"[...{disabled}].map((option) => option.text)")
        assert {f"MuseTalk 1.5 · {word}", f"Wav2Lip 256 · {word}"} <= set(options)
        await page.page.click(".vv-lacking summary")
        assert await page.page.is_visible("text=python launch.py fetch musetalk15")
        lacking = str(await page.run("document.querySelector('.vv-lacking').textContent"))
        assert "launch.py fetch wav2lip256" in lacking
        if query == "?lang=en":
            assert "at the portal's next start" in lacking
        items = await page.run("document.querySelectorAll('.vv-lacking li').length")
        assert items == len(options)


async def _sideways(page: Visit) -> int:
    return int(await page.run("document.documentElement.scrollWidth - document.documentElement.clientWidth"))


async def test_nothing_costly_is_painted_anew_with_every_picture(visit: Visitor) -> None:
    """Without a GPU, a shadow or a blur in the layer of the pictures leaves a browser no time for the pictures."""
    page = await visit("?transport=websocket")
    await page.start()
    around = """() => {
        const found = [];
        const canvas = document.querySelector("#vv-canvas");
        for (let at = canvas; at !== document.documentElement; at = at.parentElement) found.push(at);
        const frame = canvas.closest(".vv-frame");
        for (const at of frame.querySelectorAll("img, video")) if (at.checkVisibility()) found.push(at);
        return found.map((at) => getComputedStyle(at)).map(({ boxShadow, filter }) => `${boxShadow} ${filter}`);
    }"""
    assert set(await page.run(around)) == {"none none"}
    await page.page.set_viewport_size({"width": 900, "height": 1400})  # here the picture leaves some of its frame free
    await page.until("document.querySelector('.vv-backdrop').checkVisibility()")


@pytest.mark.parametrize(("width", "height"), [(390, 844), (360, 640), (1280, 800)])
async def test_the_page_fits(visit: Visitor, width: int, height: int) -> None:
    """No sideways scrolling in any tab; on a phone the player is on top and the text box within the window."""
    page = await visit(width=width, height=height)
    assert await _sideways(page) <= 0
    await page.start()
    frame = await page.page.locator(".vv-frame").bounding_box()
    box = await page.page.locator(".vv-composer textarea").bounding_box()
    assert frame is not None
    assert box is not None
    if width < 800:
        assert frame["y"] + frame["height"] <= box["y"]
    if height > 700:
        assert box["y"] + box["height"] <= height
    for tab in await page.page.get_by_role("tab").all():
        await tab.click()
        assert await _sideways(page) <= 0


async def test_the_page_speaks_chinese(visit: Visitor) -> None:
    """The switch puts page and tabs into Chinese and back, in mid-session too."""
    page = await visit()
    await page.start()
    await page.page.click(".vv-language")
    await page.until("document.querySelector('#vv-stop').textContent.trim() === '结束'")
    await page.until("document.querySelector('[data-tab-id=talk][role=tab]').textContent === '对话'")
    await page.page.click(".vv-language")
    await page.until("document.querySelector('#vv-stop').textContent.trim() === 'Stop'")
    assert (await page.stats())["state"] == "live"


async def test_no_live_region_speaks_over_the_avatar(visit: Visitor) -> None:
    """While the avatar speaks, a screen reader is told nothing; what came meanwhile is told once it has ended."""
    page = await visit("?transport=websocket")
    await page.start()
    await page.say(WORDS)
    await page.until("vivavoce.stats().turnState === 'speaking'")
    await page.run(
        f"""{{
        window.told = [];
        const seen = new MutationObserver(() => told.push(vivavoce.stats().turnState));
        const all = {{ subtree: true, childList: true, characterData: true }};
        for (const region of {LIVE_REGIONS}) seen.observe(region, all);
        document.querySelector('vivavoce-talk').tab.toast('news');
        }}"""
    )
    await page.until("vivavoce.stats().turnState === 'done'")
    await page.until("told.length > 0")
    assert set(await page.run("told")) == {"done"}
    assert "news" in await page.page.inner_text(".vv-announcer")


async def test_backends_that_only_measure_are_for_debugging(visit: Visitor) -> None:
    """The menus offer people no measuring backend but the portal's own choice; ?debug offers all."""
    for query, offered in (("", False), ("?debug=1", True)):
        page = await visit(query)
        names = await page.run(
            "[...document.querySelectorAll('vivavoce-talk [name=lipsync] option')].map((o) => o.value)"
        )
        assert ("null" in names) == offered and "flash" in names


@pytest.mark.parametrize(("width", "height", "touch"), [(844, 390, True), (667, 375, True), (1080, 1920, False)])
async def test_the_stage_fills_a_sideways_phone_and_a_tall_screen(
    visit: Visitor, width: int, height: int, touch: bool
) -> None:
    """The stage takes nearly the whole window and the chat lies over it, beside the face; nothing is below the fold."""
    page = await visit("?transport=websocket", width=width, height=height, touch=touch)
    await page.start()
    frame, picture, chat, box, stop = [
        await page.page.locator(part).bounding_box()
        for part in (".vv-frame", "#vv-canvas", ".vv-chat", ".vv-composer textarea", "#vv-stop")
    ]
    assert frame and picture and chat and box and stop
    assert frame["width"] * frame["height"] > 0.75 * width * height
    for part in (frame, chat, box, stop):
        assert part["y"] >= 0 and part["y"] + part["height"] <= height
    assert frame["y"] < chat["y"] and chat["y"] + chat["height"] <= frame["y"] + frame["height"]
    beside = picture["x"] + picture["width"] <= chat["x"] + 1
    assert beside or picture["y"] + picture["height"] <= chat["y"] + 0.05 * height


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize(("width", "height"), [(1280, 800), (390, 844)])
async def test_the_header_and_the_tabs_do_not_move_while_the_page_comes(
    browser: Browser, portal: PortalProcess, width: int, height: int, language: str
) -> None:
    """The header, the tabs and their words come one after the other, each into its place."""
    async with plain_page(browser, "about:blank") as page:
        await page.set_viewport_size({"width": width, "height": height})
        await page.add_init_script(MOVED)
        await page.goto(f"{portal.url}/?lang={language}")
        await page.wait_for_selector("#vv-start:not([disabled])")
        await page.wait_for_function("document.querySelector('.vv-poster').complete")
        assert await page.evaluate("moved") == []


@pytest.mark.parametrize(("width", "height"), [(390, 844), (844, 390)])
async def test_fingers_find_every_button(visit: Visitor, width: int, height: int) -> None:
    """On a touch screen, everything that can be pressed on the tab is at least 44 px wide and high."""
    page = await visit("?transport=websocket", width=width, height=height, touch=True)
    await page.start()
    await page.page.click(".vv-settings > summary")
    pressed = (
        ".vv-header button, #vv-tabs [role=tab], vivavoce-talk :is(button, summary, select, label.vv-mode, textarea)"
    )
    small = """(pressed) => [...document.querySelectorAll(pressed)]
        .filter((part) => part.checkVisibility())
        .map((part) => ({ name: part.className || part.id, box: part.getBoundingClientRect() }))
        .filter(({ box }) => box.width < 43.9 || box.height < 43.9)"""
    assert await page.run(small, pressed) == []


async def test_voices_that_cannot_be_reached_are_not_offered(visit: Visitor) -> None:
    """While the online service is away, its voices are shown as out of reach; the others are offered."""
    page = await visit()
    choices = await page.run("fetch('choices.json').then((answer) => answer.json())")
    for tts in choices["tts"]:
        if tts["name"] == "beep":
            tts.update(voices=["near", "far"], online=["far"])
    await page.page.route("**/choices.json", lambda route: route.fulfill(json=choices))
    await page.page.route("**/online.json", lambda route: route.fulfill(json={"reachable": False}))
    await page.page.reload()
    await page.page.wait_for_selector("#vv-start:not([disabled])")
    await page.page.click(".vv-settings > summary")
    menu = "document.querySelector('vivavoce-talk [name=voice]')"
    await page.until(f"[...{menu}.options].some(({{ disabled }}) => disabled)")
    offered = await page.run(f"[...{menu}.options].map(({{ text, disabled }}) => [text, disabled])")
    assert offered[1:] == [["near", False], ["far · cannot be reached", True]]
