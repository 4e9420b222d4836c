"""The Talk tab in a real Chromium, with voices that beep and mouths that flash.

Figures of time are given wide bounds: they tell that something works, not how fast; `launch.py bench` measures.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import statistics
import urllib.request

import pytest
from playwright.async_api import Browser, Route

from tests.benchmarks.portal_process import PortalProcess
from tests.browser.conftest import Visit, Visitor, note, plain_page, until_noted, write_avatar

pytestmark = pytest.mark.browser

NO_UDP = ("--webrtc-ip-handling-policy=disable_non_proxied_udp",)
WORDS = "one two three four five six seven eight nine ten"
LONG = ". ".join([WORDS] * 5) + "."

TRANSPORTS = pytest.mark.parametrize(
    ("query", "transport"), [("", "webrtc"), ("?transport=websocket", "websocket")], ids=["webrtc", "websocket"]
)


def live_sessions(portal: PortalProcess) -> int:
    with urllib.request.urlopen(f"{portal.url}/healthz") as answer:
        return int(json.load(answer)["sessions"]["live"])


async def free_again(portal: PortalProcess, within_s: float = 5) -> bool:
    """Whether every session ends; by default well before the grace of a broken socket would be over."""
    for _ in range(round(10 * within_s)):
        if not await asyncio.to_thread(live_sessions, portal):
            return True
        await asyncio.sleep(0.1)
    return False


@TRANSPORTS
async def test_start_shows_the_avatar_and_say_is_heard_and_seen(visit: Visitor, query: str, transport: str) -> None:
    """Start brings pictures; say is heard, moves the mouth, brings subtitles and text; then there is silence again."""
    page = await visit(query)
    stats = await page.start()
    assert stats["transport"] == transport
    assert 0 < stats["firstFrameMs"] < 5000
    await page.until("vivavoce.stats().fps > 15")
    assert not await page.run("probe.onsets.length")
    await note(page.page, ".vv-subtitle")
    await page.say(WORDS)
    await page.until("probe.onsets.length > 3")
    await page.until("probe.changes > 3")
    await until_noted(page.page, ".vv-subtitle", "seven")
    await page.until("document.querySelector('.vv-answer').textContent.includes('ten')")
    await page.until("vivavoce.stats().turnState === 'done'")
    await page.until("probe.silences.length > 0")
    await page.until("document.querySelector('.vv-subtitle').textContent === ''")
    stats = await page.stats()
    assert 0 < stats["latencyMs"] < 2000
    assert stats["reasonCode"] == ("forced" if transport == "websocket" else None)


@TRANSPORTS
async def test_sound_and_picture_are_in_step(visit: Visitor, query: str, transport: str) -> None:
    """Over ten seconds, beeps sound when the mouth flashes; the page's own figure agrees."""
    page = await visit(query)
    await page.start()
    await page.say(LONG)
    await page.until("probe.flashes.length > 45", within_s=30)
    skews = await page.run("probe.skews()")
    assert len(skews) > 25
    tap_ms = 40 if transport == "webrtc" else 0  # what the probe's own ears add to the sound of a video element
    assert abs(statistics.median(skews) - tap_ms) < 80
    assert abs((await page.stats())["avSkewMs"]) < 80


@TRANSPORTS
async def test_interrupt_silences(visit: Visitor, query: str, transport: str) -> None:
    """Interrupt ends the sound of a long answer, and the turn says so."""
    page = await visit(query)
    await page.start()
    await page.say(LONG)
    await page.until("probe.onsets.length > 3")
    before = await page.run("probe.silences.length")
    await page.page.click("#vv-interrupt")
    await page.run("window.interruptedAt = performance.now()")
    await page.until(f"probe.silences.length > {before}")
    await page.until("vivavoce.stats().turnState === 'interrupted'")
    heard = await page.run("probe.onsets.length")
    await page.until("performance.now() - interruptedAt > 1000")
    assert await page.run("probe.onsets.length") == heard
    assert await page.run("document.querySelector('.vv-subtitle').textContent") == ""


