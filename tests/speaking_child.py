"""A voice in a process of its own, for tests: it says the text back, and can be told to fail, die or hang."""

import os
import sys
import threading

from pipeline.tts.speaking_process import serve


def speak(text: str, voice: str, speed: float) -> bytes:
    match text:
        case "fail":
            raise ValueError("this cannot be read")
        case "die":
            os._exit(3)
        case "hang":
            threading.Event().wait()
        case "environment":
            return ",".join(sorted(os.environ)).encode()
    return f"{voice}: {text}{'' if speed == 1 else f' at {speed}'}".encode()


if __name__ == "__main__":
    serve(speak, sys.stdin.buffer, sys.stdout.buffer)
