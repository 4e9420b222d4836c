"""What a package from outside brings: a lip-sync network and a voice; and a row whose name is taken."""

from pathlib import Path

from pipeline.registry import BackendRow, Label

ROWS = (
    BackendRow(
        kind="lipsync",
        name="toy",
        path="toy_house.lipsync:ToyLipSync",
        label=Label("Toy network", "玩具网络"),
        features="loudness",
        weights="toy",
        manifest=Path(__file__).with_name("weights.toml"),
        face_format="toy_house.lipsync:FACE",
        settings={"weights": "weights_folder"},
    ),
    BackendRow(
        kind="tts",
        name="toy-voice",
        path="toy_house.voice:ToyVoice",
        label=Label("Toy voice", "玩具声音"),
        note=Label("It only whistles.", "它只会吹口哨。"),
    ),
)
TAKEN = BackendRow(kind="tts", name="beep", path="toy_house.voice:ToyVoice", label=Label("Other beep", "另一个"))
