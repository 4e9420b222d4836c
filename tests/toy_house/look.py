"""Run where the toy package is installed: writes as JSON what each part of the portal makes of it."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from fastapi import FastAPI
from fastapi.testclient import TestClient
from portraits import portrait_bundle

from avatars.parts import prepared_for
from pipeline import registry
from pipeline.clock import SystemClock
from pipeline.types import FeatureWindow, LipSyncRequest
from portal.api.backends import backends_router
from portal.backends import BackendCatalogue, backend_options
from portal.commands import cli, doctor
from portal.commands.listing import backends_table
from portal.settings import Settings
from portal.ui.talk import catalogue
from portal.ui.talk_text import TALK_TEXTS
from portal.ui.text import DESK_TEXTS

data = Path(sys.argv[1])
settings = Settings(data_dir=data)
lines: list[str] = []
doctor.report(
    settings,
    lines.append,
    [doctor.check_backends, doctor.check_outside, *(one for one in doctor.CHECKS if "toy" in str(one))],
)
fetched = cli.main(["fetch", "toy", "--data-dir", str(data)])
bundle = portrait_bundle(data / "avatars" / "ada", size=256)
prepared = cli.main(["prepare", "ada", "--for", "toy", "--data-dir", str(data)])

lipsync = registry.create("lipsync", "toy", **backend_options(settings)["lipsync", "toy"])
lipsync.load("cpu")
window = FeatureWindow(np.zeros(1, np.float32), 0)
(patch,) = lipsync.infer([LipSyncRequest(lipsync.prepare(bundle), 0, window, 0.0)])

app = FastAPI()
app.include_router(backends_router(BackendCatalogue(settings, SystemClock())))
listed = TestClient(app).get("/api/backends").json()
context = SimpleNamespace(
    settings=settings,
    sessions=SimpleNamespace(default_avatar="ada"),
    backends=BackendCatalogue(settings, SystemClock()),
)
menus = catalogue(context)  # type: ignore[arg-type]

found = {
    "doctor": "\n".join(lines),
    "fetched": fetched,
    "prepared": prepared,
    "parameters": prepared_for(data / "avatars" / "ada"),
    "patch": [list(patch.pixels.shape), patch.pixels[0, 0].tolist()],
    "api": {kind: {one["name"]: one for one in listed[kind] if "toy" in one["name"]} for kind in ("tts", "lipsync")},
    "page": {kind: {one["name"]: one for one in menus[kind] if "toy" in one["name"]} for kind in ("tts", "lipsync")},
    "texts": {
        language: {key: text for key, text in texts.items() if "toy" in key} for language, texts in TALK_TEXTS.items()
    },
    "desk": DESK_TEXTS["zh"]["lipsync.toy"],
    "table": backends_table((*registry.rows("tts"), *registry.rows("lipsync"))),
    "beep": registry.row("tts", "beep").path,
}
Path(sys.argv[2]).write_text(json.dumps(found), encoding="utf-8")
