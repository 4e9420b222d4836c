"""Network files inside other people's packages: found without importing the package, and checked."""

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
    """Return reason and hint for BackendUnavailable if some of these top-level modules are missing, else None."""
    missing = [module for module in modules if importlib.util.find_spec(module) is None]
    return (f"missing: {', '.join(missing)}", REMEDY) if missing else None


@dataclass(frozen=True, slots=True)
class PackagedFile:
    """One file of a package. Its hash is pinned, because such a package may be published by a private person."""

    package: str
    "name of the package's module"
    path: str
    "path inside the module's folder"
    sha256: str

    def location(self) -> Path:
        """Return the file's path. The package must be installed."""
        found = importlib.util.find_spec(self.package)
        assert found is not None and found.submodule_search_locations
        return Path(found.submodule_search_locations[0]) / self.path

    def content(self, backend: str) -> bytes:
        """Return the file's bytes after checking them. Raises BackendUnavailable for `backend`."""
        path = self.location()
        try:
            content = path.read_bytes()
        except OSError as error:
            raise BackendUnavailable(backend, f"{path.name} of {self.package} cannot be read", REMEDY) from error
        if hashlib.sha256(content).hexdigest() != self.sha256:
            raise BackendUnavailable(backend, f"{path.name} of {self.package} is not the checked file", REMEDY)
        return content


class PackagedNetwork:
    """A network in a package, run by onnxruntime. Subclasses set `name` and `file`."""

    name: ClassVar[str]
    file: ClassVar[PackagedFile]

    def __init__(self) -> None:
        """Raise BackendUnavailable if a package is missing."""
        if missing := missing_packages("onnxruntime", self.file.package):
            raise BackendUnavailable(self.name, *missing)
        self._session: onnxruntime.InferenceSession | None = None

    def load(self) -> None:
        """Load the network. It will run in the calling thread only.

        Raises BackendUnavailable if the file is damaged, or another one.
        """
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        content = self.file.content(self.name)
        self._session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])

    @property
    def session(self) -> onnxruntime.InferenceSession:
        """The network. Call load() first."""
        assert self._session is not None, "load() comes first"
        return self._session

    async def aclose(self) -> None:
        """Release the network. Whoever uses the session can go on. Idempotent."""
        self._session = None
