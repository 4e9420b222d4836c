"""The process in which `pico` speaks: `python -m pipeline.tts.pico_child`. See speaking_process.py."""

from __future__ import annotations

import sys

from py_nanotts import NanoTTS

from pipeline.tts.speaking_process import serve

__all__: list[str] = []

if __name__ == "__main__":
    pico = NanoTTS()

    def speak(text: str, voice: str, speed: float) -> bytes:
        # Pico's default speed sounds slightly different from an explicit 1.0.
        pcm: bytes = pico.speak(text, voice=voice.partition("-")[2], speed=None if speed == 1 else speed)
        return pcm

    serve(speak, sys.stdin.buffer, sys.stdout.buffer)
