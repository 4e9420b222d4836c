"""Loads MuseTalk's networks of a weights folder, runs one batch, and writes what memory it took as JSON to its output.

    python tests/models/musetalk_memory_script.py WEIGHTS_FOLDER

A process of its own, so that nothing else counts. Linux only: the kernel tells pages of files from anonymous ones, and
its high-water mark can be reset.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from models.musetalk_unet import load_musetalk_unet, predict_latents
from models.musetalk_vae import decode_faces, encode_faces, load_musetalk_vae
from models.positional_encoding import positional_encoding

BATCH = 2


class Memory:
    """What the process holds more than when this was made, in bytes."""

    def __init__(self) -> None:
        Path("/proc/self/clear_refs").write_text("5")  # the high-water mark begins anew
        self._before = self._status()

    def now(self) -> dict[str, int]:
        status = self._status()
        return {
            "anonymous_bytes": status["RssAnon"] - self._before["RssAnon"],
            "of_files_bytes": status["RssFile"] - self._before["RssFile"],
            "peak_bytes": status["VmHWM"] - self._before["VmRSS"],
        }

    @staticmethod
    def _status() -> dict[str, int]:
        lines = (line.split() for line in Path("/proc/self/status").read_text().splitlines() if line.endswith(" kB"))
        return {name.rstrip(":"): int(kb) * 1024 for name, kb, _ in lines}


def main(folder: Path) -> dict[str, Any]:
    unet_file = folder / "musetalkV15" / "unet.pth"
    memory = Memory()
    began_s = time.perf_counter()
    unet = load_musetalk_unet(unet_file, unet_file.with_name("musetalk.json"))
    load_s = time.perf_counter() - began_s
    loaded = memory.now()
    # Mapped pages only count once they were looked at: look at all of them.
    finite = all(bool(parameter.isfinite().all()) for parameter in unet.parameters())
    in_use = memory.now()

    vae = load_musetalk_vae(folder / "sd-vae-ft-mse")
    rng = np.random.default_rng(0)
    latents = encode_faces(vae, rng.integers(0, 256, (BATCH, 256, 256, 3), np.uint8))
    audio = torch.from_numpy(rng.standard_normal((BATCH, 50, 384), np.float32)) + positional_encoding()
    began_s = time.process_time()
    predicted = predict_latents(unet, latents, audio)
    unet_cpu_s = time.process_time() - began_s
    began_s = time.process_time()
    pictures = decode_faces(vae, predicted)
    return {
        "file_bytes": unet_file.stat().st_size,
        "load_s": load_s,
        "loaded": loaded,
        "in_use": in_use,
        "after_a_batch_and_the_vae": memory.now(),
        "finite": finite,
        "unet_cpu_s": unet_cpu_s,
        "decode_cpu_s": time.process_time() - began_s,
        "predicted_shape": list(predicted.shape),
        "predicted_deviation": float(predicted.std()),
        "pictures_shape": list(pictures.shape),
        "pictures_deviation": float(pictures.std()),
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(Path(sys.argv[1]))))
