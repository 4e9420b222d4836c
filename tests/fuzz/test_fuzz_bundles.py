"""Avatars whose files are not what they say: each is refused by its name, or works."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avatars.errors import AvatarError
from avatars.library import AvatarLibrary
from tests.fuzz.trying import much

pytestmark = pytest.mark.thorough

KEPT = Path(__file__).parents[1] / "assets" / "bundles" / "v1"
FILES = sorted(path.name for path in KEPT.iterdir())
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
MANIFEST = json.loads((KEPT / "manifest.json").read_text(encoding="utf-8"))
CUTS = st.tuples(st.integers(0, 20_000), st.integers(0, 40), st.binary(max_size=40))
"where bytes are replaced, how many of them, and by what"


def use(folder: Path) -> None:
    """All that a portal does with an avatar."""
    library = AvatarLibrary(folder)
    for summary in library.list():
        assert summary.id
    refusal = ""
    try:
        bundle = library.open("kept")
        for index in range(min(bundle.frame_count, 3)):
            assert bundle.frame(index).ndim == 3
            assert bundle.mask(index).ndim == 2
        assert len(bundle.loop) and bundle.landmarks.ndim == 3 and len(bundle.boxes)
        assert isinstance(bundle.name, str)
    except AvatarError as error:
        refusal = error.message
    assert str(folder) not in refusal


@much(150)
@given(name=st.sampled_from(FILES), cuts=st.lists(CUTS, min_size=1, max_size=3))
def test_damaged_files_are_refused_or_work(name: str, cuts: list[tuple[int, int, bytes]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(KEPT, Path(folder) / "kept")
        data = (KEPT / name).read_bytes()
        for place, count, by in cuts:
            at = place % (len(data) + 1)
            data = data[:at] + by + data[at + count :]
        (Path(folder) / "kept" / name).write_bytes(data)
        use(Path(folder))


@much(100)
@given(changes=st.dictionaries(st.sampled_from(sorted(MANIFEST)), JSON, min_size=1, max_size=3))
def test_manifests_that_say_something_else_are_refused_or_work(changes: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(KEPT, Path(folder) / "kept")
        (Path(folder) / "kept" / "manifest.json").write_text(json.dumps({**MANIFEST, **changes}), encoding="utf-8")
        use(Path(folder))
