"""The element that the Avatars, Studio and Jobs tabs each consist of.

`portal/static/desk/*.js` fills its markup from the HTTP API (`/api/avatars`, `/api/jobs`, `/api/clips`). So the page
uses the same API as other people's scripts, the language can be switched at once, and a request for the progress of a
job costs the server two milliseconds, which is less than a Gradio event.
"""

from __future__ import annotations

import gradio as gr

from portal.ui.markup import json_attribute

__all__ = ["desk_element"]


def desk_element(name: str, markup: str, **settings: object) -> gr.HTML:
    """Return the element `<vivavoce-NAME>` around `markup`. Its script gets `settings` as JSON."""
    given = json_attribute(settings)
    return gr.HTML(
        html_template=f'<vivavoce-{name} class="vv-desk" data-settings="{given}">{markup}</vivavoce-{name}>',
        js_on_load=None,  # its script and styles come with the page, before anybody opens the tab; see page.py
        apply_default_css=False,
        elem_id=f"vv-{name}",
        elem_classes="vv-desk-host",
    )
