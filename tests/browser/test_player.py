"""The page's player by its parts (portal/static), with made clocks, sockets and media; run by a real browser."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, Page, Route

from tests.browser.conftest import browser_fixture

pytestmark = pytest.mark.browser

STATIC = Path(__file__).parents[2] / "portal" / "static"
HOST = "http://localhost:1/"  # nobody listens there: every answer is made here


async def serve(route: Route) -> None:
    name = route.request.url.removeprefix(HOST)
    if name:
        await route.fulfill(path=STATIC / name, content_type="text/javascript")
    else:
        await route.fulfill(body="<video></video><canvas></canvas>", content_type="text/html")


@browser_fixture()
async def page(browser: Browser) -> AsyncIterator[Page]:
    """A page beside which the modules of portal/static lie, with a video, a canvas and a clock that only tests move."""
    opened = await browser.new_page()
    await opened.route(HOST + "**", serve)
    await opened.clock.install(time=0)
    await opened.goto(HOST)
    await opened.clock.pause_at(1000)
    yield opened
    await opened.close()


async def run(page: Page, module: str, names: str, script: str) -> Any:
    return await page.evaluate(f"async () => {{ const {{ {names} }} = await import('/{module}.js'); {script} }}")


async def hush(page: Page, script: str) -> Any:
    """A sound that was interrupted at 0 ms."""
    return await run(
        page,
        "hush",
        "Hush",
        f"const hush = new Hush(0); const now = (...given) => hush.remainingMs(...given); {script}",
    )


async def test_silence_lasts_until_what_was_under_way_is_over(page: Page) -> None:
    """However long that is: it was sent before the server said that the turn is over."""
    assert await hush(page, "hush.turnOver(50); return [60, 1000, 1540, 1560].map((at) => now(at, 1400) > 0)") == [
        *(True, True, True, False)
    ]
    assert await hush(page, "hush.turnOver(50); return [60, 150, 250].map((at) => now(at, 40) > 0)") == [
        *(True, True, False)
    ]


async def test_the_delay_is_taken_as_it_is_now(page: Page) -> None:
    """A buffer that grew after the interruption holds the sound back for longer."""
    assert await hush(page, "hush.turnOver(50); return [now(100, 60), now(150, 900)]") == [110, 900]


async def test_silence_lasts_while_the_server_has_not_said_that_the_turn_is_over(page: Page) -> None:
    """A busy server goes on sending speech; but nobody stays mute for ever."""
    assert await hush(page, "return [now(400, 0), now(4900, 0), now(5000, 0)].map((left) => left > 0)") == [
        *(True, True, False)
    ]


async def test_the_next_answer_is_heard_from_its_first_sound(page: Page) -> None:
    """It comes through the same buffer as what was interrupted, so it is waited for as long, and no longer."""
    left = "const over = (at, delay) => now(at, delay) === 0; hush.turnOver(50); hush.speaking(90);"
    # Sent at 90 it is heard 1400 ms later; what was interrupted has ended by then.
    assert await hush(page, f"{left} return [over(1440, 1400), over(1490, 1400)]") == [False, True]
    assert await hush(page, f"{left} return over(90, null)")  # where the delay is not told, nothing may be missed


async def test_a_turn_that_began_to_speak_before_it_was_interrupted_is_not_the_next(page: Page) -> None:
    """Its own message may be under way when Interrupt is pressed."""
    assert await hush(page, "hush.speaking(10); hush.turnOver(50); return now(100, 0)") == 50


async def test_sound_that_stands_still_is_waited_for(page: Page) -> None:
    """A busy Firefox lets nothing out of its buffer for a second; what was interrupted is still in there."""
    await run(
        page,
        "webrtc",
        "WebRtcMedia",
        """
        const media = window.media = Object.assign(Object.create(WebRtcMedia.prototype), {
            closed: false,
            stands: true,
            out: 4800,
            on: null,
            async inbound() {
                if (!this.stands) this.out += 480;
                const timestamp = performance.now();
                return { audio: { timestamp, jitterBufferEmittedCount: this.out, jitterBufferDelay: this.out * 0.01 } };
            },
            sound(on) { this.on = on; },
        });
        media.interrupt();
        media.turnOver();
        """,
    )
    await page.clock.run_for(2000)
    assert await page.evaluate("media.on") is False
    await page.evaluate("media.stands = false")
    await page.clock.run_for(500)
    assert await page.evaluate("media.on") is True


async def test_a_time_of_another_clock_is_not_believed(page: Page) -> None:
    """WebKitGTK's performanceTime is ahead by the context's age; there the latency tells when a sample is heard."""
    context = "{ currentTime: 12, outputLatency: 0.05, getOutputTimestamp: () => stamp }"
    offset = f"(stamp) => outputOffsetMs({context}, 15700)"
    times = [24800, 15900, 15740, 15690, 0, 3000]
    stamps = f"{times}.map((performanceTime) => ({{ contextTime: 11.9, performanceTime }}))"
    given = await run(page, "socket-media", "outputOffsetMs", f"return {stamps}.map({offset})")
    assert given == [3750, 3750, 3840, 3790, 3750, 3750]


async def test_an_interruption_is_silent_before_the_ring_hears_of_it(page: Page) -> None:
    """A busy page's word to the ring may be late: nothing sounds until it is there; on a muted page not then either."""
    levels = await run(
        page,
        "socket-media",
        "SocketMedia",
        """
        const levels = [];
        const output = { context: { currentTime: 0 } };
        const media = new SocketMedia(document.querySelector("canvas"), output);
        media.gain = { gain: { setTargetAtTime: (level) => levels.push(level) } };
        media.source = { quiet: () => {} };
        const told = (hushes) => media.report({ hushes, onset: null });
        const after = (...doings) => {
            levels.length = 0;
            for (const doing of doings) doing();
            return levels.join();
        };
        return [
            after(() => media.interrupt(), () => told(0)),
            after(() => told(1), () => told(1)),
            after(() => media.interrupt(), () => media.interrupt(), () => told(2), () => told(3)),
            after(() => media.interrupt(), () => (media.muted = true), () => (media.muted = false), () => told(4)),
            after(() => (media.muted = true), () => media.interrupt(), () => told(5)),
        ];
        """,
    )
    assert levels == ["0", "1", "0,0,1", "0,0,0,1", "0,0,0"]


