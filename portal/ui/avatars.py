"""The Avatars tab: gallery, upload with live progress, face report, test clip.

Its behaviour is in static/desk/avatars.js.
"""

from __future__ import annotations

import gradio as gr

from avatars.face_crops import RANGES
from portal.ui.context import PageContext
from portal.ui.desk import desk_element

__all__ = ["build_avatars_tab"]

_MARKUP = """
<section class="vv-card vv-upload">
  <h2 data-t="uploadTitle"></h2>
  <form novalidate>
    <label class="vv-drop">
      <input type="file" name="file" accept="image/*,.heic,.heif,video/*,.zip">
      <span class="vv-drop-empty"><strong data-t="dropPhoto"></strong><small data-t="dropPhotoHint"></small></span>
      <span class="vv-drop-chosen" hidden></span>
    </label>
    <fieldset class="vv-framing" hidden>
      <legend data-t="framing"></legend>
      <div class="vv-switch">
        <label><input type="radio" name="framing" value="whole" checked><span data-t="framingWhole"></span></label>
        <label><input type="radio" name="framing" value="part"><span data-t="framingPart"></span></label>
      </div>
      <div class="vv-framing-part" hidden>
        <div class="vv-framing-stage">
          <button type="button" class="vv-framing-square" data-t-title="framingMove"></button>
        </div>
        <label class="vv-field"><span data-t="framingSize"></span>
          <input type="range" max="1" step="0.01"></label>
        <small data-t="framingHint"></small>
      </div>
    </fieldset>
    <label class="vv-field"><span data-t="name"></span>
      <input type="text" name="name" maxlength="60" autocomplete="off" data-t-placeholder="namePlaceholder"></label>
    <label class="vv-tick vv-cutout" hidden><input type="checkbox" name="cutout"><span data-t="cutout"></span></label>
    <label class="vv-tick"><input type="checkbox" name="consent"><span data-t="consent"></span></label>
    <button type="submit" disabled class="vv-primary" data-t="make"></button>
    <div class="vv-note" role="alert" hidden></div>
  </form>
</section>
<section class="vv-card vv-making" hidden>
  <h2 data-t="inProgress"></h2>
  <div class="vv-jobs" aria-live="polite"></div>
</section>
<section class="vv-card vv-failed" hidden>
  <h2 data-t="notMade"></h2>
  <div class="vv-jobs"></div>
</section>
<section class="vv-gallery-part">
  <h2 data-t="galleryTitle"></h2>
  <p class="vv-empty" hidden></p>
  <p class="vv-gone" role="status" hidden></p>
  <div class="vv-gallery"></div>
</section>
<dialog class="vv-detail" aria-labelledby="vv-detail-title"></dialog>
"""


def build_avatars_tab(_context: PageContext) -> gr.HTML:
    return desk_element("avatars", _MARKUP, ranges=RANGES)
