"""Finishes the complete file of a clip or a recording: marks its sound, then signs it."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from models.errors import VivavoceError
from models.weights import WeightsFolder
from pipeline.clip_signature import ClipSigner
from pipeline.errors import NotMarked, NotSigned
from pipeline.sound_mark import SoundMark, mark_sound
from portal.certificates import clip_signer

if TYPE_CHECKING:
    from portal.settings import Settings

__all__ = ["ClipFinish", "sound_mark"]

SEAL = "audioseal"
"Its name in the manifest of weights."


class ClipFinish:
    """Adds the sound mark and the signature that the settings ask for."""

    def __init__(self, settings: Settings) -> None:
        """Read the settings only; no file is opened yet."""
        self._signer: ClipSigner | None = clip_signer(settings)
        self._weights = settings.weights_folder if settings.sound_mark else None

    def finish(self, clip: Path) -> list[NotMarked | NotSigned]:
        """Mark and sign a clip. Return the errors of what failed; the clip is kept all the same."""
        lacks: list[NotMarked | NotSigned] = []
        try:
            if self._weights is not None:
                mark_sound(clip, sound_mark(self._weights))
        except NotMarked as error:
            lacks.append(error)
        try:
            if self._signer is not None:
                self._signer.sign(clip)
        except NotSigned as error:
            lacks.append(error)
        return lacks

    def check(self) -> None:
        """Raise NotMarked or NotSigned if clips will lack the mark or the signature. Loads no network."""
        if self._weights is not None:
            _require(self._weights)
        if self._signer is not None:
            self._signer.check()


@cache
def sound_mark(weights: Path) -> SoundMark:
    """Return AudioSeal with the weights of a folder; loaded once, then kept. Raises NotMarked."""
    found = _require(weights)
    try:
        from models.sound_seal import SoundSeal

        return SoundSeal(found["generator"], found["detector"])
    except VivavoceError as error:
        raise NotMarked(f"The sound has no mark. {error.message}", error.hint) from error


def _require(weights: Path) -> dict[str, Path]:
    folder = WeightsFolder(weights)
    missing = [*([] if find_spec("torch") else ["torch"]), *folder.missing(SEAL)]
    if missing:
        hint = "The operator brings them: python launch.py fetch audioseal"
        raise NotMarked(f"The sound has no mark: {', '.join(missing)} are missing.", hint)
    return dict(folder.find(SEAL))
