"""A recording that could not be signed, in a real Chromium: the viewer has it, and is told what it lacks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from portal.commands.portal_process import PortalProcess, running_portal
from tests.browser.conftest import MEASURING, Visitor, write_avatar
from tests.browser.test_recording_page import LINK, MARK, downloaded, look_into

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def portal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PortalProcess]:
    """Its certificate is not where the settings say."""
    data_dir = tmp_path_factory.mktemp("unsigned")
    write_avatar(data_dir / "avatars" / "alpha", 90)
    gone = ("--c2pa-certificate", str(data_dir / "gone.pem"), "--c2pa-key", str(data_dir / "gone.pem"))
    with running_portal(data_dir, "--avatar", "alpha", *MEASURING, *gone, says="runs all the same") as process:
        yield process


async def test_what_lacks_its_signature_is_there_and_told(visit: Visitor) -> None:
    """In the viewer's language; the file plays."""
    page = await visit("?transport=websocket&lang=zh")
    await page.start()
    await page.page.click("#vv-record")
    await page.until(f"{MARK}.textContent >= '正在录制 0:02'")
    await page.page.click("#vv-record")
    await page.until(f"{LINK}?.checkVisibility() && document.body.innerText.includes('没有数字签名')")
    assert look_into((await downloaded(page, "mp4"))[1])[0] >= 20