async def test_without_udp_it_falls_back_by_itself(visit: Visitor) -> None:
    """Where the network lets no UDP through, the pictures come over the WebSocket, with the reason on the page."""
    page = await visit(flags=NO_UDP)
    stats = await page.start()
    assert (stats["transport"], stats["reasonCode"]) == ("websocket", "no_route")
    assert "no UDP" in await page.page.inner_text("#vv-status")
    await page.say(WORDS)
    await page.until("probe.onsets.length > 3 && probe.changes > 3")


async def test_a_peer_that_never_connects_is_given_up(visit: Visitor) -> None:
    """When WebRTC stays without a picture, the fallback comes after its patience, without a click."""
    deaf = """
        const set = RTCPeerConnection.prototype.setRemoteDescription;
        RTCPeerConnection.prototype.setRemoteDescription = function (answer) {
            const sdp = answer.sdp.split('\\r\\n').map((line) => line.startsWith('a=candidate')
                ? 'a=candidate:1 1 udp 2130706431 127.0.0.1 9 typ host' : line).join('\\r\\n');
            return set.call(this, { type: answer.type, sdp });
        };
        RTCPeerConnection.prototype.createOffer = new Proxy(RTCPeerConnection.prototype.createOffer, {
            async apply(make, self, given) {
                const offer = await make.apply(self, given);
                const sdp = offer.sdp.replace(/a=ice-pwd:.*/g, 'a=ice-pwd:wrongwrongwrongwrongwrong');
                return { type: offer.type, sdp };
            },
        });
        const send = WebSocket.prototype.send;
        WebSocket.prototype.send = function (data) {
            if (typeof data !== 'string' || !data.includes('"candidate"')) send.call(this, data);
        };
    """
    page = await visit(before=deaf)
    stats = await page.start()
    assert stats["transport"] == "websocket"
    assert stats["reasonCode"] in ("no_picture", "failed", "unsupported")
    assert stats["firstFrameMs"] < 8000


async def test_a_stall_in_mid_turn_moves_the_turn_to_the_websocket(visit: Visitor) -> None:
    """When WebRTC pictures stop in mid-sentence, the same turn goes on over the socket, and no further."""
    page = await visit(
        before="""
        window.RTCPeerConnection = class extends RTCPeerConnection {
            constructor(...given) { super(...given); window.peer = this; }
        };
        """
    )
    await page.start()
    await page.say(LONG)
    await page.until("probe.onsets.length > 3")
    await page.run("peer.getReceivers().forEach(({ track }) => track.stop())")
    await page.until("vivavoce.stats().transport === 'websocket'")
    stats = await page.stats()
    assert stats["reasonCode"] == "stalled"
    heard = await page.run("probe.onsets.length")
    await page.until(f"probe.onsets.length > {heard + 3}")
    after = await page.stats()
    assert (after["turn"], after["session"]) == (1, stats["session"])


@TRANSPORTS
async def test_a_broken_socket_is_mended_with_its_turn(visit: Visitor, query: str, transport: str) -> None:
    """When the session socket breaks, the page comes back to the same session, and what is said goes on."""
    page = await visit(
        query,
        before="""
        window.WebSocket = class extends WebSocket {
            constructor(...given) { super(...given); window.socket = this; }
        };
        """,
    )
    stats = await page.start()
    await page.say(LONG)
    await page.until("probe.onsets.length > 3")
    await page.run("(window.old = socket, Object.getPrototypeOf(WebSocket).prototype.close.call(socket, 3001))")
    await page.until("socket !== old && vivavoce.stats().state === 'live'")
    heard = await page.run("probe.onsets.length")
    await page.until(f"probe.onsets.length > {heard + 3}")
    after = await page.stats()
    assert (after["session"], after["turn"], after["transport"]) == (stats["session"], 1, transport)


async def test_typing_alone_starts_the_session(visit: Visitor) -> None:
    """Enter in the text box opens the session and says the text; question and answer are in the chat."""
    page = await visit()
    await page.page.fill(".vv-composer textarea", "hello there")
    await page.page.keyboard.press("Enter")
    await page.until("document.querySelector('.vv-answer')?.textContent.includes('hello there')")
    assert await page.page.inner_text(".vv-asked") == "hello there"


