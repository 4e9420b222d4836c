"""The command line: made from the settings, each command handed to its owner, errors in plain words."""

from __future__ import annotations

import argparse
import io
import logging
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from backend_rows import replace_backend
from foreign_folders import livetalking_ultralight, livetalking_wav2lip, zipped
from portraits import portrait_bundle

from avatars.bundle import AvatarBundle
from avatars.face_formats import FACE_FORMATS
from avatars.library import AvatarLibrary
from avatars.parts import BackendParts, parts_path
from models.errors import VivavoceError
from pipeline.types import NoticeEvent
from portal.commands import cli
from portal.disk import FolderNotWritable
from portal.http.people import UsersFile, is_password
from portal.settings import Settings, option_name


@pytest.fixture(autouse=True)
def own_data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("VIVAVOCE_DATA", str(tmp_path))


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch):
    """What `serve` was called with, instead of a server."""
    calls: list[Settings] = []
    module = argparse.Namespace(serve=lambda settings, say: calls.append(settings) or 0)
    monkeypatch.setitem(sys.modules, "portal.app", module)
    return calls


@pytest.mark.parametrize(("level", "told"), [("info", False), ("debug", True)])
def test_finding_a_way_to_each_viewer_is_no_news(
    served, monkeypatch: pytest.MonkeyPatch, level: str, told: bool
) -> None:
    """aioice tells of each of its steps at INFO: only to who asks for everything."""
    library = logging.getLogger("aioice.ice")
    monkeypatch.setattr(logging.getLogger(), "level", logging.getLevelName(level.upper()))
    monkeypatch.setattr(logging.getLogger("aioice"), "level", logging.NOTSET)
    library.manager._clear_cache()
    assert cli.main(["serve", "--log-level", level]) == 0
    assert library.isEnabledFor(logging.INFO) is told
    logging.getLogger("aioice").setLevel(logging.NOTSET)


class Ready:
    """A lip-sync that lacks nothing."""

    def __init__(self, **_options) -> None:
        pass


MADE = argparse.Namespace(name="Emma", id="emma-1")


@pytest.fixture
def all_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if weights and packages of all networks were there; preparing for some needs none."""
    for backend in FACE_FORMATS:
        replace_backend(monkeypatch, "lipsync", backend, f"{__name__}:Ready")


@pytest.mark.parametrize("line", [[], ["--port", "81"], ["serve", "--port", "81"]])
def test_serve_is_the_default_command(served, line) -> None:
    """Without a command the portal is started, with or without options."""
    assert cli.main(line) == 0
    assert served[0].port == (81 if line else 7860)


def test_options_of_the_readme_work(served) -> None:
    """The options that the README names reach the settings."""
    line = "--host 0.0.0.0 --no-browser --avatar theo --lipsync flash --tts beep --llm echo"
    assert cli.main(line.split()) == 0
    settings = served[0]
    assert (settings.host, settings.open_browser, settings.avatar) == ("0.0.0.0", False, "theo")
    assert (settings.lipsync, settings.tts, settings.llm) == ("flash", "beep", "echo")


def test_lists_are_given_one_after_another(served) -> None:
    """An option that takes several values takes them separated by spaces."""
    assert cli.main(["--turn-urls", "turn:a", "turn:b", "--port", "81"]) == 0
    assert served[0].turn_urls == ("turn:a", "turn:b")


def test_every_setting_is_an_option(capsys: pytest.CaptureFixture[str]) -> None:
    """There is no second list of options: each field of Settings shows up in the help."""
    with pytest.raises(SystemExit):
        cli.main(["serve", "--help"])
    shown = capsys.readouterr().out
    for name in Settings.model_fields:
        assert f"--{option_name(name)} " in shown or f"--{option_name(name)}," in shown, name


def test_the_help_shows_defaults_as_a_person_writes_them(capsys: pytest.CaptureFixture[str]) -> None:
    """Numbers, switches and lists read as one would type them, and a secret has no default."""
    with pytest.raises(SystemExit):
        cli.main(["serve", "--help"])
    shown = " ".join(capsys.readouterr().out.split())
    for default in ("60", "on", "127.0.0.0/8 ::1"):
        assert f"(default: {default})" in shown
    assert "(default: )" not in shown


def test_only_what_was_given_is_passed_on(monkeypatch: pytest.MonkeyPatch, served) -> None:
    """An option that is not there does not hide the environment."""
    monkeypatch.setenv("VIVAVOCE_PORT", "82")
    cli.main(["--max-sessions", "2"])
    assert (served[0].port, served[0].max_sessions) == (82, 2)


def test_a_bad_value_is_told_without_a_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    """A wrong option ends with status 1, the cause and the remedy."""
    assert cli.main(["--tts", "nobody"]) == 1
    assert "The option --tts cannot be 'nobody'" in capsys.readouterr().err


def test_errors_of_a_command_name_the_remedy(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What a command raises on purpose is printed as message and hint."""

    def fail(_settings, _say) -> None:
        raise VivavoceError("The port is taken.", "Use --port.")

    monkeypatch.setitem(sys.modules, "portal.app", argparse.Namespace(serve=fail))
    assert cli.main([]) == 1
    assert capsys.readouterr().err == "The port is taken.\nUse --port.\n"


