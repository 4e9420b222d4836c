"""Settings of the start, and of the backends that answer, speak and hear. `settings.py` puts all settings together."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings

from pipeline import registry
from pipeline.tts.speed import FASTEST, SLOWEST
from portal.setting_sources import FILE_NAME
from portal.setting_values import AbsolutePath, AsrName, Fields, LipSyncName, LlmName, TtsName, Words

__all__ = ["TalkSettings"]

ROOT = Path(__file__).resolve().parent.parent


def _key(variable: str) -> SecretStr:
    """Return the field for a service's key. variable: its name in the environment."""
    told = f"key for that server; {variable} in the environment keeps it out of lists of processes"
    return Field(SecretStr(""), description=told)


class StartSettings(BaseSettings):
    """Where this portal keeps its files, and where it listens."""

    config: AbsolutePath | None = Field(
        None, description=f"settings file to read; default: {FILE_NAME} in the data folder"
    )
    data_dir: AbsolutePath = Field(
        ROOT / "data", description="folder for avatars, clips, jobs and weights; VIVAVOCE_DATA sets it too"
    )

    host: str = Field("127.0.0.1", description="address to listen on; 0.0.0.0 lets other machines connect")
    port: int = Field(7860, ge=1, le=65535, description="TCP port to listen on")
    open_browser: bool = Field(
        True, description="open the page in a browser when the portal is ready", json_schema_extra={"option": "browser"}
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="least serious events that are logged"
    )


class TalkSettings(StartSettings):
    """Which avatar is shown first; which backends answer, speak and hear, and how."""

    avatar: str = Field("", description="id of the avatar that is shown first; default: the first preset")
    lipsync: LipSyncName = Field(registry.names("lipsync")[0], description="backend that draws the mouth")
    tts: TtsName = Field(
        registry.names("tts")[0],
        description="backend that speaks; auto: English here, other languages by edge (online) or, offline, here too",
    )
    voice: str = Field("", description="voice of that backend; default: its first")

    llm: LlmName = Field(
        registry.names("llm")[0], description="backend that answers; openai: any server with OpenAI's interface"
    )
    llm_base_url: str = Field(
        "", description="address of the language model's server, e.g. http://127.0.0.1:11434/v1 (Ollama)"
    )
    llm_api_key: SecretStr = _key("VIVAVOCE_LLM_API_KEY")
    llm_model: str = Field("", description="name of the language model, as that server calls it")
    llm_timeout_s: float = Field(
        60.0,
        gt=0,
        description="seconds after which a language model that sends nothing, not even a keep-alive, is given up",
    )
    llm_thinking_timeout_s: float = Field(
        600.0, gt=0, description="seconds that the language model may think before its first or next word"
    )
    llm_history_tokens: int = Field(
        4_000,
        ge=300,
        description="about how many tokens of the conversation are sent with each question; the oldest are left out "
        "first. Keep it well below what the model can take in",
    )
    llm_history_characters: int | None = Field(
        None,
        ge=1_000,
        description="the earlier way to set llm_history_tokens: three characters count as one token",
    )
    llm_questions_a_minute: int = Field(
        30, ge=1, description="questions that one viewer may ask the language model per minute"
    )
    tts_speed: float = Field(
        1.0,
        ge=SLOWEST,
        le=FASTEST,
        description="how fast voices speak, in times as fast as they do by themselves: 0.5 to 2; viewers may change it",
    )
    tts_timeout_s: float = Field(
        20.0, gt=0, description="seconds without sound from the voice after which a sentence is given up"
    )
    tts_base_url: str = Field(
        "", description="address of the voice's server, e.g. http://127.0.0.1:8880/v1, for a voice that is a service"
    )
    tts_api_key: SecretStr = _key("VIVAVOCE_TTS_API_KEY")
    tts_model: str = Field("", description="name of the voice's model, as that server calls it")
    tts_voices: Words = Field(
        (), description="voices of that server that the page offers, separated by commas; the first is the default"
    )
    tts_options: Fields = Field(
        {},
        description="more fields of each request to that server, by its own names: a table in the settings file, JSON "
        "elsewhere; no keys, for it is not kept secret",
    )
    tts_avatars_folder: str = Field(
        "",
        description="where that server finds the folder `avatars` of the data folder, if it opens voice samples itself "
        "and sees that folder under another path",
    )
    tts_services: Words = Field(
        (),
        description="voices with a service of your own on this machine, at its usual port, that viewers may choose "
        "beside tts, e.g. cosyvoice, xtts; default: all while only people on this machine reach the portal, else none",
    )
    asr: AsrName = Field(
        registry.AUTO, description="backend that recognises what viewers say; auto: the first that is installed here"
    )
    asr_base_url: str = Field(
        "", description="address of the recogniser's server, e.g. http://127.0.0.1:8000/v1, if it is a service"
    )
    asr_api_key: SecretStr = _key("VIVAVOCE_ASR_API_KEY")
    asr_model: str = Field(
        "",
        description="its model: a folder with a Whisper of CTranslate2 for faster-whisper, a file for whisper, a name "
        "for a service; default: base, whisper-1 of a service",
    )
    asr_language: str = Field(
        "",
        pattern="^([a-z]{2,3})?$",
        description="language of viewers who do not say what they speak, such as en or zh; default: found out, which "
        "takes longer",
    )
    ears_silence_ms: int = Field(
        1200,
        ge=200,
        le=2500,
        description="milliseconds of silence that end what a viewer says; where the end-of-turn network hears an end, "
        "200 do",
    )
    ears_preload: bool = Field(
        False,
        description="load what recognises speech at the start, not when a viewer first switches the microphone on: 4 "
        "seconds of processor time and 300 MB",
    )
    barge_in: bool = Field(
        True, description="let viewers interrupt the avatar by speaking; off: what they say over it is not heard"
    )
    llm_system_prompt: str = Field(
        "", description="instructions to the language model: who the avatar is and how it should answer"
    )
    llm_tools: Words = Field(
        (), description="Python functions that the language model may call, as package.module:function"
    )
    greeting: bool = Field(True, description="let avatars that have a greeting speak it when a session begins")

    @property
    def history_tokens(self) -> int:
        """Most tokens of a conversation sent to the language model, from whichever of the two settings was used."""
        if self.llm_history_characters is None:
            return self.llm_history_tokens
        return self.llm_history_characters // 3
