"""The Studio tab: makes a clip of an avatar and a text or recording. Its behaviour is in static/desk/studio.js."""

from __future__ import annotations

import gradio as gr

from models.errors import VivavoceError
from pipeline import registry
from portal.jobs.orders import MAX_TEXT_CHARACTERS
from portal.ui.context import PageContext
from portal.ui.desk import desk_element

__all__ = ["build_studio_tab", "voices_of"]

_MARKUP = f"""
<section class="vv-card vv-order">
  <h2 id="vv-studio-title" data-t="studioTitle"></h2>
  <form novalidate>
    <fieldset class="vv-speakers"><legend data-t="speaker"></legend><div></div>
      <p class="vv-empty" hidden></p></fieldset>
    <div class="vv-switch" role="radiogroup" aria-labelledby="vv-studio-title">
      <label><input type="radio" name="source" value="text" checked><span data-t="fromText"></span></label>
      <label><input type="radio" name="source" value="audio"><span data-t="fromAudio"></span></label>
    </div>
    <div class="vv-from-text">
      <textarea name="text" rows="6" maxlength="{MAX_TEXT_CHARACTERS}" data-t-placeholder="textPlaceholder"
        data-t-title="fromText"></textarea>
      <label class="vv-field"><span data-t="voice"></span><select name="voice"></select></label>
    </div>
    <label class="vv-drop vv-from-audio" hidden>
      <input type="file" name="audio" accept="audio/*,video/*">
      <span class="vv-drop-empty"><strong data-t="dropAudio"></strong><small data-t="dropAudioHint"></small></span>
      <span class="vv-drop-chosen" hidden></span>
    </label>
    <label class="vv-field"><span data-t="format"></span><select name="format" aria-describedby="vv-format-note">
      <option value="mp4" data-t="format.mp4"></option>
      <option value="webm" data-t="format.webm"></option>
      <option value="mov" data-t="format.mov"></option>
    </select></label>
    <small id="vv-format-note" hidden></small>
    <button type="submit" disabled class="vv-primary" data-t="makeClip"></button>
    <small data-t="clipsMarked"></small>
    <div class="vv-note" role="alert" hidden></div>
  </form>
</section>
<section class="vv-card vv-clips">
  <h2 data-t="clipsTitle"></h2>
  <p class="vv-empty" data-t="clipsEmpty" hidden></p>
  <div class="vv-jobs" aria-live="polite"></div>
</section>
"""


def build_studio_tab(context: PageContext) -> gr.HTML:
    return desk_element("studio", _MARKUP, voices=voices_of(context.settings.tts))


def voices_of(tts: str) -> list[str]:
    """Return the voices of a speech synthesizer; none if it cannot run here."""
    try:
        return list(registry.create("tts", tts).voices)
    except VivavoceError:
        return []
