"""The Avatars, Studio and Jobs tabs: every word is there in both languages, and the elements get what they need."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest

from portal.ui.avatars import build_avatars_tab
from portal.ui.jobs import build_jobs_tab
from portal.ui.studio import build_studio_tab, voices_of
from portal.ui.text import DESK_TEXTS
from portal.worker.recipes import recipes

STATIC = Path(__file__).parents[2] / "portal" / "static" / "desk"
BUILDERS = {"avatars": build_avatars_tab, "studio": build_studio_tab, "jobs": build_jobs_tab}
FOR_CHINESE_ONLY = ("error.", "hint.")


@pytest.fixture
def tabs() -> dict[str, str]:
    """Name -> markup."""
    settings = SimpleNamespace(max_upload_bytes=1_000_000, tts="beep")
    context: Any = SimpleNamespace(settings=settings)
    with gr.Blocks():
        return {name: build(context).html_template for name, build in BUILDERS.items()}


def test_both_languages_say_the_same_things() -> None:
    """Every text is there in English and Chinese, with the same places to fill; only error texts are Chinese alone."""
    english, chinese = DESK_TEXTS["en"], DESK_TEXTS["zh"]
    assert english.keys() <= chinese.keys()
    assert all(key.startswith(FOR_CHINESE_ONLY) for key in chinese.keys() - english.keys())
    for key, text in english.items():
        assert text and chinese[key]
        assert set(re.findall(r"{\w+}", text)) == set(re.findall(r"{\w+}", chinese[key])), key


def test_every_word_of_the_markup_is_known(tabs: dict[str, str]) -> None:
    """data-t attributes name texts that exist."""
    for markup in tabs.values():
        keys = re.findall(r'data-t(?:-title|-placeholder)?="([^"]+)"', markup)
        assert keys and set(keys) <= DESK_TEXTS["en"].keys()


def test_every_word_the_scripts_ask_for_is_known() -> None:
    """t("key") in the scripts names texts that exist; t(`prefix.${...}`) a family of them."""
    for script in STATIC.glob("*.js"):
        source = script.read_text(encoding="utf-8")
        assert set(re.findall(r'\bt\("([^"]+)"', source)) <= DESK_TEXTS["en"].keys(), script.name
        for prefix in re.findall(r"\bt\(`(\w+\.)\$", source):
            assert any(key.startswith(prefix) for key in DESK_TEXTS["zh"]), prefix


def test_every_step_has_words() -> None:
    """Kinds of job and their steps."""
    for recipe in recipes():
        assert f"job.{recipe.kind}" in DESK_TEXTS["en"]
        assert {f"stage.{step.name}" for step in recipe.steps} <= DESK_TEXTS["en"].keys()


def test_each_tab_is_one_element_with_its_script(tabs: dict[str, str]) -> None:
    """The markup defines <vivavoce-NAME>, carries its settings, and its script defines that element."""
    for name, markup in tabs.items():
        found = re.fullmatch(rf'<vivavoce-{name} [^>]*data-settings="([^"]+)">.*</\S+>', markup, re.DOTALL)
        assert found is not None
        assert isinstance(json.loads(html.unescape(found[1])), dict)
        assert f'customElements.define("vivavoce-{name}"' in (STATIC / f"{name}.js").read_text(encoding="utf-8")
        assert not re.search(r"\$\{|\{\{|`", markup), "Gradio would take it for a template"


def test_the_look_of_these_tabs_is_theirs_alone() -> None:
    """Every rule of desk.css is for these tabs: Talk has elements of the same names."""
    css = re.sub(r"/\*.*?\*/", "", (STATIC / "desk.css").read_text(encoding="utf-8"), flags=re.DOTALL)
    selectors = [one.strip() for rule in re.findall(r"([^{};]+){", css) for one in rule.split(",")]
    ours = (".vv-desk", ".dark .vv-desk", "vivavoce-avatars", "vivavoce-studio", "@media")
    assert [one for one in selectors if not one.startswith(ours)] == []


def test_a_synthesizer_that_cannot_run_has_no_voices(monkeypatch: pytest.MonkeyPatch) -> None:
    """The Studio offers the voices there are."""
    assert voices_of("beep")
    assert voices_of("no such synthesizer") == []
