"""The scripts of the page, which are served as one: eighty of them keep a phone on a slow network busy for seconds."""

from __future__ import annotations

from typing import Final

__all__ = ["BUNDLES", "PAGE_SCRIPT"]

PAGE_SCRIPT: Final = "whole-page.js"
# The other tabs' scripts come with the page, too: what a tab would fetch when it is first opened might find the server
# away, and nothing would fetch it again.
BUNDLES: Final = {
    PAGE_SCRIPT: ("header.js", "talk.js", "desk/avatars.js", "desk/studio.js", "desk/jobs.js", "desk/job-notice.js")
}
"""For PageFiles."""
