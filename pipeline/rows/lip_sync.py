"""Lip-sync backends, and the features they draw from. The first of a kind is the default."""

from __future__ import annotations

from pipeline.rows.row import BackendRow, Label, for_measuring, same

__all__ = ["ROWS"]

_WEIGHTS = {"weights": "weights_folder"}
_NETWORK = {**_WEIGHTS, "precision": "precision", "compiled": "compile_networks"}


def _features_of_network(name: str, path: str, label: Label, weights: str) -> BackendRow:
    return BackendRow("features", name, path, label, weights=weights, packages=("torch",), settings=_WEIGHTS)


def _network(name: str, path: str, called: str, features: str, *packages: str) -> BackendRow:
    """Return the row of a network. Its weights and the FaceFormat that avatars are prepared by have the same name."""
    return BackendRow(
        "lipsync",
        name,
        path,
        same(called),
        features=features,
        weights=name,
        face_format=f"avatars.face_formats:{name.upper()}",
        packages=("torch", *packages),
        settings=_NETWORK,
    )


ROWS = (
    BackendRow("features", "viseme", "pipeline.features.viseme:VisemeExtractor", Label("Mouth shapes", "口型")),
    BackendRow(
        kind="features",
        name="visemes_around",
        path="pipeline.features.visemes_around:VisemesAround",
        label=Label("Mouth shapes of several pictures", "多帧口型"),
    ),
    BackendRow("features", "loudness", "pipeline.features.loudness:LoudnessExtractor", Label("Loudness", "响度")),
    BackendRow("features", "mel", "pipeline.features.mel:MelExtractor", Label("Mel spectrogram", "梅尔频谱")),
    _features_of_network(
        "whisper15",
        "pipeline.features.whisper:Whisper15Extractor",
        Label("Whisper for MuseTalk 1.5", "Whisper（用于 MuseTalk 1.5）"),
        "musetalk15",
    ),
    _features_of_network(
        "whisper10",
        "pipeline.features.whisper:Whisper10Extractor",
        Label("Whisper for MuseTalk 1.0", "Whisper（用于 MuseTalk 1.0）"),
        "musetalk10",
    ),
    _features_of_network("hubert", "pipeline.features.hubert:HubertExtractor", same("HuBERT"), "ultralight"),
    BackendRow(
        kind="lipsync",
        name="viseme",
        path="pipeline.lipsync.viseme:VisemeLipSync",
        label=Label("Viseme · built in", "Viseme · 内置"),
        features="visemes_around",
    ),
    for_measuring("lipsync", "flash", "pipeline.lipsync.flash:FlashLipSync", "Flash", features="loudness"),
    _network("musetalk15", "pipeline.lipsync.musetalk:MuseTalk15LipSync", "MuseTalk 1.5", "whisper15", "diffusers"),
    _network("musetalk10", "pipeline.lipsync.musetalk:MuseTalk10LipSync", "MuseTalk 1.0", "whisper10", "diffusers"),
    _network("wav2lip256", "pipeline.lipsync.wav2lip:Wav2Lip256LipSync", "Wav2Lip 256", "mel"),
    _network("wav2lip96", "pipeline.lipsync.wav2lip:Wav2Lip96LipSync", "Wav2Lip 96", "mel"),
    _network("ultralight", "pipeline.lipsync.ultralight:UltralightLipSync", "Ultralight", "hubert"),
    for_measuring(
        "lipsync",
        "null",
        "pipeline.lipsync.null:NullLipSync",
        "Null",
        features="loudness",
        settings={"batch_ms": "null_batch_ms", "picture_ms": "null_picture_ms"},
    ),
)
