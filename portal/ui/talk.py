"""The Talk tab: the live player and the chat. The markup is here, the behaviour in portal/static/talk.js."""

from __future__ import annotations

import gradio as gr

from pipeline import registry
from pipeline.registry import BackendRow
from portal.backends import BackendChoice
from portal.ui.context import PageContext

__all__ = ["MARKUP", "build_talk_tab", "catalogue"]

_ICONS = {
    "start": '<path d="M8 5.5v13l11-6.5z"/>',
    "stop": '<rect x="6.5" y="6.5" width="11" height="11" rx="2.5"/>',
    "interrupt": '<path d="M8 4.5v4M8 15.5v4M4 10v4M12 8v8M16 4.5v15M20 10v4" class="vv-line"/>',
    "sound": '<path d="M5 9.5v5h3.5L13 18V6L8.5 9.5z"/><path d="M16 9a4 4 0 0 1 0 6M18.3 6.5a8 8 0 0 1 0 11" '
    'class="vv-line vv-waves"/><path d="M16 9.5l5 5M21 9.5l-5 5" class="vv-line vv-cross"/>',
    "quote": '<path d="M10.5 6.5C7.5 7.5 6 9.5 6 13v4.5h5V12.5H8.5c0-1.8.8-3 2.5-3.800z'
    'M19 6.5c-3 1-4.5 3-4.5 6.5v4.5h5V12.5H17c0-1.8.8-3 2.5-3.800z"/>',
    "settings": '<path d="M4 7h9M19 7h1M4 17h1M11 17h9" class="vv-line"/>'
    '<circle cx="16" cy="7" r="2.6" class="vv-line"/><circle cx="8" cy="17" r="2.6" class="vv-line"/>',
    "mic": '<rect x="9" y="3" width="6" height="11" rx="3"/>'
    '<path d="M5.5 11.5a6.5 6.5 0 0 0 13 0M12 18v3" class="vv-line"/>',
    "record": '<circle cx="12" cy="12" r="5.5"/><circle cx="12" cy="12" r="8.5" class="vv-line"/>',
    "timing": '<path d="M4 6h7M8 12h8M13 18h7" class="vv-line"/>',
    "send": '<path d="M12 19V5.5M6 11.5l6-6 6 6" class="vv-line"/>',
}


def _icon(name: str) -> str:
    return f'<svg viewBox="0 0 24 24" aria-hidden="true">{_ICONS[name]}</svg>'