def test_ctrl_c_is_an_ordinary_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """An interruption gives the status that shells expect, and no traceback."""

    def interrupt(_settings, _say) -> None:
        raise KeyboardInterrupt

    monkeypatch.setitem(sys.modules, "portal.app", argparse.Namespace(serve=interrupt))
    assert cli.main([]) == 130


def test_test_hands_its_arguments_to_pytest(monkeypatch: pytest.MonkeyPatch) -> None:
    """`test -k name` runs just that, options included."""
    seen = []
    monkeypatch.setattr("portal.commands.checks.run_checks", lambda rest, say: seen.append(rest) or 5)
    assert cli.main(["test", "-k", "settings", "-x"]) == 5
    assert seen == [["-k", "settings", "-x"]]


def test_render_speaks_a_text_with_the_chosen_avatar(
    make_bundle: Callable[..., AvatarBundle],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    """`render --text ... OUT` calls the renderer once and says where the clip is."""
    calls = []
    monkeypatch.setattr(
        "portal.making.rendering.render_clip",
        lambda settings, bundle, **wanted: (
            calls.append((bundle.id, wanted)) or [NoticeEvent("notice", "A notice.", "Do this.")]
        ),
    )
    output = tmp_path / "clip.mp4"
    make_bundle("made-by-me")
    line = ["render", "--text", "Hello.", "--data-dir", str(tmp_path), "--avatar", "made-by-me", str(output)]
    assert cli.main(line) == 0
    avatar, wanted = calls[0]
    assert (avatar, wanted["text"], wanted["audio"]) == ("made-by-me", "Hello.", None)
    assert capsys.readouterr().out == f"A notice. Do this.\nWritten: {output}\n"


def test_render_refuses_a_lip_sync_that_cannot_run_before_an_avatar_is_made(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Without weights the command that brings them is told at once."""
    monkeypatch.setattr("avatars.prepare.prepare_preset", lambda *_given: pytest.fail("an avatar was made"))
    assert cli.main(["render", "--text", "Hello.", "--lipsync", "wav2lip96", str(tmp_path / "clip.mp4")]) == 1
    assert "fetch wav2lip96" in capsys.readouterr().err


def test_render_makes_our_own_avatar_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """On a fresh machine `render` prepares the default avatar, which is then shown."""
    order = []
    monkeypatch.setattr("avatars.prepare.prepare_preset", lambda preset, library: order.append(preset.id) or preset)
    monkeypatch.setattr(
        "portal.making.rendering.render_clip", lambda settings, bundle, **wanted: order.append(bundle.id) or []
    )
    assert cli.main(["render", "--text", "Hello.", str(tmp_path / "clip.mp4")]) == 0
    assert order == ["mira", "mira"]


def test_render_looks_for_a_place_to_write_before_it_works(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The folder of the clip, and the data folder where an avatar has to be made: no minutes of work for nothing."""
    monkeypatch.setattr("avatars.prepare.prepare_preset", lambda *_given: pytest.fail("an avatar was made"))
    monkeypatch.setattr(
        "portal.making.rendering.render_clip", lambda *_given, **_wanted: pytest.fail("a clip was rendered")
    )
    (tmp_path / "file").touch()
    assert cli.main(["render", "--text", "Hello.", str(tmp_path / "file" / "clip.mp4")]) == 1
    told = capsys.readouterr().err
    assert f"The folder {tmp_path / 'file'} cannot be written to" in told and "OUTPUT" in told

    def only_the_clip(folder, *_told) -> None:
        if folder == tmp_path / "data":
            raise FolderNotWritable("The data folder takes nothing.", "Give this user the right to.")

    monkeypatch.setattr(cli, "require_writable", only_the_clip)
    line = ["render", "--text", "Hello.", "--data-dir", str(tmp_path / "data"), str(tmp_path / "clip.mp4")]
    assert cli.main(line) == 1
    assert "The data folder takes nothing." in capsys.readouterr().err


@pytest.mark.parametrize("spoken", [[], ["--text", "a", "--audio", "b.wav"]])
def test_render_takes_a_text_or_a_recording(spoken, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither or both is a mistake that argparse explains."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "b.wav").touch()
    with pytest.raises(SystemExit) as caught:
        cli.main(["render", *spoken, "out.mp4"])
    assert caught.value.code == 2


def test_prepare_names_the_new_avatar(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """`prepare FILE` makes an avatar of the file's name, says what it has seen and made, and how to use it."""
    uploads = []

    def prepare(upload, library, progress):
        uploads.append(upload)
        progress("read_source", 1.0)
        report = {"words": ["75 pictures, 3.0 s; the face is good in 70."], "concerns": ["mouth_open"]}
        size = {"frame_count": 59, "width": 512, "height": 640}
        return argparse.Namespace(name=upload.name, id=upload.avatar_id, manifest={"report": report}, **size)

    monkeypatch.setattr("avatars.prepare.prepare_avatar", prepare)
    photo = tmp_path / "Aunt Emma.jpg"
    photo.touch()
    assert cli.main(["prepare", str(photo)]) == 0
    assert (uploads[0].path, uploads[0].name) == (photo, "Aunt Emma")
    told = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"Made in \d+ s: a loop of 59 pictures, 512 x 640 px\.", told[0])
    assert told[1] == "75 pictures, 3.0 s; the face is good in 70."
    assert "closed lips give a better avatar" in told[2]
    assert told[3] == f"The avatar 'Aunt Emma' is ready: --avatar {uploads[0].avatar_id}"
    assert cli.main(["prepare", str(photo), "--cutout"]) == 0
    assert [upload.cutout for upload in uploads] == [False, True]


@pytest.mark.usefixtures("all_ready")
def test_prepare_makes_an_avatar_ready_for_backends(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """`prepare AVATAR --for BACKEND`, as the error of an avatar that is not prepared says; an unknown one ends it."""
    bundle = portrait_bundle(tmp_path / "avatars" / "ada", size=128)
    network = parts_path(bundle, "ultralight").with_suffix(".pth")
    network.parent.mkdir()
    network.write_bytes(b"weights")
    assert cli.main(["prepare", "ada", "--for", "wav2lip96", "--for", "ultralight"]) == 0
    assert "--avatar ada" in capsys.readouterr().out
    assert BackendParts.open(bundle, "wav2lip96").boxes.shape == (1, 4)
    assert BackendParts.open(bundle, "ultralight").boxes.shape == (1, 4)
    assert cli.main(["prepare", "nobody", "--for", "wav2lip96"]) == 1
    assert "no avatar 'nobody'" in capsys.readouterr().err
    assert cli.main(["prepare", "ada", "--for", "viseme"]) == 1
    assert "wav2lip96" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("last", "cause"),
    [
        ("wav2lip69", "Nothing needs to be prepared for 'wav2lip69'"),
        ("musetalk15", "fetch musetalk15"),
        ("ultralight", "no network of its own"),
    ],
)
def test_prepare_refuses_before_anything_is_made(
    last: str,
    cause: str,
    make_bundle: Callable[..., AvatarBundle],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    """A typo, weights or a network that are not there: told at once, for a photo and for an avatar alike."""
    for backend in ("wav2lip96", "ultralight"):
        replace_backend(monkeypatch, "lipsync", backend, f"{__name__}:Ready")
    made = []
    monkeypatch.setattr("avatars.prepare.prepare_avatar", lambda *_given: made.append("avatar"))
    monkeypatch.setattr("portal.making.avatar_parts.prepare_for_backend", lambda *_given: made.append("parts") or [])
    make_bundle("ada")
    photo = tmp_path / "photo.jpg"
    photo.touch()
    for given in (str(photo), "ada"):
        assert cli.main(["prepare", given, "--for", "wav2lip96", "--for", last]) == 1
        assert cause in capsys.readouterr().err
    assert made == []


def test_prepare_counts_on_the_network_that_an_import_brings(
    make_bundle: Callable[..., AvatarBundle],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    """A zip with LiveTalking's own network is prepared for it; one without is refused before it is read in."""
    make_bundle(MADE.id)
    replace_backend(monkeypatch, "lipsync", "ultralight", f"{__name__}:Ready")
    network = tmp_path / "ultralight.pth"
    network.write_bytes(b"weights")
    with_network = zipped(livetalking_ultralight(tmp_path / "emma", 26, network))
    without = zipped(livetalking_wav2lip(tmp_path / "ada", 26))
    made = []
    monkeypatch.setattr("portal.commands.cli._prepared", lambda path, *_rest: made.append(path) or MADE)
    monkeypatch.setattr("portal.making.avatar_parts.prepare_for_backend", lambda *given: made.append(given[2]) or [])
    assert cli.main(["prepare", str(without), "--for", "ultralight"]) == 1
    assert "no network of its own" in capsys.readouterr().err and made == []
    assert cli.main(["prepare", str(with_network), "--for", "ultralight"]) == 0
    assert made == [with_network, "ultralight"]


@pytest.mark.usefixtures("all_ready")
def test_prepare_hands_on_what_was_chosen_of_the_crop(
    make_bundle: Callable[..., AvatarBundle],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    """`--bbox-shift` and its like reach the preparation; what cannot be used is told before anything is done."""
    calls = []
    monkeypatch.setattr("portal.making.avatar_parts.prepare_for_backend", lambda *given: calls.append(given[2:4]) or [])
    make_bundle("ada")
    line = ["prepare", "ada", "--for", "musetalk15"]
    assert cli.main([*line, "--bbox-shift", "-7", "--parsing-mode", "neck"]) == 0
    assert calls == [("musetalk15", {"bbox_shift": -7, "parsing_mode": "neck"})]
    assert cli.main([*line, "--parsing-mode", "chin"]) == 1
    assert "parsing_mode must be one of raw, jaw, neck" in capsys.readouterr().err and len(calls) == 1


@pytest.mark.parametrize("line", [["prepare", "absent.jpg"], ["render", "--audio", "absent.wav", "out.mp4"]])
def test_a_file_that_is_not_there_is_said(line: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """A wrong path is a mistake of the command line, told as such."""
    with pytest.raises(SystemExit):
        cli.main(line)
    assert "there is no file absent" in capsys.readouterr().err


def test_import_says_what_was_brought_in(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """`import FOLDER` makes an avatar of the folder's name, and tells of the project and how far its boxes agree."""
    folder = livetalking_wav2lip(tmp_path / "wav2lip256_avatar1", 26)
    assert cli.main(["import", str(folder), "--name", "Ada"]) == 0
    told = capsys.readouterr().out
    assert "Imported from LiveTalking wav2lip: 26 pictures." in told and "boxes and ours agree" in told
    (bundle,) = AvatarLibrary(tmp_path / "avatars").list()
    assert bundle.name == "Ada" and f"--avatar {bundle.id}" in told
    assert bundle.source["file"] == "wav2lip256_avatar1"


def test_import_takes_zips_and_refuses_what_is_no_avatar(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A zip will do as well; a foreign folder or a photo ends with status 1, the cause and the remedy."""
    assert cli.main(["import", str(zipped(livetalking_wav2lip(tmp_path / "emma", 26)))]) == 0
    assert "The avatar 'emma' is ready" in capsys.readouterr().out
    (tmp_path / "empty").mkdir()
    photo = tmp_path / "photo.png"
    photo.write_bytes(b"\x89PNG")
    for path, cause in ((tmp_path / "empty", "There is no avatar in 'empty'"), (photo, "The zip cannot be read")):
        assert cli.main(["import", str(path)]) == 1
        assert cause in capsys.readouterr().err
    with pytest.raises(SystemExit):
        cli.main(["import", str(tmp_path / "absent")])
    assert "there is no file" in capsys.readouterr().err


def test_commands_of_the_readme_exist() -> None:
    """Each is there, with a help line."""
    assert {command.name for command in cli.COMMANDS} == {
        *("serve", "render", "stream", "prepare", "import", "user"),
        *("fetch", "worker", "marks", "doctor", "test", "bench", "notebooks", "soak", "chaos", "docs", "setup"),
        "ray",
    }
    assert all(command.help.endswith(".") for command in cli.COMMANDS)


def test_benchmarks_run_in_a_process_of_their_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """`bench` hands its options on, wherever it is called from, and returns the exit status."""
    monkeypatch.chdir(tmp_path)
    assert cli.main(["bench", "--only", "nothing of that name"]) != 0
    assert "nothing of that name" in capfd.readouterr().err


def test_fetch_goes_to_the_weights_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`fetch NAME... --weights DIR` hands the names and the folder on; without the option it is in the data folder."""
    calls = []
    monkeypatch.setattr(
        "portal.commands.fetching.fetch", lambda names, folder, environ: calls.append((names, folder)) or 0
    )
    assert cli.main(["fetch", "musetalk", "wav2lip", "--weights", str(tmp_path / "w")]) == 0
    assert cli.main(["fetch", "all"]) == 0
    assert calls == [(["musetalk", "wav2lip"], tmp_path / "w"), (["all"], tmp_path / "weights")]


def test_errors_of_weights_are_told_without_a_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    """A name without weights ends with status 1 and the names that have some."""
    assert cli.main(["fetch", "viseme"]) == 1
    assert "musetalk15" in capsys.readouterr().err


def test_a_hash_that_was_kept_long_ago_is_still_that_of_its_password() -> None:
    """It was made with n = 16384, r = 8, p = 5. Whoever changes these locks everybody out."""
    kept = (
        "scrypt$AAECAwQFBgcICQoLDA0ODw==$"
        "KxmIGvAUNm8QOhXNyENqKLtfJCqVLYyl9EhspCHviyG1PmeAJZ32F0V8ruPH6lobpBE9iFnpoLfM+jOzBOCI+g=="
    )
    assert is_password("Schwalbe 7", kept) and not is_password("Schwalbe 8", kept)


def test_people_are_added_listed_and_removed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The password comes by the terminal or from a pipe, and is never an argument."""
    monkeypatch.setenv("VIVAVOCE_DATA", str(tmp_path))
    monkeypatch.setattr("sys.stdin", io.StringIO("secret\n"))
    assert cli.main(["user", "anna", "--role", "viewer"]) == 0
    assert capsys.readouterr().out == "anna: viewer\n"
    assert is_password("secret", UsersFile(tmp_path / "users.json").hash_of("anna"))
    assert cli.main(["user", "anna", "--remove"]) == 0
    assert capsys.readouterr().out == ""
    assert cli.main(["user", "anna", "--remove"]) == 1
    assert "Nobody is called 'anna'" in capsys.readouterr().err


def test_two_different_passwords_add_nobody(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """At a terminal it is asked for twice."""
    monkeypatch.setenv("VIVAVOCE_DATA", str(tmp_path))
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    answers = iter(["one", "two"])
    monkeypatch.setattr("getpass.getpass", lambda _prompt: next(answers))
    assert cli.main(["user", "anna"]) == 1
    assert "differ" in capsys.readouterr().err
    assert not (tmp_path / "users.json").exists()


def test_ctrl_d_at_the_password_adds_nobody(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """It is said in a sentence and not by a traceback."""

    def ended(_prompt: str) -> str:
        raise EOFError

    monkeypatch.setenv("VIVAVOCE_DATA", str(tmp_path))
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("getpass.getpass", ended)
    assert cli.main(["user", "anna"]) == 1
    assert "No password was given" in capsys.readouterr().err
    assert not (tmp_path / "users.json").exists()