async def test_the_avatar_is_swapped_in_mid_session(visit: Visitor) -> None:
    """Another avatar is shown from the next picture on, in the same session."""
    page = await visit("?transport=websocket")
    stats = await page.start()
    await page.page.click(".vv-avatar[data-id=beta]")
    await page.until("document.querySelector('.vv-avatar[data-id=beta]').getAttribute('aria-checked') === 'true'")
    level = "document.querySelector('#vv-canvas').getContext('2d').getImageData(20, 200, 1, 1).data[0]"
    await page.until(f"Math.abs({level} - 60) < 8")
    assert (await page.stats())["session"] == stats["session"]


async def test_what_was_not_played_of_an_interrupted_answer_is_faint(visit: Visitor) -> None:
    """Where it was cut one sees what was said and what was not; so after a reload."""
    page = await visit("?transport=websocket")
    await page.start()
    await page.say(LONG, "chat")
    await page.until("probe.onsets.length > 3")
    await page.page.click("#vv-interrupt")
    await page.until("document.querySelector('.vv-answer.vv-interrupted .vv-unplayed') !== null")
    answer = "document.querySelector('.vv-answer').textContent"
    faint = "[...document.querySelectorAll('.vv-answer .vv-unplayed')].map((one) => one.textContent).join('')"
    whole, unplayed = await page.run(answer), await page.run(faint)
    assert whole.endswith(unplayed) and 0 < len(unplayed) < len(whole)
    await page.page.reload()
    await page.until(f"document.querySelector('.vv-answer .vv-unplayed') !== null && {faint} === {unplayed!r}")


async def test_an_avatar_that_cuts_off_the_answer_says_so(visit: Visitor) -> None:
    """Choosing another one in mid-answer interrupts it, and the page says why; in silence there is nothing to say."""
    page = await visit("?transport=websocket")
    await page.start()
    toast = "document.querySelector('.vv-toast')"
    await note(page.page, ".vv-toast")
    await page.page.click(".vv-avatar[data-id=beta]")
    level = "document.querySelector('#vv-canvas').getContext('2d').getImageData(20, 200, 1, 1).data[0]"
    await page.until(f"Math.abs({level} - 60) < 8")
    assert not await page.run(f"{toast}.classList.contains('vv-on')")
    await page.say(LONG, "chat")
    await page.until("probe.onsets.length > 1")
    await page.page.click(".vv-avatar[data-id=alpha]")
    await until_noted(page.page, ".vv-toast", "Alpha is here now")
    await page.until("document.querySelector('.vv-answer').classList.contains('vv-interrupted')")


async def test_an_avatar_that_is_refused_is_not_the_choice(visit: Visitor, portal: PortalProcess) -> None:
    """Whatever the reason, e.g. a damaged file: who is on show is chosen again."""
    folder = write_avatar(portal.log.parent / "avatars" / "delta", 30)
    page = await visit("?transport=websocket")
    await page.page.wait_for_selector(".vv-avatar[data-id=delta]")
    await page.start()
    for file in folder.iterdir():
        if file.name != "poster.jpg":
            file.write_bytes(b"damaged")
    await page.page.click(".vv-avatar[data-id=delta]")
    await page.page.wait_for_selector(".vv-error")
    shutil.rmtree(folder)
    assert await page.run("document.querySelector('.vv-avatar[aria-checked=true]').dataset.id") == "alpha"


async def test_one_can_talk_while_an_avatar_is_prepared(visit: Visitor) -> None:
    """Who is on show hears and answers meanwhile."""
    page = await visit("?transport=websocket")
    await page.page.route("**/api/jobs/slow", lambda route: route.fulfill(json={"state": "running", "progress": 0.5}))
    await page.start()
    refusal = {"avatar": "beta", "lipsync": "viseme", "job": "slow"}
    await page.run(
        "(refusal) => void document.querySelector('vivavoce-talk').tab.avatarChoice.swapWhenPrepared(refusal)", refusal
    )
    await page.page.wait_for_selector(".vv-coming progress")
    await page.page.fill(".vv-composer textarea", "hello there")
    await page.page.keyboard.press("Enter")
    await page.until("document.querySelector('.vv-answer')?.textContent.includes('hello there')")
    assert await page.page.is_visible(".vv-coming progress")


