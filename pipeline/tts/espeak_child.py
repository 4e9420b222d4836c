"""The process in which `espeak` speaks: `python -m pipeline.tts.espeak_child`. See speaking_process.py.

This is the only file that uses eSpeak NG, through its C interface (speak_lib.h of version 1.52). The portal never
imports it, so the portal itself contains nothing under the GPL.
"""

from __future__ import annotations

import ctypes
import json
import struct
import sys
from typing import Final

import espeakng_loader

from pipeline.tts.speaking_process import serve

__all__: list[str] = []

# From speak_lib.h.
AUDIO_OUTPUT_SYNCHRONOUS: Final = 2
INITIALIZE_PHONEME_EVENTS, INITIALIZE_PHONEME_IPA, INITIALIZE_DONT_EXIT = 0x1, 0x2, 0x8000
CHARS_UTF8: Final = 1
POS_CHARACTER: Final = 1
RATE: Final = 1
USUAL_RATE: Final = 175
"""Words per minute."""
EVENT_LIST_TERMINATED, EVENT_PHONEME = 0, 7
CODES: Final = {"zh": "cmn", "pt": "pt-br"}
"""eSpeak's name for a language, if it is not the ISO 639-1 code."""


class _Event(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("string", ctypes.c_char * 8),  # a union of a number, a pointer and eight characters
    )


_OnSound = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))


class Espeak:
    """The library. Load it once per process."""

    def __init__(self) -> None:
        """Load the library. Raises OSError if it does not load, or finds no voices."""
        self._library = ctypes.CDLL(espeakng_loader.get_library_path())
        options = INITIALIZE_PHONEME_EVENTS | INITIALIZE_PHONEME_IPA | INITIALIZE_DONT_EXIT
        data = espeakng_loader.get_data_path().encode()
        self._rate_hz = self._library.espeak_Initialize(AUDIO_OUTPUT_SYNCHRONOUS, 0, data, options)
        if self._rate_hz <= 0:
            raise OSError("eSpeak NG finds no voices")
        self._sound: list[bytes] = []
        self._phonemes: list[tuple[str, float]] = []
        self._on_sound = _OnSound(self._take)  # referenced here, because the library keeps only its address
        self._library.espeak_SetSynthCallback(self._on_sound)

    def speak(self, text: str, voice: str, speed: float) -> bytes:
        """Return the length of a JSON list of phonemes, that list, and then 16-bit PCM. Raises ValueError."""
        language = voice.partition("-")[2]
        if self._library.espeak_SetVoiceByName(CODES.get(language, language).encode()) != 0:
            raise ValueError(f"there is no voice for {language}")
        self._library.espeak_SetParameter(RATE, round(speed * USUAL_RATE), 0)
        self._sound, self._phonemes = [], []
        content = text.encode()
        failed = self._library.espeak_Synth(content, len(content) + 1, 0, POS_CHARACTER, 0, CHARS_UTF8, None, None)
        if failed:
            raise ValueError(f"eSpeak NG answers {failed}")
        told = json.dumps(self._phonemes).encode()
        return struct.pack(">I", len(told)) + told + b"".join(self._sound)

    def _take(self, samples: ctypes._Pointer[ctypes.c_short], count: int, events: ctypes._Pointer[_Event]) -> int:
        if samples and count > 0:
            self._sound.append(ctypes.string_at(samples, 2 * count))
        for index in range(1000):  # a guard; the list ends earlier
            event = events[index]
            if event.type == EVENT_LIST_TERMINATED:
                break
            if event.type == EVENT_PHONEME:
                self._phonemes.append((event.string.decode("utf-8", "ignore"), event.audio_position / 1000))
        return 0


if __name__ == "__main__":
    espeak = Espeak()
    serve(espeak.speak, sys.stdin.buffer, sys.stdout.buffer)
