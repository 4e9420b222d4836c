"""The whole page: header, tabs, theme."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import gradio as gr

from portal.ui.avatars import build_avatars_tab
from portal.ui.context import PageContext
from portal.ui.gradio_files import wanted_files
from portal.ui.jobs import build_jobs_tab
from portal.ui.page_scripts import PAGE_SCRIPT
from portal.ui.studio import build_studio_tab
from portal.ui.talk import build_talk_tab

__all__ = ["Page", "build_page"]

# System fonts only: the page makes no request to another host.
_FONT = [
    "system-ui",
    "-apple-system",
    "Segoe UI",
    "Roboto",
    "Noto Sans",
    "PingFang SC",
    "Microsoft YaHei",
    "sans-serif",
]
_MONO = ["ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace"]

# URLs are relative, so that the page also works below a proxy's path. Gradio adds this after its own styles, so ours
# can override them. It does so long after the page has loaded, so `early` tells the browser of these files before.
_HEAD = """
<meta name="viewport" content="width=device-width, initial-scale=1, viewport-fit=cover">
<meta name="color-scheme" content="light dark">
<link rel="stylesheet" href="{files}/styles.css">
<link rel="stylesheet" href="{files}/desk/desk.css">
"""

_HEADER = """
<vivavoce-header class="vv-header">
  <a class="vv-brand" href="./">
    <img src="static/logo.svg" alt="" width="34" height="34">
    <h1 class="vv-name">Vivavoce</h1>
    <span class="vv-tagline" data-t="tagline"></span>
  </a>
  <nav>
    <button type="button" class="vv-logout" data-t="log_out" hidden></button>
    <button type="button" class="vv-language" data-t="other_language" data-t-title="switch_language"></button>
    <button type="button" class="vv-dark" data-t-title="switch_dark">
      <svg viewBox="0 0 24 24" aria-hidden="true"><path d="M12 3a9 9 0 1 0 9 9 7 7 0 0 1-9-9z"/></svg>
    </button>
  </nav>
</vivavoce-header>
<vivavoce-job-notice class="vv-notice" hidden>
  <span class="vv-notice-words"></span>
  <button type="button" class="vv-quiet vv-notice-look"></button>
  <button type="button" class="vv-quiet vv-notice-close">×</button>
</vivavoce-job-notice>
"""


@dataclass(frozen=True)
class Page:
    blocks: gr.Blocks
    mount: dict[str, object] = field(default_factory=dict)
    "Keyword arguments for gr.mount_gradio_app."
    early: str = ""
    "HTML that belongs into the page's head."


def build_page(context: PageContext) -> Page:
    """Build the page, ready to be mounted at `/` beside `/static` and `/session`."""
    with gr.Blocks(title="Vivavoce", analytics_enabled=False, fill_width=True) as blocks:
        gr.HTML(html_template=_HEADER, js_on_load=None, apply_default_css=False, elem_id="vv-header")
        with gr.Tabs(elem_id="vv-tabs"):
            with gr.Tab("Talk", id="talk"):
                build_talk_tab(context)
            with gr.Tab("Avatars", id="avatars"):
                build_avatars_tab(context)
            with gr.Tab("Studio", id="studio"):
                build_studio_tab(context)
            with gr.Tab("Jobs", id="jobs"):
                build_jobs_tab(context)
    mount = {
        "theme": _theme(),
        "head": _HEAD.format(files=context.files),
        "footer_links": [],
        "ssr_mode": False,
    }
    return Page(blocks, mount, _preloads(context.files))


def _preloads(files: str) -> str:
    """Return HTML that tells the browser at once of all files that the page will need.

    These are our script, which waits for its elements; our styles, which are only preloaded; Gradio's files; and the
    data that the Talk tab requests first.
    """
    later = wanted_files(Path(gr.__file__).parent / "templates" / "frontend")
    lines = [f'<script type="module" src="{files}/{PAGE_SCRIPT}"></script>']
    lines += [f'<link rel="preload" as="style" href="{files}/{name}">' for name in ("styles.css", "desk/desk.css")]
    lines += [f'<link rel="modulepreload" href="assets/{name}">' for name in later if name.endswith(".js")]
    lines += [
        f'<link rel="preload" as="style" href="assets/{name}" crossorigin>' for name in later if name.endswith(".css")
    ]
    lines += [f'<link rel="preload" as="fetch" href="{name}" crossorigin>' for name in ("choices.json", "api/avatars")]
    return "\n".join(lines)


def _theme() -> gr.themes.Base:
    return gr.themes.Base(
        primary_hue="indigo",
        secondary_hue="indigo",
        neutral_hue="slate",
        radius_size="lg",
        font=_FONT,
        font_mono=_MONO,
    ).set(
        body_background_fill="#f5f5f8",
        body_background_fill_dark="#0e0f14",
        background_fill_primary="#ffffff",
        background_fill_primary_dark="#171922",
        block_background_fill="#ffffff",
        block_background_fill_dark="#171922",
        block_border_width="1px",
        block_border_color="#e7e7ef",
        block_border_color_dark="#272a37",
        border_color_primary="#e7e7ef",
        border_color_primary_dark="#272a37",
        button_primary_background_fill="#5b57e0",
        button_primary_background_fill_hover="#4a46cf",
        button_primary_background_fill_dark="#6c68f0",
        button_primary_text_color="#ffffff",
    )
