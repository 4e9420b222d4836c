"""The Jobs tab: every job with state, stage, progress, times, error and remedy.

Its behaviour is in static/desk/jobs.js.
"""

from __future__ import annotations

import gradio as gr

from portal.ui.context import PageContext
from portal.ui.desk import desk_element

__all__ = ["build_jobs_tab"]

_MARKUP = """
<section class="vv-card">
  <h2 data-t="jobsTitle"></h2>
  <p class="vv-soft" data-t="jobsHint"></p>
  <p class="vv-empty" data-t="jobsEmpty" hidden></p>
  <table class="vv-table" hidden>
    <thead><tr>
      <th data-t="col.name"></th><th data-t="col.kind"></th><th data-t="col.state"></th>
      <th data-t="col.progress"></th><th data-t="col.times"></th><th data-t="col.actions"></th>
    </tr></thead>
    <tbody></tbody>
  </table>
</section>
"""


def build_jobs_tab(context: PageContext) -> gr.HTML:
    return desk_element("jobs", _MARKUP)
