"""What the Avatars, Studio and Jobs tabs share: one element of the page each, with its script.

The markup is filled by `portal/static/desk/*.js` from the HTTP API (`/api/avatars`, `/api/jobs`, `/api/clips`). So the
page and other people's scripts use the same door, the language can be switched on the spot, and a look at the progress
of a job costs the server two milliseconds instead of a Gradio event.
"""

from __future__ import annotations

import gradio as gr

from portal.ui.markup import json_attribute

__all__ = ["desk_element"]


def desk_element(name: str, markup: str, **settings: object) -> gr.HTML:
    """`<vivavoce-NAME>` around `markup`; its script gets `settings` as JSON."""
    given = json_attribute(settings)
    return gr.HTML(
        html_template=f'<vivavoce-{name} class="vv-desk" data-settings="{given}">{markup}</vivavoce-{name}>',
        js_on_load=None,  # its script and look come with the page, before anybody opens the tab: see page.py
        apply_default_css=False,
        elem_id=f"vv-{name}",
        elem_classes="vv-desk-host",
    )