async def test_what_is_typed_while_the_first_picture_needs_a_preparation_waits_for_it(visit: Visitor) -> None:
    """It is seen waiting; Stop gives all of it back, in the order in which it was typed, ahead of the draft."""
    page = await visit("?transport=websocket")
    await page.page.route("**/api/jobs/slow", lambda route: route.fulfill(json={"state": "running", "progress": 0.5}))
    refusal = {"avatar": "alpha", "lipsync": "viseme", "job": "slow"}
    await page.run("(refusal) => document.querySelector('vivavoce-talk').tab.opening.reopen(refusal)", refusal)
    await page.page.wait_for_selector(".vv-coming progress")
    for text in ("one", "two", "three"):
        await page.page.fill(".vv-composer textarea", text)
        await page.page.keyboard.press("Enter")
    assert await page.page.locator(".vv-pending").all_inner_texts() == ["one", "two", "three"]
    await page.page.fill(".vv-composer textarea", "draft")
    await page.page.click("#vv-stop")
    await page.until("document.querySelector('.vv-composer textarea').value === 'one\\ntwo\\nthree\\ndraft'")
    assert not await page.page.locator(".vv-asked").count()


async def test_sound_that_is_off_stays_off(visit: Visitor) -> None:
    """Also when a session begins over the WebSocket after it was switched off."""
    page = await visit("?transport=websocket")
    await page.start()
    await page.page.click(".vv-mute")
    await page.page.click("#vv-stop")
    await page.start()
    gain = "document.querySelector('vivavoce-talk').tab.player.media.gain.gain.value"
    await page.until(f"{gain} < 0.001")
    await page.page.click(".vv-mute")
    await page.until(f"{gain} > 0.999")


async def test_an_avatar_that_is_gone_is_named_and_leaves_the_list(visit: Visitor, portal: PortalProcess) -> None:
    """Deleted by somebody else meanwhile: the error has its name, and who is on show is chosen again."""
    folder = portal.log.parent / "avatars" / "gamma"
    write_avatar(folder, 30)
    page = await visit("?transport=websocket")
    await page.page.wait_for_selector(".vv-avatar[data-id=gamma]")
    await page.start()
    shutil.rmtree(folder)
    await page.page.click(".vv-avatar[data-id=gamma]")
    await page.page.wait_for_selector(".vv-error:has-text(\"'Gamma'\")")
    await page.page.wait_for_selector(".vv-avatar[data-id=gamma]", state="detached")
    assert await page.run("document.querySelector('.vv-avatar[aria-checked=true]').dataset.id") == "alpha"


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


async def test_a_session_without_a_picture_is_given_up(visit: Visitor) -> None:
    """Nobody is left before "connecting" for ever: after a while the page says what to do."""
    deaf = """
        const send = WebSocket.prototype.send;
        WebSocket.prototype.send = function (data) {
            if (typeof data !== 'string' || !data.includes('"media"')) send.call(this, data);
        };
        const [begin, end] = [window.setTimeout, window.clearTimeout];
        window.long = new Map(); // what waits for ten seconds or more: the test says when they are over
        window.setTimeout = (over, ms, ...given) => {
            const timer = begin(ms >= 10_000 ? () => {} : over, ms, ...given);
            if (ms >= 10_000) long.set(timer, over);
            return timer;
        };
        window.clearTimeout = (timer) => (long.delete(timer), end(timer));
    """
    page = await visit("?transport=websocket&lang=zh", before=deaf)
    await page.page.click("#vv-start")
    await page.until("vivavoce.stats().session && long.size")
    await page.run("(long.forEach((over) => over()), 0)")
    await page.page.wait_for_selector(".vv-error[data-code=no_picture]")
    assert "请再次点击" in await page.page.inner_text(".vv-error")
    assert (await page.stats())["state"] == "idle"


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
        assert f"MuseTalk 1.5 · {word}" in options
        await page.page.click(".vv-lacking summary")
        assert await page.page.is_visible("text=python launch.py fetch musetalk15")
        items = await page.run("document.querySelectorAll('.vv-lacking li').length")
        assert items == len(options)


