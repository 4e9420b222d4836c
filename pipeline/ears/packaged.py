"""Files of networks that other people's packages carry: found without importing the package, and checked."""

from __future__ import annotations

import hashlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final

from pipeline.errors import BackendUnavailable

if TYPE_CHECKING:
    import onnxruntime

__all__ = ["REMEDY", "PackagedFile", "PackagedNetwork", "missing_packages"]

REMEDY: Final = "python launch.py fetch ears"


def missing_packages(*modules: str) -> tuple[str, str] | None:
    """Reason and hint for BackendUnavailable if some of these top-level modules are not installed."""
    missing = [module for module in modules if importlib.util.find_spec(module) is None]
    return (f"missing: {', '.join(missing)}", REMEDY) if missing else None


@dataclass(frozen=True, slots=True)
class PackagedFile:
    """One file of a package. The hash is pinned, because one person may publish such a package."""

    package: str
    "name of its module"
    path: str
    "below the module's folder"
    sha256: str

    def location(self) -> Path:
        """The package must be installed."""
        found = importlib.util.find_spec(self.package)
        assert found is not None and found.submodule_search_locations
        return Path(found.submodule_search_locations[0]) / self.path

    def content(self, backend: str) -> bytes:
        """The bytes as they were checked. Raises BackendUnavailable for `backend`."""
        path = self.location()
        try:
            content = path.read_bytes()
        except OSError as error:
            raise BackendUnavailable(backend, f"{path.name} of {self.package} cannot be read", REMEDY) from error
        if hashlib.sha256(content).hexdigest() != self.sha256:
            raise BackendUnavailable(backend, f"{path.name} of {self.package} is not the checked file", REMEDY)
        return content


class PackagedNetwork:
    """A network that a package carries, run by onnxruntime. Subclasses give `name` and `file`."""

    name: ClassVar[str]
    file: ClassVar[PackagedFile]

    def __init__(self) -> None:
        """Raises BackendUnavailable."""
        if missing := missing_packages("onnxruntime", self.file.package):
            raise BackendUnavailable(self.name, *missing)
        self._session: onnxruntime.InferenceSession | None = None

    def load(self) -> None:
        """It is run in one thread: the one that calls it. Raises BackendUnavailable: the file is damaged or another
        one.
        """
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        content = self.file.content(self.name)
        self._session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])

    @property
    def session(self) -> onnxruntime.InferenceSession:
        """Call load() before."""
        assert self._session is not None, "load() comes first"
        return self._session

    async def aclose(self) -> None:
        """Idempotent. What uses the session goes on."""
        self._session = None