async def test_a_browser_that_freezes_when_asked_for_its_latency_is_not_asked(page: Page) -> None:
    """Firefox on Linux holds a lock meanwhile that its sound waits for; what is usual there is taken instead."""
    context = "{ currentTime: 12, getOutputTimestamp: freeze, get outputLatency() { return freeze(); } }"
    freeze = "const freeze = () => { throw new Error('the page stands still'); };"
    given = await run(page, "socket-media", "outputOffsetMs", f"{freeze} return outputOffsetMs({context}, 15700, true)")
    assert given == 3750


async def test_pictures_are_shown_even_if_the_clock_never_reaches_them(page: Page) -> None:
    """Whatever is wrong with it: two seconds of pictures do not pile up unseen."""
    shown = await run(
        page,
        "socket-media",
        "SocketMedia",
        """
        const canvas = document.querySelector("canvas");
        const blob = await new Promise((made) => canvas.toBlob(made, "image/jpeg"));
        const jpeg = await blob.arrayBuffer();
        const output = { context: { state: "running" }, isRunning: true, offsetMs: 0 };
        const media = new SocketMedia(canvas, output);
        media.position = { ptsMs: 0, at: 1e6, playing: true };
        for (let i = 0; i < 60; i += 1) await media.decode(i * 40, jpeg, 0);
        return [media.frames, media.pictures.length];
        """,
    )
    assert shown == [10, 50]


