"""The scripts of the page. They are served as one, because loading eighty takes seconds on a slow network."""

from __future__ import annotations

from typing import Final

__all__ = ["BUNDLES", "PAGE_SCRIPT"]

PAGE_SCRIPT: Final = "whole-page.js"
# The bundle includes the scripts of all tabs. If a tab fetched its own when it is first opened, the server might be
# unreachable at that moment, and nothing would fetch them again.
BUNDLES: Final = {
    PAGE_SCRIPT: ("header.js", "talk.js", "desk/avatars.js", "desk/studio.js", "desk/jobs.js", "desk/job-notice.js")
}
"""Name of each bundle -> the scripts in it, for PageFiles."""
