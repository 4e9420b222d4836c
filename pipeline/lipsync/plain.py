"""What lip-sync backends have in common that draw without a network."""

from __future__ import annotations

from avatars.bundle import AvatarBundle

__all__ = ["PlainLipSync"]


class PlainLipSync:
    """The part of a LipSync that has to do with weights and with files: there are none."""

    on_device = False
    draws_rest = True

    def load(self, device: str) -> None:
        """Nothing to load."""

    def prepared_from(self, bundle: AvatarBundle) -> None:
        """The bundle, which never changes, is all there is."""

    def close(self) -> None:
        """Nothing to close."""