async def test_an_empty_or_overlong_text_is_told_on_the_page(visit: Visitor) -> None:
    """A text that the session refuses comes back as a message with its remedy; the session lives on."""
    page = await visit("?transport=websocket")
    await page.start()
    for text in ("   ", "word " * 20_000):
        before = await page.run("document.querySelectorAll('.vv-note.vv-error').length")
        await page.say(text)
        await page.until(f"document.querySelectorAll('.vv-note.vv-error').length > {before}")
    assert (await page.stats())["state"] == "live"


async def test_stop_and_start_again(visit: Visitor, portal: PortalProcess) -> None:
    """Stop frees the session at once; Start opens a new one."""
    assert await free_again(portal, within_s=60)  # a page closed by force leaves its seat to the grace
    page = await visit()
    first = await page.start()
    await page.page.click("#vv-stop")
    assert await free_again(portal)
    second = await page.start()
    assert second["session"] != first["session"]


async def test_a_tab_closed_in_mid_turn_frees_its_session(visit: Visitor, portal: PortalProcess) -> None:
    """Closing the tab while the avatar speaks ends the session without waiting for the grace."""
    assert await free_again(portal, within_s=60)  # a page closed by force leaves its seat to the grace
    page = await visit()
    await page.start()
    await page.say(LONG)
    await page.until("probe.onsets.length > 1")
    assert await asyncio.to_thread(live_sessions, portal) == 1
    await page.page.close(run_before_unload=True)
    assert await free_again(portal)


async def test_a_reload_works_and_leaves_nothing_behind(visit: Visitor, portal: PortalProcess) -> None:
    """Reloading in mid-turn ends the old session; the page starts again."""
    assert await free_again(portal, within_s=60)  # a page closed by force leaves its seat to the grace
    page = await visit()
    await page.start()
    await page.say(LONG)
    await page.until("probe.onsets.length > 1")
    await page.page.reload()
    await page.page.wait_for_selector("#vv-start:not([disabled])")
    assert await free_again(portal)
    await page.start()


async def test_a_full_house_lets_in_who_waits(visit: Visitor) -> None:
    """When all places are taken, the page tells the place in line, which can be left; a free place is taken at once."""
    pages = [await visit("?transport=websocket") for _ in range(4)]
    for page in pages[:3]:
        await page.start()
    last = pages[3]
    in_line = "document.querySelector('#vv-status').textContent.includes('number 1 in line')"
    await last.page.click("#vv-start")
    await last.until(in_line)
    await last.page.click("#vv-stop")
    await last.until("vivavoce.stats().state === 'idle'")
    await last.page.click("#vv-start")
    await last.until(in_line)
    await pages[0].page.click("#vv-stop")
    await last.until("vivavoce.stats().state === 'live'")
    assert "in line" not in await last.page.inner_text("#vv-status")


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


LIVE_REGIONS = """[...document.querySelectorAll('[aria-live], [role=status], [role=alert], [role=log]')]
    .filter((part) => part.closest('vivavoce-talk') && part.getAttribute('aria-live') !== 'off')"""


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


async def test_a_reload_keeps_avatar_settings_sound_and_tab(visit: Visitor) -> None:
    """What a viewer has chosen is chosen again after a reload; a new visit begins with the Talk tab."""
    page = await visit("?debug=1")
    await page.page.click(".vv-avatar[data-id=beta]")
    await page.page.click(".vv-settings > summary")
    await page.page.select_option("[name=lipsync]", "null")
    await page.start()
    await page.page.click(".vv-mute")
    await page.page.get_by_role("tab").nth(3).click()
    await page.page.reload()
    await page.page.wait_for_selector("[role=tab][aria-selected=true][data-tab-id=jobs]")
    await page.page.get_by_role("tab").nth(0).click()
    await page.until("document.querySelector('.vv-avatar[data-id=beta]')?.getAttribute('aria-checked') === 'true'")
    await page.until("document.querySelector('vivavoce-talk [name=lipsync]').value === 'null'")
    assert await page.page.get_attribute(".vv-mute", "aria-pressed") == "true"
    assert await page.run("document.querySelector('vivavoce-talk').tab.player.muted")
    other = await page.page.context.new_page()
    await other.goto(page.portal.url)
    await other.wait_for_selector("[role=tab][aria-selected=true][data-tab-id=talk]")


