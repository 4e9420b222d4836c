"""The Talk tab in a real Chromium, with voices that beep and mouths that flash.

They tell that something works, not how fast: `launch.py bench` measures.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import urllib.request

import pytest
from playwright.async_api import expect

from portal.commands.portal_process import PortalProcess
from tests.browser.conftest import LONG, NO_UDP, VERY_LONG, WORDS, Visitor
from tests.browser.patience import WITHIN_S, note, passes, until_noted

pytestmark = pytest.mark.browser


TRANSPORTS = pytest.mark.parametrize(
    ("query", "transport"), [("", "webrtc"), ("?transport=websocket", "websocket")], ids=["webrtc", "websocket"]
)


def live_sessions(portal: PortalProcess) -> int:
    with urllib.request.urlopen(f"{portal.url}/healthz") as answer:
        return int(json.load(answer)["sessions"]["live"])


async def free_again(portal: PortalProcess, within_s: float = 20) -> None:
    """Until every session has ended; by default before the grace of a broken socket would be over, which is 30 s."""

    async def is_free() -> None:
        assert await asyncio.to_thread(live_sessions, portal) == 0

    await passes(is_free, within_s)


@TRANSPORTS
async def test_start_shows_the_avatar_and_say_is_heard_and_seen(visit: Visitor, query: str, transport: str) -> None:
    """Start brings pictures; say is heard, moves the mouth, brings subtitles and text; then there is silence again."""
    page = await visit(query)
    stats = await page.start(transport)
    assert 0 < stats["firstFrameMs"] < 1000 * WITHIN_S
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
    await page.until("vivavoce.stats().latencyMs > 0")
    stats = await page.stats()
    assert stats["latencyMs"] < 1000 * WITHIN_S
    assert stats["reasonCode"] == ("forced" if transport == "websocket" else None)


@pytest.mark.alone
@TRANSPORTS
async def test_sound_and_picture_are_in_step(visit: Visitor, query: str, transport: str) -> None:
    """Over ten seconds, beeps sound when the mouth flashes; the page's own figure agrees."""
    page = await visit(query)
    await page.start(transport)
    tap_ms = 40 if transport == "webrtc" else 0  # what the probe's own ears add to the sound of a video element

    async def is_in_step() -> None:
        turn = (await page.stats())["turn"]
        await page.run("(probe.flashes = [], probe.onsets = [], 0)")
        await page.say(LONG)
        await page.until(f"vivavoce.stats().turn > {turn} && vivavoce.stats().turnState === 'done'")
        skews = await page.run("probe.skews()")
        assert len(skews) > 25
        assert abs(statistics.median(skews) - tap_ms) < 80
        skew_ms = (await page.stats())["avSkewMs"]
        assert skew_ms is not None and abs(skew_ms) < 80

    await passes(is_in_step)  # what a machine with other work loses it finds again; what is out of step stays so


@pytest.mark.alone
@TRANSPORTS
async def test_interrupt_silences(visit: Visitor, query: str, transport: str) -> None:
    """Interrupt ends the sound of a long answer, and the turn says so."""
    page = await visit(query)
    await page.start(transport)
    await page.say(LONG)
    await page.until("probe.onsets.length > 3")
    await page.page.click("#vv-interrupt")
    await page.run("window.interruptedAt = performance.now()")
    await page.until("vivavoce.stats().turnState === 'interrupted'")
    # What the speaker had by then has been heard, and told by the probe. Between two sentences it is silent already.
    await page.until("performance.now() - interruptedAt > 500 && !probe.sounding")
    heard = await page.run("probe.onsets.length")
    await page.until("performance.now() - interruptedAt > 1500")
    assert await page.run("probe.onsets.length") == heard
    await expect(page.page.locator(".vv-subtitle")).to_have_text("")


async def test_without_udp_it_falls_back_by_itself(visit: Visitor) -> None:
    """Where the network lets no UDP through, the pictures come over the WebSocket, with the reason on the page."""
    page = await visit(flags=NO_UDP)
    stats = await page.start("websocket")
    assert stats["reasonCode"] == "no_route"
    await expect(page.page.locator("#vv-status")).to_contain_text("no UDP")
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
    stats = await page.start("websocket", too_late={"no_answer"})
    assert stats["reasonCode"] in ("no_picture", "failed", "unsupported")


