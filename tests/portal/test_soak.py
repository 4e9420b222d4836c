"""A soak: viewers whose doings come from a seed, figures with targets, and a run against a portal."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from models.errors import VivavoceError
from pipeline.transports.websocket import MEDIA_HEADER, MEDIA_KIND, PICTURE_FLAG
from portal.commands import cli, soak
from portal.commands.setting_options import arguments_of, settings_given
from portal.commands.soak_crowd import Heard, Plan, Viewer, running_crowd
from portal.commands.soak_report import Figure, Reading, figures_of, picture_of, table_of


def steps(seed: int, number: int) -> list[object]:
    plan = Plan(seed, number)
    return [plan.step() for _ in range(200)]


def test_what_viewers_do_is_drawn_from_the_seed() -> None:
    """The same again for the same seed, and something else for another. Some turns are cut off, some viewers go."""
    assert steps(1, 0) == steps(1, 0)
    assert steps(1, 0) != steps(1, 1) and steps(1, 0) != steps(2, 0)
    plan = Plan(1, 0)
    done = [plan.step() for _ in range(200)]
    assert 0 < sum(step.interrupts_after_s is not None for step in done) < 100
    assert 0 < sum(step.leaves for step in done) < 40


def frame(media_s: float, flags: int = PICTURE_FLAG) -> bytes:
    return MEDIA_HEADER.pack(MEDIA_KIND, flags, 0, 0, round(media_s * 1e6))


def heard_of(arrivals: Sequence[tuple[float, float]]) -> Heard:
    """Of frames: (clock, place on the media clock) in seconds."""
    clock = iter(at_s for at_s, _ in arrivals)
    viewer = Viewer("ws://nobody", Plan(1, 0), lambda: next(clock))
    for _, media_s in arrivals:
        viewer.take_frame(frame(media_s))
    return viewer.take_heard()


def test_a_gap_is_between_two_frames_and_a_lag_is_that_of_the_fastest_one() -> None:
    """One late frame is a gap and no drift: the others were in time."""
    heard = heard_of([(10.0, 0.0), (10.04, 0.04), (10.18, 0.08), (10.19, 0.12)])
    assert heard.frames == heard.pictures == 4
    assert heard.longest_gap_ms == pytest.approx(140)
    assert heard.lag_s == pytest.approx(0.0)


def test_what_was_heard_is_taken_once() -> None:
    clock = iter([1.0, 1.04])
    viewer = Viewer("ws://nobody", Plan(1, 0), lambda: next(clock))
    viewer.take_frame(frame(0.0))
    assert viewer.take_heard().frames == 1
    viewer.take_frame(frame(0.04, flags=0))
    second = viewer.take_heard()
    assert (second.frames, second.pictures) == (1, 0)
    assert second.longest_gap_ms == pytest.approx(40), "a gap that reaches over two intervals counts as well"


Change = Callable[[int], dict[str, Any]]


def readings(change: Change = lambda _index: {}, count: int = 20) -> list[Reading]:
    """Each as the one before, but for what `change` says of the reading of that number."""
    heard = [Heard(frames=125, longest_gap_ms=45, lag_s=0.0)]
    usual = Reading(at_s=0, resident_mb=250.0, descriptors=16, threads=9, tasks=24, late=7, slipped_s=1.0, heard=heard)
    return [replace(usual, at_s=5.0 * index, **change(index)) for index in range(count)]


def named(figures: Sequence[Figure], name: str) -> Figure:
    return next(figure for figure in figures if name in figure.name)


def test_a_portal_that_stays_as_it_is_meets_every_target() -> None:
    """What was late before the first look does not count."""
    figures = figures_of(readings())
    assert all(figure.met for figure in figures)
    assert named(figures, "late").value == "0"
    assert "**" not in table_of(figures)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("memory", lambda index: {"resident_mb": 250.0 + 2 * index}),
        ("descriptors", lambda index: {"descriptors": 16 + index}),
        ("threads", lambda index: {"threads": 9 + index}),
        ("tasks", lambda index: {"tasks": 24 + index}),
        ("drift", lambda index: {"heard": [Heard(lag_s=0.002 * index)]}),
        ("gap", lambda index: {"heard": [Heard(longest_gap_ms=200 if index == 7 else 41)]}),
        ("late", lambda index: {"late": 7 + (index > 10)}),
        ("gave up", lambda index: {"slipped_s": 1.0 + 0.04 * (index > 10)}),
        ("errors", lambda index: {"heard": [Heard(errors=["OSError: gone"] * (index == 3))]}),
    ],
)
def test_what_grows_or_is_late_is_told_in_bold(name: str, change: Change) -> None:
    """And nothing else misses its target."""
    figures = figures_of(readings(change))
    assert [figure for figure in figures if not figure.met] == [named(figures, name)]
    assert f"**{named(figures, name).value}**" in table_of(figures)


def test_a_new_session_begins_with_no_drift() -> None:
    """Its clock has nothing to do with that of the session before."""

    def change(index: int) -> dict[str, Any]:
        return {"heard": [Heard(lag_s=0.5 if index >= 10 else 0.0, sessions=int(index == 10))]}

    assert named(figures_of(readings(change)), "drift").met


def test_too_few_readings_are_refused() -> None:
    with pytest.raises(ValueError, match="too few"):
        figures_of(readings(count=4))


def test_the_picture_has_a_line_for_each_figure() -> None:
    picture = ElementTree.fromstring(picture_of(readings(lambda index: {"resident_mb": 250.0 + index})))
    lines = picture.findall(".//{http://www.w3.org/2000/svg}polyline")
    assert len(lines) == 6
    assert all(len(line.get("points", "").split()) == 20 for line in lines)


def test_settings_are_options_again() -> None:
    """Whatever was given: what the portal of the soak reads is what its own command line said."""
    given = ["soak", "--tts", "beep", "--no-barge-in", "--kiosk", "--allowed-origins", "https://a.b", "https://c.d"]
    parser = cli.build_parser()
    settings = settings_given(parser.parse_args([*given, "--llm-model=-x"]))
    assert len(settings) == 5
    assert settings_given(parser.parse_args(["serve", *arguments_of(settings)])) == settings


def test_a_run_that_is_too_short_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """Before a portal is started."""
    assert cli.main(["soak", "--minutes", "0.1"]) == 1
    assert "too short" in capsys.readouterr().err


@pytest.mark.thorough
@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="reads /proc")
def test_a_soak_of_seconds(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Two viewers talk to a portal; the table, the readings and the picture are there, and nothing went wrong."""
    monkeypatch.setattr(soak, "SETTLING_S", 2.0)
    monkeypatch.setattr(soak, "EVERY_S", 1.0)
    said: list[str] = []
    measuring = {"tts": "beep", "lipsync": "flash", "allowed_origins": ["https://a.example", "https://b.example"]}
    status = soak.soak(soak.Soak(minutes=0.3, viewers=2, seed=1, out=tmp_path), measuring, said.append)
    assert status in (0, 1), "a busy machine may be late"
    table = said[-1]
    assert "| errors | 0 | 0 |" in table and "0.3, 2" in table
    found = json.loads((tmp_path / "soak.json").read_text(encoding="utf-8"))
    assert len(found["readings"]) >= 10 and found["seed"] == 1
    last = found["readings"][-1]
    assert last["tasks"] > 0 and last["descriptors"] > 0 and sum(one["frames"] for one in last["heard"]) > 0
    assert (tmp_path / "soak.svg").read_text(encoding="utf-8").startswith("<svg")


def test_only_linux_is_soaked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("sys.platform", "darwin")
    with pytest.raises(VivavoceError, match="Linux"):
        soak.soak(soak.Soak(60, 3, 1, tmp_path), {}, print)


def test_a_crowd_comes_whatever_folder_it_is_asked_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its process finds our packages; what the viewers cannot reach they say."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    with running_crowd("ws://127.0.0.1:1/session", 1, 1, 0.1) as lines:
        assert json.loads(next(lines))