async def test_what_a_script_starts_with_is_seen_as_the_choice(visit: Visitor) -> None:
    """start({avatar}) selects that avatar in the strip, also while it is being opened."""
    page = await visit("?transport=websocket")
    checked = "document.querySelector('.vv-avatar[aria-checked=true]').dataset.id"
    assert await page.run(checked) == "alpha"
    await page.run("void vivavoce.start({ avatar: 'beta' })")
    await page.until(f"{checked} === 'beta'")
    await page.until("vivavoce.stats().state === 'live'")
    assert await page.run(checked) == "beta"


async def test_escape_interrupts(visit: Visitor) -> None:
    """Escape cuts the answer, as the button does; with the settings open it only closes them."""
    page = await visit("?transport=websocket")
    await page.start()
    await page.say(LONG)
    await page.until("vivavoce.stats().turnState === 'speaking'")
    await page.page.click(".vv-settings > summary")
    await page.page.keyboard.press("Escape")
    assert not await page.run("document.querySelector('.vv-settings').open")
    assert await page.run("vivavoce.stats().turnState") == "speaking"
    await page.page.keyboard.press("Escape")
    await page.until("vivavoce.stats().turnState === 'interrupted'")


async def test_backends_that_only_measure_are_for_debugging(visit: Visitor) -> None:
    """The menus offer people no measuring backend but the portal's own choice; ?debug offers all."""
    for query, offered in (("", False), ("?debug=1", True)):
        page = await visit(query)
        names = await page.run(
            "[...document.querySelectorAll('vivavoce-talk [name=lipsync] option')].map((o) => o.value)"
        )
        assert ("null" in names) == offered and "flash" in names


async def test_the_chosen_avatar_of_many_is_seen_whole(visit: Visitor) -> None:
    """With more avatars than the strip is wide, the choice is scrolled to; each face is in the middle of its button."""
    page = await visit()
    beta = (await page.run("fetch('api/avatars').then((answer) => answer.json())"))[1]
    many = [{**beta, "id": f"number{n}", "name": f"A long name {n}", "face": [0.7, 0.1, 0.2, 0.2]} for n in range(12)]
    many = [{**one, "width": 640, "height": 360} for one in many]
    await page.page.route("**/api/avatars", lambda route: route.fulfill(json=many))
    await page.page.reload()
    await page.page.focus(".vv-avatar[data-id=number0]")
    await page.page.keyboard.press("End")
    await page.until("document.querySelector('[data-id=number11]').getAttribute('aria-checked') === 'true'")
    strip = await page.page.locator(".vv-avatars").bounding_box()
    chosen = await page.page.locator(".vv-avatar[data-id=number11]").bounding_box()
    assert strip is not None and chosen is not None
    assert strip["x"] <= chosen["x"] and chosen["x"] + chosen["width"] <= strip["x"] + strip["width"]
    position = await page.run("document.querySelector('[data-id=number11] img').style.objectPosition")
    assert position == "100% 50%"  # the middle of the face would be further right than the picture goes


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


