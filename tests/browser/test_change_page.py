"""Changing the voice and the persona on the Talk tab while a session runs, in a real Chromium."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from tests.browser.conftest import LONG, TAB, Visitor
from tests.browser.patience import note, until_noted

pytestmark = pytest.mark.browser

NOTE_CHOICES = "window.choices = []; void vivavoce.on('choice', (told) => choices.push(told))"


async def test_a_persona_that_is_typed_holds_from_the_next_answer_on(visit: Visitor) -> None:
    """No new start: the same session says so, and the next visit begins with it."""
    page = await visit("?transport=websocket")
    stats = await page.start()
    await page.run(NOTE_CHOICES)
    await note(page.page, ".vv-toast")
    await page.page.click(".vv-settings > summary")
    await page.page.click(".vv-persona > summary")
    await page.page.fill(".vv-persona [name=prompt]", "You are a cat.")
    await page.page.press(".vv-persona [name=prompt]", "Tab")
    await until_noted(page.page, ".vv-toast", "Changed")
    await page.eventually("choices.map(({changed, choice}) => [changed, choice.persona])", [[True, "session"]])
    assert (await page.stats())["session"] == stats["session"]
    await page.eventually(f"{TAB}.player.session.hello.prompt", "You are a cat.")


async def test_a_voice_is_changed_while_an_answer_is_spoken(visit: Visitor) -> None:
    """The answer goes on; the menus show what is in force, and a change of the volume is none of the voice."""
    page = await visit("?transport=websocket")
    await page.start()
    await page.run(NOTE_CHOICES)
    await page.say(LONG)
    await page.until("vivavoce.stats().turnState === 'speaking'")
    await page.run(f"{TAB}.player.changes.change({{ ...{TAB}.player.changes.chosen, voice: 'beep' }})")
    await page.eventually("choices.map(({changed, choice}) => [changed, choice.voice])", [[True, "beep"]])
    await page.eventually("document.querySelector('.vv-settings [name=voice]').value", "beep")
    await page.page.click(".vv-settings > summary")
    await page.run(
        "document.querySelector('.vv-settings .vv-panel').dispatchEvent(new Event('change', {bubbles: true}))"
    )
    await page.until("vivavoce.stats().turnState === 'done'")
    assert await page.run("choices.length") == 1
    await expect(page.page.locator(".vv-interrupted")).to_have_count(0)


async def test_a_voice_that_cannot_be_had_is_told_and_the_menus_go_back(visit: Visitor) -> None:
    """The session goes on as it was."""
    page = await visit("?transport=websocket")
    await page.start()
    await page.run(f"{TAB}.player.changes.change({{ ...{TAB}.player.changes.chosen, voice: 'nobody' }})")
    await page.page.wait_for_selector(".vv-error")
    await page.until(f"{TAB}.player.changes.unanswered.length === 0")
    await page.eventually("document.querySelector('.vv-settings [name=voice]').value", "")
    await page.eventually(f"{TAB}.player.changes.chosen.voice", None)
    await page.say("one two three.")
    await page.until("vivavoce.stats().turnState === 'done'")