@pytest.mark.parametrize(
    ("paused", "hidden", "asleep_ms", "missed"),
    [
        ("true", "false", 0, None),
        ("false", "true", 0, None),
        ("false", "false", 3_600_000, None),
        ("false", "false", 0, "stalled"),
    ],
    ids=["paused", "out of sight", "lid was closed", "stalled"],
)
async def test_a_paused_video_is_not_a_stalled_one(
    page: Page, paused: str, hidden: str, asleep_ms: int, missed: str | None
) -> None:
    """A call, a key, another tab, a machine that slept: not the network. What stops by itself is missed."""
    reason = await run(
        page,
        "player",
        "Player",
        f"""
        const [video, canvas] = [document.querySelector("video"), document.querySelector("canvas")];
        const player = new Player(video, canvas, "ws://localhost:1");
        const choice = player.mediaChoice;
        let reason = null;
        choice.missPictures = (_media, why) => (reason = why);
        player.state = "live";
        Object.defineProperty(document, "hidden", {{ get: () => {hidden} }});
        const now = performance.now();
        const media = {{ name: "webrtc", shown: true, isPaused: {paused} }};
        Object.assign(choice, {{ media, lookedAt: now - {asleep_ms}, lastPictureAt: now - 9000 }});
        choice.look();
        return reason;
        """,
    )
    assert reason == missed


async def test_a_hold_silences_what_waits_here_and_tells_the_server_what_was_played(page: Page) -> None:
    """What goes on after it is not missed, and the subtitle comes anew."""
    told = await run(
        page,
        "player",
        "Player",
        """
        const player = new Player(document.querySelector("video"), document.querySelector("canvas"), "ws://localhost:1");
        const told = [];
        const tells = (name) => () => void told.push(name);
        player.mediaChoice.media = {
            name: "websocket", mediaNow: () => 11.75,
            interrupt: tells("silent"), turnOver: tells("over"), speaking: tells("goes on"),
        };
        player.session = { mediaNow: () => 12, send: ({ type, at }) => void told.push(`${type} ${at}`) };
        player.subtitles.add({ turn: 3, text: "Words.", start: 10, end: 14, spoken: true });
        player.hear({ type: "hold", turn: 3, held: true });
        told.push(`subtitle ${player.subtitle}`);
        player.hear({ type: "hold", turn: 3, held: false });
        return told;
        """,
    )
    assert told == ["reached 11.75", "silent", "over", "subtitle ", "goes on"]


SERVER = """
    window.tries = [];
    window.answer = null; // what the server says to the next hello; null: it cannot be reached
    window.fetch = () => Promise.reject(new TypeError("nobody answers")); // what refused a socket says no more than it
    window.WebSocket = class extends EventTarget {
        static OPEN = 1;
        constructor() {
            super();
            tries.push(performance.now());
            setTimeout(() => {
                if (!answer) return this.onclose?.();
                this.readyState = 1;
                this.onopen();
            }, 10);
        }
        send(text) {
            const { type } = JSON.parse(text);
            const told = type === "hello" ? answer : { type: "pong", t: performance.now(), media: 0 };
            setTimeout(() => this.onmessage?.({ data: JSON.stringify(told) }), 10);
        }
        close() { this.readyState = 3; }
    };
    window.told = [];
    const follow = (session) => {
        for (const type of ["lost", "renewed", "resumed", "ended"]) {
            session.addEventListener(type, ({ detail }) => told.push(detail?.code ? `${type} ${detail.code}` : type));
        }
        return session;
    };
"""
OPENED = f"""
    {SERVER}
    window.answer = {{ type: "welcome", token: "t", session: "s" }};
"""


async def opened(page: Page, options: str) -> None:
    await run(
        page,
        "session",
        "SessionSocket",
        f"{OPENED} window.session = follow(new SessionSocket('ws://localhost:1', {options})); session.open({{}}); 0",
    )
    await page.clock.run_for(100)