async def test_a_stall_in_mid_turn_moves_the_turn_to_the_websocket(visit: Visitor) -> None:
    """When WebRTC pictures stop in mid-sentence, the same turn goes on over the socket, and no further."""
    page = await visit(
        before="""
        window.RTCPeerConnection = class extends RTCPeerConnection {
            constructor(...given) { super(...given); window.peer = this; }
        };
        """
    )
    await page.start("webrtc")
    await page.say(VERY_LONG)
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
    stats = await page.start(transport)
    await page.say(VERY_LONG)
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
    await expect(page.page.locator(".vv-asked")).to_have_text("hello there")


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
    await expect(page.page.locator(".vv-error")).to_contain_text("请再次点击")
    await page.until("vivavoce.stats().state === 'idle'")


async def test_stop_and_start_again(visit: Visitor, portal: PortalProcess) -> None:
    """Stop frees the session at once; Start opens a new one."""
    await free_again(portal, within_s=60)  # a page closed by force leaves its seat to the grace
    page = await visit()
    first = await page.start()
    await page.page.click("#vv-stop")
    await free_again(portal)
    second = await page.start()
    assert second["session"] != first["session"]


async def test_a_tab_closed_in_mid_turn_frees_its_session(visit: Visitor, portal: PortalProcess) -> None:
    """Closing the tab while the avatar speaks ends the session without waiting for the grace."""
    await free_again(portal, within_s=60)  # a page closed by force leaves its seat to the grace
    page = await visit()
    await page.start()
    await page.say(LONG)
    await page.until("probe.onsets.length > 1")
    assert await asyncio.to_thread(live_sessions, portal) == 1
    await page.page.close(run_before_unload=True)
    await free_again(portal)


async def test_a_reload_works_and_leaves_nothing_behind(visit: Visitor, portal: PortalProcess) -> None:
    """Reloading in mid-turn ends the old session; the page starts again."""
    await free_again(portal, within_s=60)  # a page closed by force leaves its seat to the grace
    page = await visit()
    await page.start()
    await page.say(LONG)
    await page.until("probe.onsets.length > 1")
    await page.page.reload()
    await page.page.wait_for_selector("#vv-start:not([disabled])")
    await free_again(portal)
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
    await expect(last.page.locator("#vv-status")).not_to_contain_text("in line")


async def test_a_reload_keeps_avatar_settings_sound_and_tab(visit: Visitor) -> None:
    """What a viewer has chosen is chosen again after a reload; a new visit begins with the Talk tab."""
    page = await visit("?debug=1")
    await page.page.click(".vv-avatar[data-id=beta]")
    await page.page.click(".vv-settings > summary")
    await page.page.select_option("[name=lipsync]", "null")
    await page.start()
    await page.page.click(".vv-mute")
    await page.page.get_by_role("tab").nth(3).click()
    await page.page.wait_for_selector("[role=tab][aria-selected=true][data-tab-id=jobs]")
    await page.page.reload()
    await page.page.wait_for_selector("[role=tab][aria-selected=true][data-tab-id=jobs]")
    await page.page.get_by_role("tab").nth(0).click()
    await page.until("document.querySelector('.vv-avatar[data-id=beta]')?.getAttribute('aria-checked') === 'true'")
    await page.until("document.querySelector('vivavoce-talk [name=lipsync]').value === 'null'")
    await expect(page.page.locator(".vv-mute")).to_have_attribute("aria-pressed", "true")
    await page.eventually("document.querySelector('vivavoce-talk').tab.player.muted", True)
    other = await page.page.context.new_page()
    await other.goto(page.portal.url)
    await other.wait_for_selector("[role=tab][aria-selected=true][data-tab-id=talk]")


async def test_escape_interrupts(visit: Visitor) -> None:
    """Escape cuts the answer, as the button does; with the settings open it only closes them."""
    page = await visit("?transport=websocket")
    await page.start()
    await page.say(VERY_LONG)
    await page.until("vivavoce.stats().turnState === 'speaking'")
    await page.page.click(".vv-settings > summary")
    await page.page.keyboard.press("Escape")
    await page.eventually("document.querySelector('.vv-settings').open", False)
    assert await page.run("vivavoce.stats().turnState") == "speaking"
    await page.page.keyboard.press("Escape")
    await page.until("vivavoce.stats().turnState === 'interrupted'")