MARKUP = f"""
<vivavoce-talk class="vv" data-state="idle">
  <section class="vv-stage">
    <div class="vv-frame vv-none" data-media="none">
      <img class="vv-backdrop" alt="">
      <img class="vv-poster" alt="">
      <video class="vv-preview" muted loop playsinline></video>
      <video id="vv-video" playsinline autoplay></video>
      <canvas id="vv-canvas" width="512" height="512"></canvas>
      <p class="vv-preparing"></p>
      <div class="vv-top">
        <span class="vv-state" data-state="idle"></span>
        <span class="vv-recording" hidden></span>
        <span class="vv-disclosure" data-t="disclosure"></span>
      </div>
      <div class="vv-toast"></div>
      <div class="vv-coming" hidden><span></span><progress max="1" data-t-title="state.preparing"></progress></div>
      <div class="vv-bottom">
        <p class="vv-subtitle"></p>
        <div class="vv-gestures" role="group" data-t-title="gestures" hidden></div>
        <div class="vv-controls">
          <button type="button" id="vv-start" disabled>{_icon("start")}<span data-t="start"></span></button>
          <button type="button" id="vv-mic" class="vv-glass vv-mic" aria-pressed="false" hidden>
            {_icon("mic")}</button>
          <button type="button" class="vv-glass vv-mute" data-t-title="mute" aria-pressed="false" hidden>
            {_icon("sound")}</button>
          <button type="button" id="vv-record" class="vv-glass" data-t-title="record" aria-pressed="false" hidden>
            {_icon("record")}</button>
          <button type="button" id="vv-interrupt" class="vv-glass" hidden disabled>
            {_icon("interrupt")}<span data-t="interrupt"></span></button>
          <button type="button" id="vv-stop" class="vv-glass" hidden>
            {_icon("stop")}<span data-t="stop"></span></button>
        </div>
      </div>
    </div>
    <div id="vv-status"></div>
    <div class="vv-recordings" hidden>
      <strong data-t="recordings"></strong> <small data-t="recordingsHint"></small>
      <ul></ul>
    </div>
    <div class="vv-announcer vv-unseen" role="status"></div>
    <div class="vv-choices">
      <div class="vv-avatars" role="radiogroup" data-t-title="avatar"></div>
      <details class="vv-timing" name="vv-side">
        <summary data-t-title="timing">{_icon("timing")}</summary>
        <div class="vv-panel">
          <h3 data-t="timing"></h3>
          <p class="vv-no-marks" data-t="noTiming"></p>
          <ol class="vv-marks"></ol>
        </div>
      </details>
      <details class="vv-settings" name="vv-side">
        <summary data-t-title="settings">{_icon("settings")}<span data-t="settings"></span></summary>
        <div class="vv-panel">
          <label><span data-t="tts"></span><select name="tts"></select></label>
          <p class="vv-told"></p>
          <div class="vv-voice">
            <label><span data-t="voice"></span><select name="voice"></select></label>
            <button type="button" class="vv-hear" aria-pressed="false">{_icon("start")}{_icon("stop")}</button>
          </div>
          <label class="vv-speed"><span data-t="speed"></span><input type="range" name="speed" min="0.5" max="2"
            step="0.05" value="1"><output></output></label>
          <label><span data-t="lipsync"></span><select name="lipsync"></select></label>
          <div class="vv-view">
            <label><span data-t="volume"></span><input type="range" name="volume" min="0" max="100"></label>
            <label><span data-t="subtitles"></span><select name="subtitles">
              <option value="off" data-t="subtitles.off"></option>
              <option value="small" data-t="subtitles.small"></option>
              <option value="normal" data-t="subtitles.normal" selected></option>
              <option value="large" data-t="subtitles.large"></option></select></label>
            <label class="vv-check"><input type="checkbox" name="mirrored"><span data-t="mirrored"></span></label>
            <div class="vv-row">
              <button type="button" class="vv-whole" data-t="whole"></button>
              <button type="button" class="vv-apart" data-t="apart" disabled></button>
            </div>
          </div>
          <div class="vv-share" hidden>
            <button type="button" data-t="watchLink"></button>
            <input type="url" readonly hidden data-t-title="watchLink">
            <p class="vv-told" data-t="watchHint"></p>
          </div>
          <div class="vv-stream" hidden>
            <label><span data-t="streamTo"></span><input name="stream" maxlength="800"
              placeholder="rtmp://server/app/key" autocomplete="off" autocapitalize="off" spellcheck="false"></label>
            <button type="button"></button>
            <p class="vv-told"></p>
          </div>
          <p class="vv-model"></p>
          <details class="vv-persona">
            <summary data-t="persona"></summary>
            <label><span data-t="personaPrompt"></span>
              <textarea name="prompt" rows="4" maxlength="8000"></textarea></label>
            <label><span data-t="greeting"></span><input name="greeting" maxlength="1000"></label>
            <button type="button" class="vv-keep" data-t="keepPersona"></button>
          </details>
          <fieldset class="vv-ears">
            <legend data-t="mic"></legend>
            <label><span data-t="micDevice"></span><select name="microphone"></select></label>
            <meter min="0" max="1" high="0.95" data-t-title="micLevel" hidden></meter>
            <label><span data-t="micWay"></span><select name="way">
              <option value="open" data-t="micWayOpen"></option>
              <option value="hold" data-t="micWayHold"></option></select></label>
            <p class="vv-told"></p>
            <label><span data-t="micSpoken"></span><select name="spoken">
              <option value="page" data-t="micSpokenPage"></option>
              <option value="en">English</option>
              <option value="zh">中文</option>
              <option value="" data-t="micSpokenAny"></option></select></label>
          </fieldset>
          <details class="vv-connection">
            <summary data-t="connection"></summary>
            <p class="vv-no-ways" data-t="noWays"></p>
            <ul></ul>
          </details>
          <details class="vv-lacking" hidden><summary></summary><ul></ul></details>
        </div>
      </details>
    </div>
  </section>
  <section class="vv-chat">
    <div class="vv-chat-bar" hidden>
      <button type="button" class="vv-new" data-t="newConversation"></button>
      <button type="button" class="vv-export" data-t="export"></button>
    </div>
    <div class="vv-log" role="log" aria-live="off" tabindex="0" data-t-title="conversation">
      <div class="vv-hello">
        <h2 data-t="hello"></h2>
        <p data-t="helloHint"></p>
        <div class="vv-chips">
          <button type="button" class="vv-chip" data-t="chip1"></button>
          <button type="button" class="vv-chip" data-t="chip2"></button>
          <button type="button" class="vv-chip" data-t="chip3"></button>
        </div>
      </div>
    </div>
    <form class="vv-composer">
      <textarea rows="1" maxlength="10000" data-t-placeholder="placeholder" data-t-title="placeholder"></textarea>
      <div class="vv-actions">
        <label class="vv-mode" data-t-title="echo">
          <input type="checkbox" class="vv-echo">{_icon("quote")}<span data-t="echo"></span></label>
        <button type="submit" class="vv-send" data-t-title="send">{_icon("send")}</button>
      </div>
    </form>
  </section>
</vivavoce-talk>
"""


def build_talk_tab(_context: PageContext) -> gr.HTML:
    """Build the player. Its script requests the choices for its menus; see catalogue()."""
    return gr.HTML(html_template=MARKUP, js_on_load=None, apply_default_css=False, elem_id="vv-talk")


def catalogue(context: PageContext) -> dict[str, object]:
    """Return the choices for a session, and the portal's defaults among them. Blocks, so call it in a thread."""
    settings, found = context.settings, context.backends.look()
    return {
        **{
            kind: [_entry(registry.row(kind, choice.name), choice) for choice in found[kind]]
            for kind in ("tts", "lipsync")
        },
        "defaults": {
            "avatar": context.sessions.default_avatar,
            "tts": settings.tts,
            "voice": settings.voice,
            "speed": settings.tts_speed,
            "lipsync": settings.lipsync,
            "transport": settings.transport,
            "recording": settings.recording,
            "push": bool(settings.push_to) and not settings.kiosk,
            "llm": settings.llm,
            "model": settings.llm_model if settings.llm == "openai" else "",
        },
    }


def _entry(row: BackendRow, choice: BackendChoice) -> dict[str, object]:
    """Return a backend as the menus need it. If something is missing, only the remedy is given, not the reason."""
    lacking = choice.lacking
    return {
        "name": choice.name,
        "ready": choice.ready,
        "remedy": "" if lacking is None else lacking.hint or lacking.message,
        "fetched": bool(row.weights),
        "measuring": row.measuring,
        "voices": list(choice.voices),
        "online": [voice for voice in choice.voices if voice in choice.online_voices],
        "speeds": list(choice.speeds),
    }
