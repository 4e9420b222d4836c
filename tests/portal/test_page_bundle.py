"""Several scripts as one: what it means is what its parts mean."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from portal.http.page_bundle import bundled
from portal.http.page_files import PageFiles
from portal.ui.page_scripts import BUNDLES, PAGE_SCRIPT
from portal.ui.texts_module import texts_module
from tests.scripts.__main__ import NODE

STATIC = Path(__file__).parents[2] / "portal" / "static"
PARTS = {
    "talk.js": """import { say } from "./dom.js";
import { Tab as First } from "./desk/tab.js";
say(new First().name);
""",
    "jobs.js": """import { say } from "./dom.js";
import {
  NAME,
} from "./desk/tab.js";
const own = "jobs";
say(own, NAME);
""",
    "dom.js": """const own = "dom";
export function say(...words) {
  console.log(own, ...words);
}
say("once");
""",
    "desk/tab.js": """import { say } from "../dom.js";
export const NAME = "tab";
export class Tab {
  name = NAME;
}
say("loaded");
""",
}


def run(script: str) -> list[str]:
    ran = subprocess.run([NODE, "--input-type=module", "-"], input=script, capture_output=True, text=True, check=True)
    return ran.stdout.splitlines()


def test_each_part_runs_once_after_those_that_it_needs() -> None:
    """Names of one part mean nothing in another."""
    told = run(bundled(PARTS, ["talk.js", "jobs.js"]))
    assert told == ["dom once", "dom loaded", "dom tab", "dom jobs tab"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("dom.js", 'import { say } from "./talk.js";\n'),
        ("dom.js", 'import { gone } from "./gone.js";\n'),
        ("dom.js", 'import "./desk/other.js";\n'),
        ("dom.js", "export default 3;\n"),
        ("dom.js", "export let changing = 3;\n"),
        ("dom.js", "export { own as say };\n"),
        ("desk/tab.js", 'const more = await import("./more.js");\n'),
        ("desk/tab.js", 'new URL("./worklet.js", import.meta.url);\n'),
    ],
)
def test_what_would_mean_something_else_is_refused(name: str, text: str) -> None:
    with pytest.raises(ValueError, match=name.rpartition("/")[2]):
        bundled({**PARTS, name: PARTS[name] + text}, ["talk.js"])


def test_the_page_can_be_bundled() -> None:
    """All of its scripts, in the form in which they are served, are one whole script."""
    files = PageFiles(STATIC, {"texts.js": texts_module()}, BUNDLES)
    script = files._files[PAGE_SCRIPT].body
    checked = subprocess.run(
        [NODE, "--input-type=module", "--check", "-"], input=script, capture_output=True, check=False
    )
    assert checked.returncode == 0, checked.stderr
