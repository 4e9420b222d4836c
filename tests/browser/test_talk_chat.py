"""The conversation on the Talk tab: what is written there, kept and told, in a real Chromium."""

from __future__ import annotations

import json

import pytest
from playwright.async_api import expect

from tests.browser.conftest import LONG, WORDS, Visitor

pytestmark = pytest.mark.browser

MARKDOWN = """# Title
Some **bold** `code` and <Save>.

1. first
2. second

| a | b |
|---|---|
| 1 | 2 |

[safe](https://example.org/) [evil](javascript:alert(1)) ![picture](https://example.org/x.png)
<img src=x onerror="window.hacked = 1"><script>window.hacked = 1</script>"""


async def test_what_was_not_played_of_an_interrupted_answer_is_faint(visit: Visitor) -> None:
    """Where it was cut one sees what was said and what was not; so after a reload."""
    page = await visit("?transport=websocket")
    await page.start()
    await page.say(LONG, "chat")
    await page.until("probe.onsets.length > 3")
    await page.page.click("#vv-interrupt")
    await page.until("document.querySelector('.vv-answer.vv-interrupted.vv-rendered .vv-unplayed') !== null")
    answer = "document.querySelector('.vv-answer').textContent"
    faint = "[...document.querySelectorAll('.vv-answer .vv-unplayed')].map((one) => one.textContent).join('')"
    whole, unplayed = await page.run(f"[{answer}, {faint}]")
    assert whole.endswith(unplayed) and 0 < len(unplayed) < len(whole)
    await page.page.reload()
    await page.eventually(faint, unplayed)


async def test_an_empty_or_overlong_text_is_told_on_the_page(visit: Visitor) -> None:
    """A text that the session refuses comes back as a message with its remedy; the session lives on."""
    page = await visit("?transport=websocket")
    await page.start()
    for text in ("   ", "word " * 20_000):
        before = await page.run("document.querySelectorAll('.vv-note.vv-error').length")
        await page.say(text)
        await page.until(f"document.querySelectorAll('.vv-note.vv-error').length > {before}")
    assert (await page.stats())["state"] == "live"


async def test_markdown_is_drawn_and_nothing_in_it_runs(visit: Visitor) -> None:
    """Lists, tables, bold and safe links become elements; what looks like HTML is shown, and nothing runs or loads."""
    page = await visit("?transport=websocket")
    await page.start()
    await page.say(MARKDOWN)
    await page.page.wait_for_selector(".vv-answer.vv-rendered td")
    answer = page.page.locator(".vv-answer")
    await expect(answer).to_contain_text("onerror")  # the last of it
    await expect(answer).to_contain_text("<Save>")
    await expect(answer).to_contain_text("picture")
    await expect(answer.locator("strong")).to_have_text(["Title", "bold"])
    await expect(answer.locator("ol li")).to_have_text(["first", "second"])
    links = "[...document.querySelectorAll('.vv-answer a[href]')].map((a) => [a.href, a.rel])"
    await page.eventually(links, [["https://example.org/", "noopener noreferrer"]])
    await expect(answer.locator("img, script, h1")).to_have_count(0)
    assert await page.run("window.hacked") is None


NOTED_HELLOS = """
    window.hellos = [];
    const send = WebSocket.prototype.send;
    WebSocket.prototype.send = function (data) {
        if (typeof data === 'string' && data.includes('"hello"')) hellos.push(JSON.parse(data).history);
        send.call(this, data);
    };
"""


async def test_stop_and_start_go_on_with_the_conversation(visit: Visitor) -> None:
    """What stands on the page is what the next session knows."""
    page = await visit("?transport=websocket", before=NOTED_HELLOS)
    await page.start()
    await page.say("remember this", "chat")
    await page.until("vivavoce.stats().turnState === 'done'")
    await page.page.click("#vv-stop")
    await page.until("vivavoce.stats().state === 'idle'")
    await expect(page.page.locator(".vv-answer")).not_to_be_empty()
    await page.start()
    _first, history = await page.run("hellos")
    assert [remark["role"] for remark in history] == ["user", "assistant"]
    assert history[0]["content"] == "remember this"


async def test_a_reload_keeps_the_conversation_and_tells_it_to_the_new_session(visit: Visitor) -> None:
    """What was said is there again after a reload; the next session hears of it; a new conversation forgets it all."""
    page = await visit("?transport=websocket", before=NOTED_HELLOS)
    await page.page.fill(".vv-composer textarea", "remember **this**")
    await page.page.keyboard.press("Enter")
    await page.until("vivavoce.stats().turnState === 'done'")
    assert await page.run("hellos") == [[]]
    await page.page.reload()
    await page.page.wait_for_selector("#vv-start:not([disabled])")
    await expect(page.page.locator(".vv-asked")).to_have_text("remember **this**")
    await page.until("document.querySelector('.vv-answer strong')?.textContent === 'this'")
    await page.start()
    (history,) = await page.run("hellos")
    assert [remark["role"] for remark in history] == ["user", "assistant"]
    assert history[0]["content"] == "remember **this**"
    await page.page.click(".vv-new")
    await page.until("vivavoce.stats().state === 'live' && hellos.length === 2")
    assert (await page.run("hellos"))[1] == []
    await expect(page.page.locator(".vv-bubble")).to_have_count(0)
    await page.page.reload()
    await page.page.wait_for_selector("#vv-start:not([disabled])")
    await expect(page.page.locator(".vv-bubble")).to_have_count(0)


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
    await expect(page.page.locator(".vv-bubble")).to_have_count(20)
    await page.until(f"document.querySelector('.vv-rendered') && ({left})() < 3")
    await page.page.set_viewport_size({"width": 1280, "height": 620})
    await page.until(f"innerHeight === 620 && ({left})() < 3")
    await page.run("document.querySelector('.vv-log').scrollTop = 0")
    await page.page.set_viewport_size({"width": 1280, "height": 700})
    await page.until("innerHeight === 700")
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
    await page.eventually("navigator.clipboard.readText().then((text) => text.includes('hello there'))", True)
    await answer.get_by_role("button", name="Again").click()
    await page.until("document.querySelectorAll('.vv-asked').length === 2")
    question = page.page.locator(".vv-message", has=page.page.locator(".vv-asked")).first
    await question.hover()
    await question.get_by_role("button", name="Edit").click()
    await expect(page.page.locator(".vv-composer textarea")).to_have_value("hello there")
    async with page.page.expect_download() as waiting:
        await page.page.click(".vv-export")
    download = await waiting.value
    saved = (await download.path()).read_text(encoding="utf-8")
    assert download.suggested_filename.endswith(".md")
    assert saved.startswith("**You:** hello there") and "**Alpha:** " in saved
    await page.page.click(".vv-language")
    await expect(question.get_by_role("button", name="编辑")).to_be_attached()
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
