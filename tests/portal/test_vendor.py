"""Other people's scripts are what their README says they are."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

VENDOR = Path(__file__).parents[2] / "portal" / "static" / "vendor"


def test_every_vendored_script_has_its_sum_and_its_licence() -> None:
    """No script is there without a row, and none differs from the one that was looked at."""
    rows = re.findall(
        r"^\| `([\w.]+)` \|.*`(\w+\.LICENSE)` \| `([0-9a-f]{64})` \|$", (VENDOR / "README.md").read_text(), re.MULTILINE
    )
    assert {name for name, _, _ in rows} == {path.name for path in VENDOR.glob("*.js")}
    for name, licence, digest in rows:
        assert hashlib.sha256((VENDOR / name).read_bytes()).hexdigest() == digest, name
        assert (VENDOR / licence).stat().st_size > 500
