"""The command line: `python launch.py [command] [options]`. Options are made from the fields of Settings.

Each command is a short function that imports what it needs when it is called, so that `--help` imports none of it.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from models.errors import VivavoceError
from portal.commands.arguments import (
    configure_chaos,
    configure_docs,
    configure_fetch,
    configure_import,
    configure_marks,
    configure_prepare,
    configure_ray,
    configure_render,
    configure_soak,
    configure_stream,
    configure_user,
)
from portal.commands.setting_options import add_settings, settings_given
from portal.disk import require_writable
from portal.logs import begin_logging
from portal.setting_loading import load_settings
from portal.settings import Settings

if TYPE_CHECKING:
    from avatars.bundle import AvatarBundle
    from avatars.library import AvatarLibrary

__all__ = ["COMMANDS", "build_parser", "main", "run"]


@dataclass(frozen=True, slots=True)
class Command:
    """One command. `run` takes the parsed arguments and the settings, and returns the exit status."""

    name: str
    help: str
    run: Callable[[argparse.Namespace, Settings], int]
    configure: Callable[[argparse.ArgumentParser], None] = lambda parser: None
    keeps: bool = False
    "True: the command writes into the data folder, so it is checked first whether that is possible."
    passes_on: bool = False
    "True: the command takes no settings. It gets its arguments as they are (`arguments.rest`)."


def main(arguments: Sequence[str]) -> int:
    """Run a command line and return the exit status."""
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
    """Run the command `vivavoce`, which an installation by pip provides."""
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
            add_settings(sub)
    return parser


def _serve(_parsed: argparse.Namespace, settings: Settings) -> int:
    from portal.process import without_collections
    from portal.ui.gradio_import import import_gradio

    with without_collections():
        import_gradio()
        from portal.app import serve

    return serve(settings, lambda text: print(text, flush=True))


def _worker(_parsed: argparse.Namespace, settings: Settings) -> int:
    from portal.worker.recipes import recipes
    from portal.worker.runner import run_worker

    # SIGTERM ends the worker in order, like Ctrl-C. Otherwise others would learn only by its silence that it has ended.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    return run_worker(settings, recipes(), is_one_of_many=True)


def _ray(parsed: argparse.Namespace, settings: Settings) -> int:
    from portal.commands.ray_cluster import RayRun, conduct

    run = RayRun(
        address=parsed.address,
        portals=parsed.portals,
        most=parsed.most,
        spare=parsed.spare,
        workers=parsed.workers,
        cpus=parsed.cpus,
        gpus=parsed.gpus,
        worker_cpus=parsed.worker_cpus,
        worker_gpus=parsed.worker_gpus,
        stop=parsed.stop,
    )
    return conduct(run, settings, settings_given(parsed), lambda text: print(text, flush=True))


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


def _stream(parsed: argparse.Namespace, settings: Settings) -> int:
    from portal.making.streaming import stream_avatar

    with nullcontext() if parsed.text_from is None else parsed.text_from as lines:
        stream_avatar(settings, _avatar_to_show(settings), parsed.to, lines, lambda text: print(text, flush=True))
    return 0


def _library(settings: Settings) -> AvatarLibrary:
    """Return the library, after removing what earlier, killed commands left half-made."""
    from portal.storage import Storage

    library = Storage.of(settings).library
    library.sweep()
    return library


def _avatar_to_show(settings: Settings) -> AvatarBundle:
    """Return the chosen avatar, or the first of our own characters. Our own are made if they do not exist yet."""
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
    from avatars.bundle import AvatarBundle

    chosen, library = _crop_parameters(parsed), _library(settings)
    found = parsed.upload if isinstance(parsed.upload, Path) else library.open(parsed.upload)
    for backend in parsed.backends:
        _check_for(backend, found, chosen, settings)
    bundle = _prepared(found, parsed, library) if isinstance(found, Path) else found
    for backend in parsed.backends:
        with library.changing(bundle.id) as folder:
            _prepare_for(backend, AvatarBundle.open(folder), chosen, settings)
    print(f"The avatar '{bundle.name}' is ready: --avatar {bundle.id}")
    return 0


def _check_for(backend: str, found: Path | AvatarBundle, chosen: Mapping[str, object], settings: Settings) -> None:
    """Refuse what cannot be prepared, before anything is made."""
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


def _prepared(path: Path, parsed: argparse.Namespace, library: AvatarLibrary) -> AvatarBundle:
    from avatars.prepare import Upload, prepare_avatar
    from portal.names import clean_file_name, clean_name

    name = clean_name(parsed.name) or clean_name(path.stem) or "Avatar"
    upload = Upload(path, library.new_id(name), name, cutout=parsed.cutout, source={"file": clean_file_name(path.name)})
    began_s = time.monotonic()
    bundle = prepare_avatar(upload, library, lambda stage, share: _show_progress(share, stage))
    for words in _words_of(bundle, time.monotonic() - began_s):
        print(words)
    return bundle


def _words_of(bundle: AvatarBundle, took_s: float) -> list[str]:
    """Return lines about the new avatar, about what was seen in the upload, and about what lowers its quality."""
    from portal.ui.text import DESK_TEXTS

    report = bundle.manifest["report"]
    made = f"Made in {took_s:.0f} s: a loop of {bundle.frame_count} pictures, {bundle.width} x {bundle.height} px."
    return [made, *report["words"], *(DESK_TEXTS["en"][f"concern.{one}"] for one in report.get("concerns", ()))]


def _import(parsed: argparse.Namespace, settings: Settings) -> int:
    from avatars.importers.account import import_words
    from avatars.importers.reading import check_import

    path = parsed.path.resolve()
    check_import(path)
    bundle = _prepared(path, parsed, _library(settings))
    for words in import_words(bundle.manifest["source"]["imported"]):
        print(words)
    for backend in bundle.manifest["source"]["imported"]["networks"]:
        print(f"To let it speak with that network: python launch.py prepare {bundle.id} --for {backend}")
    print(f"The avatar '{bundle.name}' is ready: --avatar {bundle.id}")
    return 0


def _fetch(parsed: argparse.Namespace, settings: Settings) -> int:
    from portal.commands.fetching import fetch

    return fetch(parsed.backends, settings.weights_folder, os.environ)


def _user(parsed: argparse.Namespace, settings: Settings) -> int:
    from portal.commands.users import change_users

    change_users(settings.users_path, parsed.name, parsed.role, remove=parsed.remove)
    return 0


def _doctor(_parsed: argparse.Namespace, settings: Settings) -> int:
    from portal.commands.doctor import report

    return report(settings, print)


def _test(parsed: argparse.Namespace, _settings: Settings) -> int:
    from portal.commands.checks import run_checks

    return run_checks(parsed.rest, say=lambda text: print(text, flush=True))


def _bench(parsed: argparse.Namespace, _settings: Settings) -> int:
    from portal.commands.beside import run_benchmarks

    return run_benchmarks(parsed.rest)


def _notebooks(parsed: argparse.Namespace, _settings: Settings) -> int:
    from portal.commands.beside import open_notebooks

    return open_notebooks(parsed.rest)


def _docs(parsed: argparse.Namespace, _settings: Settings) -> int:
    from portal.commands.documentation import build_site

    return build_site(parsed.folder.resolve(), lambda text: print(text, flush=True))


def _soak(parsed: argparse.Namespace, _settings: Settings) -> int:
    from portal.commands.soak import Soak, soak

    run = Soak(parsed.minutes, parsed.viewers, parsed.seed, parsed.out)
    return soak(run, settings_given(parsed), lambda text: print(text, flush=True))


def _chaos(parsed: argparse.Namespace, _settings: Settings) -> int:
    from portal.commands.chaos import Chaos, chaos

    # SIGTERM acts like Ctrl-C, so that no portal stays running and no disk stays mounted.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    run = Chaos(parsed.minutes, parsed.seed, parsed.out, parsed.viewers, parsed.only)
    return chaos(run, settings_given(parsed), lambda text: print(text, flush=True))


def _setup(_parsed: argparse.Namespace, _settings: Settings) -> int:
    """Do nothing: launch.py has already installed everything before it calls this."""
    return 0


def _show_progress(share: float, stage: str = "rendering") -> None:
    if sys.stdout.isatty():
        print(f"\r{stage}: {share:4.0%}", end="\n" if share >= 1 else "", flush=True)


def _marks(parsed: argparse.Namespace, settings: Settings) -> int:
    from pipeline.errors import NotMarked
    from portal.clip_finish import sound_mark
    from portal.commands.marks import marks_of

    try:
        mark = sound_mark(settings.weights_folder)
    except NotMarked:  # no program for the sound's mark is installed; the other marks are still reported
        mark = None
    for line in marks_of(parsed.clip, mark):
        print(line)
    return 0


COMMANDS = (
    Command("setup", "Install what Vivavoce needs, and end.", _setup),
    Command("serve", "Start the portal and print its address.", _serve, keeps=True),
    Command("render", "Make an MP4 in which an avatar speaks a text or a recording.", _render, configure_render),
    Command("stream", "Send a speaking avatar to a streaming server or a virtual camera.", _stream, configure_stream),
    Command(
        "prepare",
        "Make an avatar from a photo or a clip, and for neural backends.",
        _prepare,
        configure_prepare,
        keeps=True,
    ),
    Command(
        "import",
        "Bring in an avatar of LiveTalking, MuseTalk or OpenAvatarChat.",
        _import,
        configure_import,
        keeps=True,
    ),
    Command("fetch", "Download the weights of neural backends, with their licences.", _fetch, configure_fetch),
    Command(
        "worker",
        "Run jobs (avatars, clips): beside a portal with --no-worker, or on any machine, by --database-url.",
        _worker,
        keeps=True,
    ),
    Command("ray", "Keep portals and workers running on a Ray cluster, as many as viewers need.", _ray, configure_ray),
    Command(
        "user",
        "Add a person who may log in, or change the password; without a name: list them.",
        _user,
        configure_user,
        keeps=True,
    ),
    Command("marks", "Say which marks a clip carries: AIGC, IPTC, the mark in its sound.", _marks, configure_marks),
    Command("doctor", "Say what works on this machine, what is missing, and the remedy.", _doctor),
    Command("test", "Set up and run everything that CI runs; `test quick`: only what is quick.", _test, passes_on=True),
    Command("docs", "Make a website of the documents, in both languages.", _docs, configure_docs),
    Command("bench", "Measure the figures of docs/benchmarks.md.", _bench, passes_on=True),
    Command(
        "notebooks",
        "Set up and open the notebooks in JupyterLab; options are JupyterLab's, such as --no-browser.",
        _notebooks,
        passes_on=True,
    ),
    Command("soak", "Let viewers talk to a portal for long, and say what becomes of it.", _soak, configure_soak),
    Command("chaos", "Kill, starve and flood a portal that people talk to; say what held.", _chaos, configure_chaos),
)