async def test_a_session_that_is_kept_is_tried_for_twelve_hours(page: Page) -> None:
    """Ever more slowly, but at least each half minute; and it is there again as soon as the server is."""
    await opened(page, "{ keep: true }")
    await page.evaluate("answer = null; tries.length = 0; session.socket.onclose()")
    await page.clock.run_for(12 * 3600 * 1000)
    assert await page.evaluate("told") == ["lost"]
    gaps = "tries.slice(1).map((at, index) => at - tries[index])"
    assert 12 * 120 - 20 < await page.evaluate("tries.length") < 12 * 120 + 20
    assert await page.evaluate(f"Math.max(...{gaps})") < 31_000
    await page.evaluate("answer = { type: 'welcome', token: 'u', session: 'new' }; 0")
    await page.clock.run_for(31_000)
    assert await page.evaluate("told") == ["lost", "renewed"]


async def test_a_session_that_is_not_kept_is_given_up_after_a_minute(page: Page) -> None:
    """As a viewer who sits before it expects."""
    await opened(page, "{}")
    await page.evaluate("answer = null; session.socket.onclose()")
    await page.clock.run_for(70_000)
    assert await page.evaluate("told") == ["lost", "ended unreachable"]


async def test_a_network_that_is_back_is_used_at_once(page: Page) -> None:
    """The browser says when there is one again; the pause between two tries ends with it."""
    await opened(page, "{ keep: true }")
    await page.evaluate("answer = null; session.socket.onclose()")
    await page.clock.run_for(600_000)
    await page.evaluate("answer = { type: 'welcome', token: 'u', resumed: true }; dispatchEvent(new Event('online'))")
    await page.clock.run_for(100)
    assert await page.evaluate("told") == ["lost", "resumed"]


@pytest.mark.parametrize(
    ("options", "told"), [("{ keep: true }", ["lost", "renewed"]), ("{}", ["ended session_closed"])]
)
async def test_the_idle_timeout_ends_only_what_is_not_kept(page: Page, options: str, told: list[str]) -> None:
    """A screen that nobody looks after opens another session."""
    await opened(page, options)
    closed = "JSON.stringify({ type: 'error', code: 'session_closed', message: 'idle' })"
    await page.evaluate(f"session.socket.onmessage({{ data: {closed} }})")
    await page.clock.run_for(2000)
    assert await page.evaluate("told") == told


PLAYED = f"""
    {OPENED}
    answer.avatar = {{ id: "alpha" }};
    const peer = (flows) => ({{
        name: "webrtc", frames: 1, shown: true, isPaused: false,
        flows: async () => flows, close() {{ this.closed = true; }}, addEventListener() {{}},
    }});
    window.player = new Player(document.querySelector("video"), document.querySelector("canvas"), "ws://localhost:1");
    const choice = player.mediaChoice;
    choice.output = {{ context: {{ resume() {{}} }} }};
    choice.begin = () => {{ choice.media = peer(window.flows); player.setState("live"); }};
    choice.useWebRtc = () => {{ told.push("new peer"); choice.media = peer(true); }};
    choice.useSocket = (reason) => told.push(`websocket ${{reason}}`);
    for (const type of ["ended", "return"]) {{
        player.addEventListener(type, ({{ detail }}) => told.push(detail?.code ? `${{type}} ${{detail.code}}` : type));
    }}
    player.start().catch(() => {{}}); 0
"""
"""A player with its session, and a peer that still gives something (or not: window.flows)."""
CLOSED = "JSON.stringify({ type: 'error', code: 'session_closed', message: 'idle' })"


async def played(page: Page, flows: str = "true") -> None:
    await run(page, "player", "Player", f"window.flows = {flows}; {PLAYED}")
    await page.clock.run_for(100)
    assert await page.evaluate("player.state") == "live"


@pytest.mark.parametrize(
    "sign", ["pointerup", "touchend", "keydown", "visibilitychange"], ids=["pointer", "touch", "key", "look"]
)
async def test_a_viewer_who_is_back_after_the_idle_timeout_is_told_of_once(page: Page, sign: str) -> None:
    """Whatever shows it first; the page may then start again."""
    await played(page)
    await page.evaluate(f"player.session.socket.onmessage({{ data: {CLOSED} }})")
    await page.clock.run_for(1000)
    assert await page.evaluate("told") == ["ended session_closed"]
    for _ in range(2):
        await page.evaluate(f"document.dispatchEvent(new Event('{sign}', {{ bubbles: true }}))")
        await page.clock.run_for(1000)
    assert await page.evaluate("told") == ["ended session_closed", "return"]


