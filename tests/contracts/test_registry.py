"""What every row of the registry promises, for every kind of backend."""

from __future__ import annotations

import inspect

import pytest

from models.weights import WeightsFolder
from pipeline import registry
from pipeline.registry import BackendRow
from pipeline.tts.http_voice import HttpVoice
from portal.settings import Settings

ROWS = [row for kind in registry.kinds() for row in registry.rows(kind)]


@pytest.fixture(params=ROWS, ids=lambda row: f"{row.kind}-{row.name}")
def row(request: pytest.FixtureRequest) -> BackendRow:
    found: BackendRow = request.param
    return found


def test_the_row_leads_to_its_class(row: BackendRow) -> None:
    """The path can be imported, and the class has the row's name if its kind has names."""
    cls = registry.backend_class(row.kind, row.name)
    assert getattr(cls, "name", row.name) == row.name


def test_it_is_called_something_in_both_languages(row: BackendRow) -> None:
    """The label has both languages; a note has both languages or is missing."""
    assert row.label.en.strip() and row.label.zh.strip()
    assert row.note is None or (row.note.en.strip() and row.note.zh.strip())


def test_what_the_row_says_is_what_the_class_does(row: BackendRow) -> None:
    """Features are those of the class and in the registry; weights are in the manifest."""
    if row.kind == "lipsync":
        assert registry.backend_class(row.kind, row.name).features == row.features
        assert row.features in registry.names("features")
    assert not row.weights or row.weights in WeightsFolder(Settings().weights_folder).backends


def test_its_settings_are_arguments_of_the_class(row: BackendRow) -> None:
    """Each argument is one of the constructor's, and each setting is one of the portal's."""
    arguments = inspect.signature(registry.backend_class(row.kind, row.name)).parameters
    assert row.settings.keys() <= arguments.keys()
    assert all(hasattr(Settings(), setting) for setting in row.settings.values())


@pytest.mark.parametrize("row", registry.rows("tts"), ids=lambda row: row.name)
def test_a_voice_says_whether_its_service_is_looked_for_on_this_machine(row: BackendRow) -> None:
    """By this mark, the portal keeps strangers from having text sent to a program on this machine."""
    found = registry.backend_class(row.kind, row.name)
    usual = found.default_url if issubclass(found, HttpVoice) else ""
    assert row.looked_for_here == usual.startswith("http://127.0.0.1:")


@pytest.mark.parametrize("row", registry.rows("tts"), ids=lambda row: row.name)
def test_an_online_voice_says_where_text_goes(row: BackendRow) -> None:
    """The note says in both languages where the text goes; for a local voice, that it stays on this server."""
    note = row.note
    if row.online:
        assert note is not None and "text goes to" in note.en.lower() and "文字会发送给" in note.zh
    else:
        assert not issubclass(registry.backend_class(row.kind, row.name), HttpVoice)
        assert row.measuring or (note is not None and "does not leave" in note.en and "不会离开" in note.zh)