@pytest.mark.parametrize(("width", "height"), [(1280, 800), (390, 844), (844, 390), (1080, 1920)])
async def test_nothing_moves_when_the_avatars_come(
    browser: Browser, portal: PortalProcess, width: int, height: int
) -> None:
    """However late their list is, the stage, the chat and what is typed into stay where they were."""
    late = asyncio.Event()

    async def hold(route: Route) -> None:
        await late.wait()
        await route.continue_()

    boxes = """[".vv-frame", "#vv-status", ".vv-settings > summary", ".vv-chat", ".vv-composer textarea"].map(
        (part) => Object.values(document.querySelector(part).getBoundingClientRect().toJSON()).map(Math.round))"""
    async with plain_page(browser, "about:blank") as page:
        await page.set_viewport_size({"width": width, "height": height})
        await page.route("**/api/avatars", hold)
        await page.goto(portal.url)
        await page.wait_for_selector(".vv-state:has-text('Loading')")
        before = await page.evaluate(boxes)
        late.set()
        await page.wait_for_selector("#vv-start:not([disabled])")
        assert await page.evaluate(boxes) == before


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


MARKDOWN = """# Title
Some **bold** `code` and <Save>.

1. first
2. second

| a | b |
|---|---|
| 1 | 2 |

[safe](https://example.org/) [evil](javascript:alert(1)) ![picture](https://example.org/x.png)
<img src=x onerror="window.hacked = 1"><script>window.hacked = 1</script>"""


async def test_markdown_is_drawn_and_nothing_in_it_runs(visit: Visitor) -> None:
    """Lists, tables, bold and safe links become elements; what looks like HTML is shown, and nothing runs or loads."""
    page = await visit("?transport=websocket")
    await page.start()
    await page.say(MARKDOWN)
    await page.page.wait_for_selector(".vv-answer.vv-rendered td")
    answer = page.page.locator(".vv-answer")
    assert await answer.locator("strong").all_inner_texts() == ["Title", "bold"]
    assert await answer.locator("ol li").all_inner_texts() == ["first", "second"]
    assert await page.run("[...document.querySelectorAll('.vv-answer a[href]')].map((a) => [a.href, a.rel])") == [
        ["https://example.org/", "noopener noreferrer"]
    ]
    assert await answer.locator("img, script, h1").count() == 0
    text = await answer.inner_text()
    assert "<Save>" in text and "picture" in text and "onerror" in text
    assert await page.run("window.hacked") is None


async def test_a_reload_keeps_the_conversation_and_tells_it_to_the_new_session(visit: Visitor) -> None:
    """What was said is there again after a reload; the next session hears of it; a new conversation forgets it all."""
    spy = """
        window.hellos = [];
        const send = WebSocket.prototype.send;
        WebSocket.prototype.send = function (data) {
            if (typeof data === 'string' && data.includes('"hello"')) hellos.push(JSON.parse(data).history);
            send.call(this, data);
        };
    """
    page = await visit("?transport=websocket", before=spy)
    await page.page.fill(".vv-composer textarea", "remember **this**")
    await page.page.keyboard.press("Enter")
    await page.until("vivavoce.stats().turnState === 'done'")
    assert await page.run("hellos") == [[]]
    await page.page.reload()
    await page.page.wait_for_selector("#vv-start:not([disabled])")
    assert await page.page.inner_text(".vv-asked") == "remember **this**"
    await page.until("document.querySelector('.vv-answer strong')?.textContent === 'this'")
    await page.start()
    (history,) = await page.run("hellos")
    assert [remark["role"] for remark in history] == ["user", "assistant"]
    assert history[0]["content"] == "remember **this**"
    await page.page.click(".vv-new")
    await page.until("vivavoce.stats().state === 'live' && hellos.length === 2")
    assert (await page.run("hellos"))[1] == []
    assert not await page.page.locator(".vv-bubble").count()
    await page.page.reload()
    await page.page.wait_for_selector("#vv-start:not([disabled])")
    assert not await page.page.locator(".vv-bubble").count()