async def test_who_pressed_stop_is_not_brought_back(page: Page) -> None:
    """Also when the session had been ended by the server before."""
    await played(page)
    await page.evaluate(f"player.session.socket.onmessage({{ data: {CLOSED} }}); player.stop()")
    await page.evaluate("document.dispatchEvent(new Event('pointerup', { bubbles: true }))")
    await page.clock.run_for(1000)
    assert await page.evaluate("told") == ["ended session_closed"]


async def test_a_server_without_a_free_port_is_believed_at_once(page: Page) -> None:
    """Nobody waits for an answer that will not come, and the reason is told once."""
    await played(page)
    refusal = "JSON.stringify({ type: 'error', code: 'no_udp_port', message: 'taken' })"
    await page.evaluate("player.media.shown = false; player.addEventListener('error', () => told.push('error'))")
    await page.evaluate(f"player.session.socket.onmessage({{ data: {refusal} }})")
    await page.clock.run_for(100)
    assert await page.evaluate("told") == ["websocket no_port"]


DEAD_SOCKET = "player.session.socket.send = () => {};"


@pytest.mark.parametrize(
    ("flows", "noticed", "told"),
    [
        ("false", DEAD_SOCKET + "player.mediaChoice.missPictures(player.media, 'stalled')", ["new peer"]),
        ("false", "player.mediaChoice.missPictures(player.media, 'stalled')", ["websocket stalled"]),
        ("false", DEAD_SOCKET + "dispatchEvent(new Event('online'))", ["new peer"]),
        ("true", DEAD_SOCKET + "dispatchEvent(new Event('online'))", []),
    ],
    ids=["both dead", "peer dead", "online, both dead", "online, peer lives"],
)
async def test_a_new_network_gets_a_new_peer(page: Page, flows: str, noticed: str, told: list[str]) -> None:
    """If the socket is dead too, it is mended first, and WebRTC tried again; else it is WebRTC that gets no further."""
    await played(page, flows)
    await page.evaluate(f"window.first = player.media; answer.resumed = true; tries.length = 0; {noticed}; 0")
    await page.clock.run_for(5000)
    assert await page.evaluate("window.told") == told
    assert await page.evaluate("player.state") == "live"
    assert await page.evaluate("tries.length") == (1 if "send" in noticed else 0)
    assert await page.evaluate("first.closed === true") == (told == ["new peer"])


@pytest.mark.parametrize(("plays", "told"), [(2, ["stopped", "stopped"]), (1, ["stopped", "failed"])])
async def test_a_second_track_does_not_forbid_the_video(page: Page, plays: int, told: list[str]) -> None:
    """Without a gesture it plays mute: that a play() was ended by the next one is no refusal; the last one's is."""
    script = f"""
        const refused = [];
        const play = () => new Promise((played, reject) => refused.push(() => reject({{ name: "NotAllowedError" }})));
        const media = new WebRtcMedia({{ play, removeEventListener() {{}} }}, [], () => {{}});
        const told = [];
        for (const type of ["stopped", "failed"]) media.addEventListener(type, () => told.push(type));
        const settle = async (index) => (refused[index](), await new Promise((over) => queueMicrotask(over)));
        media.play();
        await settle(0); // with its sound, so it is tried without
        await Promise.resolve();
        if ({plays} === 2) media.play(); // the other track has come
        await settle(1); // the mute one
        await Promise.resolve();
        if ({plays} === 2) await settle(2);
        for (let i = 0; i < 10; i += 1) await Promise.resolve();
        media.close();
        return told;
    """
    assert await run(page, "webrtc", "WebRtcMedia", script) == told
