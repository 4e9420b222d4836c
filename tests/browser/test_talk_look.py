"""How the Talk tab looks and is reached: sizes, keyboard, fingers, languages, announcements, in a real Chromium."""

from __future__ import annotations

import json

import pytest
from playwright.async_api import Browser, expect

from portal.commands.portal_process import PortalProcess
from tests.browser.conftest import LONG, NO_UDP, Visitor, plain_page
from tests.browser.desk_tabs import TABS, show_filled
from tests.browser.patience import eventually, note, passes, until, until_noted

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
    await expect(page.page.locator(focused)).to_be_focused()
    await page.page.click("#vv-stop")
    await expect(page.page.locator("#vv-start")).to_be_focused()


async def test_the_keyboard_reaches_avatars_and_settings(visit: Visitor) -> None:
    """One tab stop for all avatars, arrows among them; in a session they do not choose. Escape leaves the settings."""
    page = await visit("?transport=websocket")
    keyboard, at = page.page.keyboard, "document.activeElement.dataset.id"
    checked = "document.querySelector('.vv-avatar[aria-checked=true]').dataset.id"
    await expect(page.page.locator(".vv-avatars [tabindex='0']")).to_have_count(1)
    await page.page.focus(".vv-avatars [tabindex='0']")
    await keyboard.press("ArrowRight")
    await page.eventually(f"[{at}, {checked}]", ["beta", "beta"])
    await keyboard.press("ArrowRight")
    await page.eventually(f"[{at}, {checked}]", ["alpha", "alpha"])
    await page.start()
    await page.page.focus(".vv-avatars [tabindex='0']")
    await keyboard.press("ArrowLeft")
    await page.eventually(f"[{at}, {checked}]", ["beta", "alpha"])
    await keyboard.press("Enter")
    await page.until(f"{checked} === 'beta'")
    await page.page.click(".vv-settings > summary")
    await page.page.focus(".vv-settings [name=voice]")
    await keyboard.press("Escape")
    await expect(page.page.locator(".vv-settings:not([open]) > summary")).to_be_focused()


async def test_a_toast_is_a_sentence_in_the_language_of_the_page(visit: Visitor) -> None:
    """The fallback is told whole, and nothing of it is left when the language is switched."""
    page = await visit(flags=NO_UDP)
    await note(page.page, ".vv-toast")
    await page.start("websocket")
    await until_noted(page.page, ".vv-toast", "Switched to WebSocket: the network lets no UDP through.")
    await page.run("document.querySelector('vivavoce-talk').tab.toast('news', Infinity)")
    await page.page.click(".vv-language")
    await expect(page.page.locator(".vv-toast.vv-on")).to_have_count(0)


async def test_a_sentence_that_stands_is_back_after_one_that_passes(visit: Visitor) -> None:
    """That sound waits for a click is told until it comes, whatever else was told meanwhile."""
    page = await visit()
    await note(page.page, ".vv-toast")
    await page.run("document.querySelector('vivavoce-talk').tab.toast('Click for sound', Infinity)")
    await page.run("document.querySelector('vivavoce-talk').tab.toast('Switched', 1)")
    await page.until("noted['.vv-toast'].join().endsWith('Click for sound,Switched,Click for sound')")
    await expect(page.page.locator(".vv-toast.vv-on")).to_have_text("Click for sound")


@pytest.mark.parametrize(("width", "height"), [(390, 844), (844, 390), (1280, 600)])
async def test_the_whole_of_the_settings_is_within_the_window(visit: Visitor, width: int, height: int) -> None:
    """With the list of what is not ready opened, all of it can be scrolled to."""
    page = await visit(width=width, height=height)
    await page.page.click(".vv-settings > summary")
    await page.page.click(".vv-lacking > summary")
    last = page.page.locator(".vv-lacking li").last
    await last.scroll_into_view_if_needed()

    async def is_within() -> None:
        panel = await page.page.locator(".vv-settings > .vv-panel").bounding_box()
        item = await last.bounding_box()
        assert panel is not None and panel["y"] >= 0 and panel["y"] + panel["height"] <= height
        assert item is not None and item["y"] + item["height"] <= panel["y"] + panel["height"]

    await passes(is_within)


