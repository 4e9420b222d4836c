"""The avatar without its background: over a page of another colour, over both transports."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import pytest
from playwright.async_api import Frame, Page, expect

from avatars.bundle import encode_jpeg
from avatars.bundle_writing import BundleContents, write_bundle
from avatars.mattes import MattesMaker
from portal.commands.portal_process import PortalProcess
from tests.browser.conftest import SIZE, STARTS, TOO_LATE, VERY_LONG, Chromium, plain_page
from tests.browser.patience import passes, until

pytestmark = pytest.mark.browser

PERSON, BACKGROUND = (210, 60, 160), (40, 90, 70)
TOP, LEFT, WIDTH, LOOP = 60, 30, 120, 60
SOFT = 6
STRIPES = "repeating-linear-gradient(90deg, rgb(255,255,0) 0 20px, rgb(0,0,255) 20px 40px)"
KEEP_WORST = """() => {
    window.misfits = [];
    const note = () => {
        const cut = document.querySelector("canvas.vv-cut");
        if (cut.hidden) return;
        const copy = document.createElement("canvas");
        [copy.width, copy.height] = [cut.width, 1];
        const painter = copy.getContext("2d");
        painter.drawImage(cut, 0, -150); // above the mouth, which flashes
        const { data } = painter.getImageData(0, 0, copy.width, 1);
        let misfit = 0;
        for (let at = 0; at < data.length; at += 4)
            if (data[at + 3] > 128 && data[at] < 150) misfit += 1; // background that was not cut away
        misfits.push(misfit);
    };
    import(document.querySelector("script[src*='/talk.js']").src).then(async ({ talkTab }) => {
        (await talkTab).player.mediaChoice.on("picture", note);
    });
}"""
"""How many columns of background are left beside the person, at every picture."""


def write_walker(path: Path) -> None:
    """A person, a block with soft sides, walks to and fro over a background, 1 px per frame: as fast as no head."""
    maker, frames = MattesMaker(), []
    background = np.empty((SIZE, SIZE, 3), np.uint8)
    background[:] = BACKGROUND
    columns = np.arange(SIZE, dtype=np.float32)
    for index in range(LOOP):
        place = LEFT + (index if index < LOOP // 2 else LOOP - index)
        row = np.clip((np.minimum(columns - place, place + WIDTH - columns) + SOFT / 2) / SOFT, 0, 1)
        matte = np.zeros((SIZE, SIZE), np.float32)
        matte[TOP:] = row
        picture = matte[..., None] * np.array(PERSON) + (1 - matte[..., None]) * background
        frames.append(encode_jpeg(np.round(picture).astype(np.uint8)))
        maker.add(np.round(255 * matte).astype(np.uint8))
    loop = np.arange(LOOP, dtype=np.int32)
    box = (LEFT + 40, 180, LEFT + 80, 220)
    contents = BundleContents(
        id=path.name,
        name=path.name.title(),
        kind="still",
        frames=frames,
        width=SIZE,
        height=SIZE,
        boxes=np.tile(np.array(box, np.int32), (LOOP, 1)),
        masks=np.full((1, 40, 40), 255, np.uint8),
        landmarks=np.zeros((LOOP, 478, 3), np.float32),
        loop=loop,
        poster=frames[0],
        mattes=maker.made(background).to_bytes(loop),
    )
    write_bundle(contents, path)


@pytest.fixture(scope="module")
def cutting_portal(portal: PortalProcess) -> Iterator[PortalProcess]:
    """The mattes of its avatar `walker` are known; those of the others are not."""
    walker = portal.log.parent / "avatars" / "walker"
    write_walker(walker)
    yield portal
    shutil.rmtree(walker)


@asynccontextmanager
async def framed(
    chromium: Chromium, portal: PortalProcess, query: str, asked: list[str] | None = None
) -> AsyncIterator[Page]:
    """A page with stripes, which has the stage view in a frame that fills it. asked: gets the addresses asked for."""
    source = f"{portal.url}/stage?{query}&controls=0&autostart=1"
    frame = f"<iframe src='{source}' style='border:0;width:512px;height:512px' allow=autoplay></iframe>"
    around = f"<!doctype html><body style='margin:0;background:{STRIPES}'>{frame}</body>"
    async with plain_page(await chromium.get(), "about:blank") as page:
        if asked is not None:
            page.on("request", lambda request: asked.append(request.url))
        await page.set_viewport_size({"width": 512, "height": 512})
        await page.route("**/around", lambda route: route.fulfill(body=around, content_type="text/html"))
        await page.goto(f"{portal.url}/around")
        await page.frames[1].wait_for_selector("#vv-canvas", state="attached")
        yield page


async def seen(page: Page) -> np.ndarray:
    """What is on the screen: RGB."""
    png = cv2.imdecode(np.frombuffer(await page.screenshot(), np.uint8), cv2.IMREAD_COLOR)
    assert png is not None
    return np.asarray(cv2.cvtColor(png, cv2.COLOR_BGR2RGB)).astype(int)


def share_like(pixels: np.ndarray, *colours: tuple[int, int, int], within: int = 24) -> float:
    """The share of pixels (..., 3) that are nearly of one of these colours."""
    near = [np.abs(pixels - np.array(colour)).max(axis=-1) <= within for colour in colours]
    return float(np.any(near, axis=0).mean())


async def live(stage: Frame, transport: str) -> None:
    """It started by itself. Where the machine was too busy for WebRTC it has fallen back, and is started again."""
    for _ in range(STARTS):
        await until(stage, "vivavoce.stats().state === 'live'")
        stats = await stage.evaluate("vivavoce.stats()")
        if stats["transport"] == transport or stats["reasonCode"] not in TOO_LATE:
            break
        await stage.evaluate("vivavoce.stop()")
        await stage.evaluate("void vivavoce.start({ avatar: 'walker' })")
    assert stats["transport"] == transport, stats


@pytest.mark.alone
@pytest.mark.parametrize(("transport", "most_misfit_px"), [("websocket", 1), ("webrtc", 4)])
async def test_a_page_is_seen_behind_the_person_and_not_through_it(
    one_chromium: Chromium,
    cutting_portal: PortalProcess,
    transport: Literal["websocket", "webrtc"],
    most_misfit_px: int,
) -> None:
    """Idle and speaking, the stripes of the page around are outside the person, and nothing but the person is inside.

    Over the socket a matte is that of its picture. Over WebRTC it may be a few pictures off, which moves no head by
    more than a pixel; this person walks four times as fast.
    """
    query = f"avatar=walker&bg=transparent&transport={'auto' if transport == 'webrtc' else transport}"
    async with framed(one_chromium, cutting_portal, query) as page:
        stage = page.frames[1]
        await live(stage, transport)
        await until(stage, "document.body.dataset.cutout === 'on'")
        await stage.evaluate(KEEP_WORST)

        async def fits() -> None:
            await stage.evaluate("(misfits.length = 0)")
            await until(stage, "misfits.length > 50")
            shot = await seen(page)
            misfits = await stage.evaluate("misfits.splice(0)")
            # The picture is twice as large on the screen; the person's left side walks between 60 and 120 px.
            inside = shot[150:340, 132:288]
            left, above = shot[150:340, :48], shot[60:104]
            assert share_like(inside, PERSON) > 0.98, inside.reshape(-1, 3).mean(axis=0)
            assert share_like(left, (255, 255, 0), (0, 0, 255)) > 0.95
            assert share_like(above, (255, 255, 0), (0, 0, 255)) > 0.95
            assert share_like(shot[104:], BACKGROUND) < 0.01
            assert np.quantile(misfits, 0.95) <= most_misfit_px, sorted(misfits)[-20:]

        # After the machine stood still for a moment, the clocks need a second or two to agree again.
        await passes(fits)
        await stage.evaluate("(words) => void vivavoce.say(words, 'echo')", VERY_LONG)
        await until(stage, "vivavoce.stats().turnState === 'speaking'")
        await passes(fits)
        assert await stage.evaluate("vivavoce.stats().turnState") == "speaking"


async def test_a_colour_or_a_blur_is_behind_the_person(one_chromium: Chromium, cutting_portal: PortalProcess) -> None:
    """Before a session, too: the still is cut out as well. A blur is one of the background without the person."""
    async with plain_page(await one_chromium.get(), f"{cutting_portal.url}/stage?avatar=walker&bg=%2300b140") as page:
        await page.set_viewport_size({"width": 512, "height": 512})
        await until(page, "document.body.dataset.cutout === 'on'")
        await until(page, "document.querySelector('img.vv-cut').naturalWidth > 0")

        async def is_cut_out() -> None:
            shot = await seen(page)
            assert share_like(shot[150:340, :48], (0, 177, 64)) > 0.98
            assert share_like(shot[150:340, 132:288], PERSON) > 0.98

        await passes(is_cut_out)
        await page.goto(f"{cutting_portal.url}/stage?avatar=walker&bg=blur")
        await until(page, "document.body.dataset.cutout === 'on'")
        backdrop = "document.querySelector('.vv-backdrop')"
        await until(page, f"{backdrop}.src.startsWith('blob:') && {backdrop}.checkVisibility()")


async def test_an_avatar_whose_background_is_not_known_keeps_it(
    one_chromium: Chromium, cutting_portal: PortalProcess
) -> None:
    """It is shown whole, and the page says why; the colour is around it."""
    async with plain_page(
        await one_chromium.get(), f"{cutting_portal.url}/stage?avatar=alpha&bg=red&autostart=1"
    ) as page:
        await until(page, "vivavoce.stats().state === 'live'")
        await until(page, "document.body.dataset.cutout === 'unknown'")
        await expect(page.locator("img.vv-cut")).to_be_hidden()
        shown = "document.querySelector(vivavoce.stats().transport === 'webrtc' ? '#vv-video' : '#vv-canvas')"
        await until(page, f"getComputedStyle({shown}).opacity === '1'")


async def test_what_is_fetched_for_it_is_little(one_chromium: Chromium, cutting_portal: PortalProcess) -> None:
    """The mattes come once, and the pictures stay as they are."""
    asked: list[str] = []
    query = "avatar=walker&bg=transparent&transport=websocket"
    async with framed(one_chromium, cutting_portal, query, asked) as page:
        stage = page.frames[1]
        await until(stage, "vivavoce.stats().frames > 25")
        for turn, text in enumerate(("one", "two"), 1):
            await stage.evaluate("(text) => vivavoce.say(text, 'echo')", text)
            await until(stage, f"vivavoce.stats().turn === {turn} && vivavoce.stats().turnState === 'done'")
        assert len([url for url in asked if "mattes.bin" in url]) == 1
