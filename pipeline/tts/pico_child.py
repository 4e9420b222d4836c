"""The process in which `pico` speaks: `python -m pipeline.tts.pico_child`, see speaking_process.py."""

from __future__ import annotations

import sys

from py_nanotts import NanoTTS

from pipeline.tts.speaking_process import serve

__all__: list[str] = []

if __name__ == "__main__":
    pico = NanoTTS()
    serve(lambda text, voice: pico.speak(text, voice=voice.partition("-")[2]), sys.stdin.buffer, sys.stdout.buffer)