async def test_what_is_not_ready_is_listed_with_the_command_that_gets_it(visit: Visitor) -> None:
    """The menu has room for names only; below it stands what to do about the others, in both languages."""
    for query, word in (("?lang=en", "not ready"), ("?lang=zh", "不可用")):
        page = await visit(query)
        await page.page.click(".vv-settings summary")
        disabled = page.page.locator(":is([name=tts], [name=lipsync]) option:disabled")
        for backend in ("MuseTalk 1.5", "Wav2Lip 256"):
            await expect(disabled.filter(has_text=f"{backend} · {word}")).to_have_count(1)
        await page.page.click(".vv-lacking summary")
        await expect(page.page.locator("text=python launch.py fetch musetalk15")).to_be_visible()
        lacking = page.page.locator(".vv-lacking")
        await expect(lacking).to_contain_text("launch.py fetch wav2lip256")
        if query == "?lang=en":
            await expect(lacking).to_contain_text("at the portal's next start")
        await expect(lacking.locator("li")).to_have_count(await disabled.count())


NOT_WIDER = "document.documentElement.scrollWidth <= document.documentElement.clientWidth"


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
    await page.eventually(f"[...new Set(({around})())]", ["none none"])
    await page.page.set_viewport_size({"width": 900, "height": 1400})  # here the picture leaves some of its frame free
    await page.until("document.querySelector('.vv-backdrop').checkVisibility()")


@pytest.mark.parametrize(("width", "height"), [(390, 844), (360, 640), (1280, 800)])
async def test_the_page_fits(visit: Visitor, width: int, height: int) -> None:
    """No sideways scrolling in any tab; on a phone the player is on top and the text box within the window."""
    page = await visit(width=width, height=height)
    await page.until(NOT_WIDER)
    await page.start()

    async def is_in_its_place() -> None:
        frame = await page.page.locator(".vv-frame").bounding_box()
        box = await page.page.locator(".vv-composer textarea").bounding_box()
        assert frame is not None
        assert box is not None
        if width < 800:
            assert frame["y"] + frame["height"] <= box["y"]
        if height > 700:
            assert box["y"] + box["height"] <= height

    await passes(is_in_its_place)
    for tab in TABS:
        await show_filled(page.page, tab)
        await page.until(NOT_WIDER)


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
    await page.say(LONG)
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
    await expect(page.page.locator(".vv-announcer")).to_contain_text("news")


async def test_backends_that_only_measure_are_for_debugging(visit: Visitor) -> None:
    """The menus offer people no measuring backend but the portal's own choice; ?debug offers all."""
    for query, offered in (("", False), ("?debug=1", True)):
        page = await visit(query)
        option = page.page.locator("vivavoce-talk [name=lipsync] option")
        await expect(option.and_(page.page.locator("[value=flash]"))).to_have_count(1)
        await expect(option.and_(page.page.locator("[value=null]"))).to_have_count(int(offered))


@pytest.mark.parametrize(("width", "height", "touch"), [(844, 390, True), (667, 375, True), (1080, 1920, False)])
async def test_the_stage_fills_a_sideways_phone_and_a_tall_screen(
    visit: Visitor, width: int, height: int, touch: bool
) -> None:
    """The stage takes nearly the whole window and the chat lies over it, beside the face; nothing is below the fold."""
    page = await visit("?transport=websocket", width=width, height=height, touch=touch)
    await page.start()

    async def is_filled() -> None:
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

    await passes(is_filled)


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
        await until(page, "document.querySelector('.vv-poster').naturalWidth > 0")
        await page.evaluate("new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)))")
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
    await expect(page.page.locator(".vv-settings .vv-panel")).to_be_visible()
    await eventually(page.page, f"({small})({json.dumps(pressed)})", [])


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
    offered = f"[...{menu}.options].slice(1).map(({{ text, disabled }}) => [text, disabled])"
    await page.eventually(offered, [["near", False], ["far · cannot be reached", True]])
