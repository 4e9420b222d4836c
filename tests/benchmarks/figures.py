"""The figures of docs/benchmarks.md: what is measured, the target, and LiveTalking's cost for the same work here."""

from __future__ import annotations

from dataclasses import asdict, dataclass

__all__ = ["FIGURES", "TALKING", "Figure", "Reading", "as_dict", "table"]


@dataclass(frozen=True, slots=True)
class Figure:
    name: str
    unit: str
    target: float
    higher_is_better: bool = False
    peer: str = "-"
    "LiveTalking a5a77f4 on the same 2 cores: shared measurements, quoted"


@dataclass(frozen=True, slots=True)
class Reading:
    figure: Figure
    value: float | None
    "None: could not be measured here"
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """Value over target, where that is not 0; at most 1 (at least 1 where higher is better) means met."""
        return None if self.value is None or not self.figure.target else self.value / self.figure.target

    @property
    def met(self) -> bool:
        if self.value is None:
            return False
        if self.figure.higher_is_better:
            return self.value >= self.figure.target
        return self.value <= self.figure.target


FIGURES: dict[str, Figure] = {
    "render_ms": Figure("embedded renderer, mouth + paste + life, CPU per picture", "ms", 5),
    "idle_webrtc": Figure("one idle viewer, WebRTC", "% core", 6, peer="49-58 (Wav2Lip), 87-101 (MuseTalk)"),
    "idle_websocket": Figure("one idle viewer, WebSocket", "% core", 3, peer="-"),
    "speaking_webrtc": Figure("one speaking viewer, WebRTC, everything", "% core", 25, peer="51-56, stub network"),
    "speaking_viewers": Figure("speaking viewers at >= 24 fps", "", 6, True, peer="3 (20 fps at 4), stub network"),
    "join_gap_ms": Figure("longest gap in another viewer's sound at a join or leave", "ms", 60, peer="1000"),
    "sound_beep_ms": Figure("text sent -> first sound at the client, beep", "ms", 150, peer="1180"),
    "sound_hibari_ms": Figure("text sent -> first sound at the client, hibari", "ms", 300, peer="1180"),
    "silence_ms": Figure("interrupt -> silence at the client", "ms", 150, peer="1430"),
    "ears_core": Figure("ears of a listening session (canceller, voice activity)", "% core", 3),
    "heard_ms": Figure(
        "user stops speaking -> first sound of the answer, without the wait for the end and the recogniser", "ms", 200
    ),
    "own_echo_stops": Figure("times that its own echo holds the avatar, in the minutes of talk that are noted", "", 0),
    "noise_stops": Figure("coughs, clicks, keys, music, ... that stop an answer for good, of 60", "", 1),
    "held_ms": Figure("user starts to speak over it -> held", "ms", 350),
    "skew_drift_ms": Figure("spoken conversation: skew of the last fifth against the first, without sign", "ms", 20),
    "conversation_mb": Figure(
        "spoken conversation: memory of the last fifth against the first, without sign", "MB", 20
    ),
    "frozen_s": Figure("spoken conversation: seconds without a new picture", "s", 0),
    "first_picture_ms": Figure("click -> first picture, warm", "ms", 500, peer="1000-4000"),
    "fallback_ms": Figure("click -> first picture by fallback", "ms", 3000, peer="none"),
    "skew_webrtc_ms": Figure("audio-video skew in Chromium, WebRTC, median over 60 s without sign", "ms", 40),
    "skew_websocket_ms": Figure("audio-video skew in Chromium, WebSocket, median over 60 s without sign", "ms", 25),
    "paste_ms": Figure("paste-back with feathered mask, 512x512, CPU", "ms", 0.3, peer="0.53-0.57"),
    "whisper_ms": Figure("whisper features per picture while speaking, CPU", "ms", 6, peer="38-44, in silence too"),
    "whisper_cosine": Figure(
        "whisper features streamed, against 30 s encoded at once: cosine, mean of 5 states", "", 0.97, True, peer="0.73"
    ),
    "musetalk_path_ms": Figure("everything but the network, MuseTalk path, CPU per picture", "ms", 11.6, peer="44-49"),
    "idle_neural": Figure("one idle viewer of a MuseTalk session, WebRTC", "% core", 6, peer="87-101"),
    "sound_null_ms": Figure(
        "text sent -> first sound, network of 20 ms per picture", "ms", 200, peer="1180, free network"
    ),
    "late_pictures": Figure("8 sessions, network of 5 ms per batch + 3 ms per picture: late pictures", "", 0, peer="-"),
    "recording_core": Figure("a speaking session that records, WebRTC: added CPU", "% core", 6),
    "recording_late": Figure("the same: pictures that were late because of it", "", 0),
    "recorded_skew_ms": Figure("sound against picture in the last minute of a recording, without sign", "ms", 20),
    "gesture_ms": Figure("gesture asked for -> its first picture at the viewer, nobody speaks, slowest", "ms", 200),
    "gesture_speaking_ms": Figure("the same while the avatar speaks, slowest", "ms", 200),
    "gesture_begin": Figure("jump of a landmark where a gesture begins, against a blink's", "times", 1),
    "gesture_end": Figure("the same where it ends", "times", 1),
    "swap_ms": Figure("change to another avatar, both in memory -> its first picture, slowest", "ms", 300),
    "swap_gap_ms": Figure("the same: silence added to an answer that another viewer hears", "ms", 40),
    "clients_kept": Figure("100 sessions of LiveTalking's clients: places, descriptors, tasks left", "", 0),
    "photo_s": Figure("photo -> avatar, CPU", "s", 6),
    "clip_s": Figure("10 s of 704x1216 clip -> avatar, CPU", "s", 60),
    "session_mb": Figure("added memory per session", "MB", 30, peer="35-60 (after 124 for the first)"),
    "avatar_mb": Figure("added memory, a 10 s 720p avatar", "MB", 150, peer="its frames, 69 MB per second"),
    "flood_gap_ms": Figure("longest gap in another viewer's sound while one socket floods", "ms", 200),
    "stalled_place_s": Figure("place of a viewer who stops reading: free after", "s", 45),
    "sockets_mb": Figure("added memory, 2,000 sockets opened by one address", "MB", 50),
    "bodies_gap_ms": Figure("longest gap in another viewer's sound while 300 MB of JSON are posted", "ms", 200),
    "bodies_mb": Figure("added memory, 300 MB of JSON posted", "MB", 50),
    "playlists_s": Figure("slowest answer to others while 40 playlists are posted as recordings", "s", 1),
    "line_mb": Figure("added memory, a language model's line that never ends", "MB", 50),
    "watcher_core": Figure("second to tenth viewer of one speaking session by WHEP, each", "% core", 2.5),
    "stream_core": Figure("RTMP push of a speaking session, added CPU: encoding process and portal", "% core", 10),
    "cutout_bytes": Figure("transparent stage over WebSocket, a minute of speech: added bytes", "%", 15),
    "picture_lines": Figure("a Python script from its imports to the first picture saved", "lines", 15),
    "page_kb": Figure("page: HTML, our scripts and styles, compressed", "kB", 120),
    "page_s": Figure("page, interactive on a slow phone (1.6 Mbit/s, CPU x4)", "s", 3.5),
    "closed_sessions_mb": Figure("added memory, 50 WebRTC sessions that came and left", "MB", 60),
    "closure_phonemes": Figure("p/b/m closures recalled, phoneme timing", "", 0.9, True),
    "closure_audio": Figure("p/b/m closures recalled, from audio alone", "", 0.8, True),
    "tuck_phonemes": Figure("f/v seen at the upper teeth, phoneme timing", "", 0.7, True),
    "tuck_audio": Figure("f/v seen at the upper teeth, from audio alone", "", 0.7, True),
    "lip_lag": Figure("best lag of the lips from audio alone, pictures without sign", "", 1),
    "lip_correlation": Figure("correlation of the lips from audio alone", "", 0.55, True),
    "personal_build_s": Figure("real mouths: chosen and ready to draw, after tracking, CPU", "s", 3),
    "personal_draw_ms": Figure("real mouths: draw and paste, CPU per picture", "ms", 1.5),
    "personal_mb": Figure("real mouths: memory of an avatar", "MB", 10),
    "personal_closures": Figure("real mouths: p/b/m seen shut", "", 0.98, True),
    "personal_correlation": Figure("real mouths: correlation of seen with wanted opening", "", 0.9, True),
    "personal_jaw": Figure("real mouths: correlation of the chin's drop with the opening of the mouth", "", 0.6, True),
    "personal_mouth_jerk": Figure("real mouths: jerk of the mouth, against the person's own", "", 1.2),
    "idle_mouth_jerk": Figure("real mouths: jerk of the idle mouth, against the person's own", "", 0.2),
    "personal_skin_jerk": Figure("real mouths: jerk of the skin round it, against the person's own", "", 1.2),
    "personal_sharpness": Figure("real mouths: sharpness, against the person's own (at least 0.7)", "", 1.2),
    "personal_opening": Figure("real mouths: how much the opening varies, against the person", "", 0.85, True),
    "personal_width": Figure("real mouths: how much the width varies, against the person", "", 0.85, True),
    "personal_roundness": Figure("real mouths: how much the roundness varies, against the person", "", 0.85, True),
    "personal_speed": Figure("real mouths: how fast lips open and shut, against the person", "", 0.85, True),
    "still_repeat_s": Figure("stills: idle motion repeats after", "s", 60, True),
    "still_background": Figure("stills: largest change outside the person while it moves", "levels", 0),
    "acting_background": Figure("stills: largest change outside the person while it nods with its speech", "levels", 0),
    "acting_ms": Figure("nods and brows, CPU per picture of speech", "ms", 1.5),
    "still_sharpness": Figure(
        "stills: sharpness in the mouth, of the face's; the worst portrait (at least 0.7)", "", 1.2
    ),
}
TALKING = {
    "personal_build_s": "build_s",
    "personal_draw_ms": "draw_ms",
    "personal_mb": "memory_mb",
    "personal_closures": "closures_seen",
    "personal_correlation": "opening_correlation",
    "personal_jaw": "jaw_correlation",
    "personal_mouth_jerk": "mouth_jerk",
    "idle_mouth_jerk": "idle_mouth_jerk",
    "personal_skin_jerk": "skin_jerk",
    "personal_sharpness": "sharpness",
    "personal_opening": "opening_spread",
    "personal_width": "width_spread",
    "personal_roundness": "roundness_spread",
    "personal_speed": "opening_speed",
}
"figure -> field of talking_sheets.TalkingFigures"


def as_dict(reading: Reading) -> dict[str, object]:
    return {**asdict(reading), "ratio": reading.ratio, "met": reading.met}


def table(readings: list[Reading]) -> str:
    """A Markdown table, misses marked."""
    rows = ["| figure | measured | target | ratio | LiveTalking, same work |", "|---|---|---|---|---|"]
    for reading in readings:
        figure = reading.figure
        bound = ">=" if figure.higher_is_better else "<="
        value = "not measured" if reading.value is None else f"{_three_digits(reading.value)} {figure.unit}".strip()
        ratio = "-" if reading.ratio is None else f"{reading.ratio:.2f}"
        mark = "" if reading.met else " **missed**"
        note = f" ({reading.note})" if reading.note else ""
        target = f"{bound} {figure.target:g} {figure.unit}".strip()
        rows.append(f"| {figure.name} | {value}{mark}{note} | {target} | {ratio} | {figure.peer} |")
    return "\n".join(rows)


def _three_digits(value: float) -> str:
    """At least three of them, and never a power of ten."""
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"