async def test_the_end_of_the_talk_stays_in_view(visit: Visitor) -> None:
    """After a reload, and when the window grows smaller; but who has scrolled back is left there."""
    page = await visit("?transport=websocket")
    entries = [
        {"who": who, "text": "some words " * 20, "mode": "chat", "name": "Alpha"} for who in ("viewer", "avatar")
    ]
    await page.run("(kept) => sessionStorage.setItem('vivavoce.conversation', kept)", json.dumps(entries * 10))
    # What the page keeps as it is left would take the place of this.
    await page.run("addEventListener('pagehide', (event) => event.stopImmediatePropagation(), { capture: true })")
    await page.run("(Storage.prototype.setItem = () => {}, 0)")
    await page.page.reload()
    await page.page.wait_for_selector("#vv-start:not([disabled])")
    left = "(log = document.querySelector('.vv-log')) => log.scrollHeight - log.scrollTop - log.clientHeight"
    assert await page.page.locator(".vv-bubble").count() == 20
    await page.until(f"document.querySelector('.vv-rendered') && ({left})() < 3")
    await page.page.set_viewport_size({"width": 1280, "height": 620})
    await page.until(f"innerHeight === 620 && ({left})() < 3")
    await page.run("document.querySelector('.vv-log').scrollTop = 0")
    await page.page.set_viewport_size({"width": 1280, "height": 700})
    await page.run("new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)))")
    assert await page.run("document.querySelector('.vv-log').scrollTop") == 0


async def test_messages_can_be_copied_edited_asked_again_and_saved(visit: Visitor) -> None:
    """Each message has buttons that do what they say; the whole conversation can be saved as a text."""
    page = await visit("?transport=websocket")
    await page.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    await page.page.fill(".vv-composer textarea", "hello there")
    await page.page.keyboard.press("Enter")
    await page.until("vivavoce.stats().turnState === 'done'")
    answer = page.page.locator(".vv-message", has=page.page.locator(".vv-answer"))
    await answer.get_by_role("button", name="Copy").click()
    assert "hello there" in await page.run("navigator.clipboard.readText()")
    await answer.get_by_role("button", name="Again").click()
    await page.until("document.querySelectorAll('.vv-asked').length === 2")
    question = page.page.locator(".vv-message", has=page.page.locator(".vv-asked")).first
    await question.hover()
    await question.get_by_role("button", name="Edit").click()
    assert await page.page.input_value(".vv-composer textarea") == "hello there"
    async with page.page.expect_download() as waiting:
        await page.page.click(".vv-export")
    download = await waiting.value
    saved = (await download.path()).read_text(encoding="utf-8")
    assert download.suggested_filename.endswith(".md")
    assert saved.startswith("**You:** hello there") and "**Alpha:** " in saved
    await page.page.click(".vv-language")
    async with page.page.expect_download() as waiting:
        await page.page.click(".vv-export")
    saved = (await (await waiting.value).path()).read_text(encoding="utf-8")
    assert saved.startswith("**你：** hello there") and "**Alpha：** " in saved


async def test_a_conversation_has_a_bound(visit: Visitor) -> None:
    """However much is said, what is kept over a reload and told to a session stays small; the newest stays."""
    page = await visit("?transport=websocket")
    told = """(() => {
        const { conversation } = document.querySelector('vivavoce-talk').tab.chat;
        const say = (n) => conversation.add({ who: n % 2 ? 'avatar' : 'viewer', text: `${n} `.repeat(500) });
        for (let n = 0; n < 1000; n += 1) say(n);
        conversation.save();
        const history = conversation.history();
        const size = history.reduce((sum, { content }) => sum + content.length, 0);
        const kept = sessionStorage.getItem('vivavoce.conversation').length;
        return { entries: conversation.entries.length, kept, told: history.length, size, last: history.at(-1).content };
    })()"""
    figures = await page.run(told)
    assert figures["entries"] <= 200 and figures["kept"] < 300_000
    assert 0 < figures["told"] <= 40 and figures["size"] <= 16_000
    assert figures["last"].startswith("999 ")


async def test_an_answer_that_nobody_hears_is_told_once(visit: Visitor) -> None:
    """With the sound off, a screen reader gets the whole answer, once, when it has ended."""
    page = await visit("?transport=websocket")
    await page.start()
    await page.page.click(".vv-mute")
    await page.say(WORDS)
    await page.until("vivavoce.stats().turnState === 'done'")
    told = (
        "[...document.querySelectorAll('.vv-announcer p')].filter((line) => line.textContent.includes('seven')).length"
    )
    await page.until(f"{told} === 1")


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
