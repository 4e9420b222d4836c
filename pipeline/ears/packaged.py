"""Files of networks that other people's packages carry: found without importing the package, and checked."""

from __future__ import annotations

import hashlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pipeline.errors import BackendUnavailable

if TYPE_CHECKING:
    import onnxruntime

__all__ = ["REMEDY", "PackagedFile", "missing_packages", "onnx_session"]

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


def onnx_session(network: PackagedFile, backend: str) -> onnxruntime.InferenceSession:
    """The network, to be run in one thread: the one that calls it. Raises BackendUnavailable for `backend`."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(network.content(backend), options, providers=["CPUExecutionProvider"])
