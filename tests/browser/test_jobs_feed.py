"""The one place that asks for jobs (portal/static/jobs-feed.js), with a made clock and server; in a real browser."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.async_api import Page

from tests.browser.test_player import page, run

__all__ = ["page"]

pytestmark = pytest.mark.browser

SERVER = """
    window.jobs = [{ id: "one", state: "running", progress: 0.25 }]; // null: the server is away
    window.asked = [];
    window.fetch = async (address) => {
        asked.push(String(address).split("/api/")[1]);
        if (!jobs) throw new TypeError("away");
        const one = jobs.find(({ id }) => asked.at(-1) === `jobs/${id}`);
        if (asked.at(-1).startsWith("jobs/") && !one) return { ok: false, status: 404 };
        return { ok: true, json: async () => one ?? jobs };
    };
    Object.defineProperty(document, "hidden", { get: () => window.isAway === true });
"""
MINUTE_MS = 60_000


async def watched(page: Page, watchers: int = 2) -> None:
    await run(page, "jobs-feed", "feed", f"{SERVER} for (let n = 0; n < {watchers}; n += 1) feed.watch({{}}); 0")


async def asked_in_a_minute(page: Page) -> int:
    await page.evaluate("asked.length = 0")
    await page.clock.run_for(MINUTE_MS)
    return int(await page.evaluate("asked.length"))


async def test_whoever_watches_the_server_is_asked_once(page: Page) -> None:
    """Each second while a job is under way, for all tabs together; not at all when none is."""
    await watched(page)
    assert 58 <= await asked_in_a_minute(page) <= 61
    await page.evaluate("jobs[0].state = 'done'; 0")
    await page.clock.run_for(2000)
    assert await asked_in_a_minute(page) == 0


async def test_a_page_that_nobody_sees_asks_rarely(page: Page) -> None:
    """Twice a minute; and at once when somebody looks again."""
    await watched(page)
    await page.evaluate("isAway = true; 0")
    await page.clock.run_for(2000)
    assert 1 <= await asked_in_a_minute(page) <= 2
    await page.evaluate("isAway = false; asked.length = 0; document.dispatchEvent(new Event('visibilitychange'))")
    assert await page.evaluate("asked.length") == 1
    assert await asked_in_a_minute(page) >= 58


async def test_a_server_that_is_away_is_asked_until_it_is_back(page: Page) -> None:
    """More slowly than one that answers."""
    await watched(page)
    await page.evaluate("jobs = null; 0")
    await page.clock.run_for(2000)
    assert 11 <= await asked_in_a_minute(page) <= 13
    await page.evaluate("jobs = [{ id: 'one', state: 'running' }]; 0")
    await page.clock.run_for(6000)
    assert await asked_in_a_minute(page) >= 58


async def test_an_answer_that_was_overtaken_is_dropped(page: Page) -> None:
    """Of two looks under way, what the later one has told stays."""
    shown = await run(
        page,
        "jobs-feed",
        "feed",
        """
        const answers = [];
        window.fetch = () => new Promise((answer) => {
            answers.push((jobs) => answer({ ok: true, json: async () => jobs }));
        });
        const [older, newer] = [feed.refresh(), feed.refresh()];
        answers[1]([{ id: "new", state: "done" }]);
        await newer;
        answers[0]([{ id: "old", state: "done" }]);
        await older;
        return feed.jobs.map(({ id }) => id);
        """,
    )
    assert shown == ["new"]


WAITED = f"""
    {SERVER}
    window.told = [];
    window.leaving = new AbortController();
    const over = (word) => told.push(word);
    jobDone(wanted, leaving.signal, over).then(() => over("done"), ({{ code }}) => over(code));
    0
"""


@pytest.mark.parametrize(
    ("wanted", "happens", "told"),
    [
        ("one", "jobs[0].state = 'done'", "done"),
        ("one", "Object.assign(jobs[0], { state: 'failed', error: { code: 'no_face' } })", "no_face"),
        ("one", "jobs[0].state = 'cancelled'", "job_cancelled"),
        ("one", "jobs.length = 0", "job_cancelled"),
        ("one", "leaving.abort()", "stopped"),
        ("one", "isAway = true; jobs[0].state = 'done'", "done"),
    ],
    ids=["done", "failed", "cancelled", "removed", "nobody waits", "hidden"],
)
async def test_a_job_that_is_waited_for_comes_to_its_end(page: Page, wanted: str, happens: str, told: Any) -> None:
    """How far it is is told meanwhile; then how it ended; and then nobody asks any more."""
    await run(page, "job", "jobDone", f"const wanted = {wanted!r}; {WAITED}")
    await page.clock.run_for(3000)
    assert set(await page.evaluate("window.told")) == {0.25}
    await page.evaluate(f"{happens}; 0")
    await page.clock.run_for(35_000)
    assert (await page.evaluate("window.told"))[-1] == told
    assert await asked_in_a_minute(page) == 0
