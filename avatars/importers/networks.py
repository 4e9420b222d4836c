"""Takes over the network that another project trained for one avatar: it is copied and checked, but never run here."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Final

from avatars.errors import BadImport
from avatars.importers.folder import ForeignFolder

__all__ = ["MAX_NETWORK_BYTES", "copy_network"]

MAX_NETWORK_BYTES: Final = 256 * 2**20
"Ultralight's network has 50 MB."


def copy_network(folder: ForeignFolder, name: str, target: Path) -> None:
    """Copy a file of weights to `target`.

    Without torch it cannot be checked here; the backend checks it in the same way before it uses it. Raises BadImport
    if the file is too large, damaged, not a file of weights, or a pickle that would run code.
    """
    folder.copy(name, target, MAX_NETWORK_BYTES)
    if find_spec("torch") is None:
        return
    from models.errors import WeightsError
    from models.state_dicts import read_state_dict

    try:
        read_state_dict(target)
    except WeightsError as error:
        raise BadImport(error.message.replace(str(target), name), error.hint, cause="network") from error
