"""Who an avatar is when it talks, kept beside its bundle."""

from pathlib import Path

import pytest

from avatars.persona import Persona, read_persona, write_persona


def test_most_avatars_have_none(tmp_path: Path) -> None:
    """An avatar that was made before there were personas says nothing."""
    assert read_persona(tmp_path) == Persona()


def test_what_is_written_is_read_and_leaves_no_other_file(tmp_path: Path) -> None:
    """An empty greeting is a wish too: no greeting."""
    persona = Persona(prompt="Du bist Mira.", greeting="")
    write_persona(tmp_path, persona)
    assert read_persona(tmp_path) == persona
    assert [path.name for path in tmp_path.iterdir()] == ["persona.json"]


@pytest.mark.parametrize("content", ["{", "[]", '{"prompt": 3}', "[" * 60_000])
def test_a_damaged_file_costs_the_persona_and_not_the_avatar(tmp_path: Path, content: str) -> None:
    """Whoever edits it by hand may err."""
    (tmp_path / "persona.json").write_text(content)
    assert read_persona(tmp_path) == Persona()


def test_the_wishes_of_a_viewer_go_before_the_avatars_own() -> None:
    """One by one."""
    own = Persona(prompt="Own.", greeting="Hello.", voice="anna")
    assert Persona(greeting="").over(own) == Persona(prompt="Own.", greeting="", voice="anna")
