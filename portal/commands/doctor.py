"""`python launch.py doctor`: what works on this machine, what is missing, and the remedy, in plain words.

Each check is a function that takes the settings and returns a Finding. No check changes anything.
"""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from avatars.detect import MediaPipeFaceAnalyzer
from avatars.errors import AvatarError, StoreUnreachable
from avatars.library import presets
from models.weights import WeightsFolder
from pipeline import registry
from pipeline.camera import camera_lacks
from pipeline.clip_signature import ClipSigner
from pipeline.ears.hearing import KINDS, chosen_names
from pipeline.errors import BackendUnavailable, NotSigned
from portal.backends import backend_options, hearing_choice
from portal.certificates import FOLDER as C2PA_FOLDER
from portal.certificates import clip_signer, local_certificate
from portal.commands.environment import find_chromium
from portal.commands.findings import Check, Finding, State
from portal.commands.network_checks import (
    check_database,
    check_language_model,
    check_network,
    check_port,
    check_turn,
    check_webhooks,
    check_webrtc,
)
from portal.setting_loading import unknown_variables
from portal.settings import OPEN_TO_ALL, Settings, is_open_to_all
from portal.storage import store_of

__all__ = ["CHECKS", "report"]

STORE_REMEDY = "Correct --store-url, or the keys in the environment (AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL and so on)."
STORE_ALONE = "Without --database-url each portal knows its own jobs only: set it where several share the store."
LOW_DISK_BYTES = 2_000_000_000
NAME_COLUMNS = 14
NEEDS_A_VIEWER = ("transport",)
"Kinds of backend that cannot be built without a viewer to connect to."
PACKAGES_OF_NO_BACKEND = ("torch",)
"Packages for networks in the manifest that belong to no backend. Today that is the face parser."
SOON = timedelta(days=30)
"How long before a certificate expires the doctor warns."
TORCH_TIMEOUT_S = 120.0
TORCH_PROBE = """
import json, torch
cuda = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
print(json.dumps({"version": torch.__version__, "cuda": cuda, "mps": torch.backends.mps.is_available()}))
"""
"Runs in a process of its own, because a torch that does not fit its driver may crash the process that imports it."


def report(settings: Settings, say: Callable[[str], None], checks: Sequence[Check] | None = None) -> int:
    """Run the checks and report their findings. Return the exit status, which is 1 if a finding is bad."""
    findings = []
    for check in CHECKS if checks is None else checks:
        finding = check(settings)
        findings.append(finding)
        say(f"{finding.state:<5} {finding.name:<{NAME_COLUMNS}} {finding.detail}")
        if finding.remedy:
            say(f"{'':<5} {'':<{NAME_COLUMNS}} -> {finding.remedy}")
    bad = [finding.name for finding in findings if finding.state is State.BAD]
    say("")
    say(f"Not usable as it is: {', '.join(bad)}." if bad else "Vivavoce can run here.")
    return 1 if bad else 0


def check_python(_settings: Settings) -> Finding:
    detail = f"{platform.python_version()} on {platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    if (3, 11) <= sys.version_info[:2] <= (3, 14):
        return Finding("Python", State.OK, detail)
    return Finding("Python", State.WARN, detail, "Made for 3.11 to 3.14; use one of them if something fails.")


def check_environment(_settings: Settings) -> Finding:
    return Finding("Environment", State.OK, f"{sys.prefix} ({size_text(folder_bytes(Path(sys.prefix)))})")


def check_settings(settings: Settings) -> Finding:
    unknown = unknown_variables(os.environ)
    if unknown:
        return Finding("Settings", State.WARN, f"without effect: {', '.join(unknown)}", "Correct or unset them.")
    return Finding("Settings", State.OK, f"data folder {settings.data_dir}")


def check_login(settings: Settings) -> Finding:
    if is_open_to_all(settings):
        reached, _, remedy = OPEN_TO_ALL.partition(". ")
        return Finding("Login", State.WARN, f"{reached}.", remedy)
    if settings.needs_login:
        return Finding("Login", State.OK, "people have to log in")
    return Finding("Login", State.OK, "none; only this machine reaches the portal")


def check_opencv(_settings: Settings) -> Finding:
    try:
        import cv2
    except ImportError as error:
        return Finding(
            "OpenCV",
            State.BAD,
            f"cannot be loaded: {error}",
            "The build with windows needs system libraries: apt install libgl1 libglib2.0-0. Or use the build without: "
            "pip uninstall -y opencv-contrib-python opencv-contrib-python-headless && python launch.py setup",
        )
    return Finding("OpenCV", State.OK, cv2.__version__)


def check_backends(settings: Settings) -> Finding:
    """Build every registered backend. That is cheap, and its error says what is missing."""
    options = backend_options(settings)
    chosen = {("llm", settings.llm), ("tts", settings.tts), ("lipsync", settings.lipsync)}
    working: list[str] = []
    lacking: list[str] = []
    state = State.OK
    rows = (row for kind in registry.kinds() if kind not in (*NEEDS_A_VIEWER, *KINDS) for row in registry.rows(kind))
    for row in rows:
        if row.weights:
            continue  # check_neural_backend() reports backends with weights
        key = (row.kind, row.name)
        try:
            registry.create(*key, **options.get(key, {}))
        except (BackendUnavailable, ImportError) as error:
            lacking.append(f"{row.kind} {row.name}: {error}")
            state = State.BAD if state is State.BAD or key in chosen else State.WARN
        else:
            working.append(f"{row.kind} {row.name}")
    return Finding("Backends", state, f"usable: {', '.join(working)}", " ".join(lacking))


def check_ears(settings: Settings) -> Finding:
    """Check whether viewers can speak. Bad only if a recogniser was chosen and cannot be used."""
    try:
        names = chosen_names(hearing_choice(settings), backend_options(settings))
    except BackendUnavailable as error:
        if settings.asr == registry.AUTO:
            return Finding("Ears", State.OK, "not set up: viewers can only type", f"For speech: {error.hint}")
        return Finding("Ears", State.BAD, error.message, error.hint)
    where = "what viewers say goes to a service" if registry.row("asr", names["asr"]).online else "all on this machine"
    return Finding("Ears", State.OK, f"{', '.join(names.values())}: {where}")


def check_camera(_settings: Settings) -> Finding:
    """Check the virtual camera, which only `launch.py stream --to camera` needs."""
    lack = camera_lacks()
    if lack is not None:
        return Finding("Camera", State.OK, f"not set up: {lack.reason}", f"For a virtual camera: {lack.hint}")
    needs = "" if sys.platform == "linux" else ", if OBS is installed, which brings the camera"
    return Finding("Camera", State.OK, f"`launch.py stream --to camera` works here{needs}")


def check_outside(_settings: Settings) -> Finding:
    """Check the backends that other packages add by entry points. A broken one leaves out only itself."""
    found = [f"{row.kind} {row.name}" for row in registry.outside_rows()]
    refused = registry.refusals()
    detail = f"backends: {', '.join(found)}" if found else "no further backends"
    if not refused:
        return Finding("Other packages", State.OK, detail)
    reasons = "; ".join(f"{one.source}: {one.reason}" for one in refused)
    remedies = " ".join(dict.fromkeys(one.remedy for one in refused))
    return Finding("Other packages", State.WARN, f"{detail}; refused: {reasons}", remedies)


def check_faces(_settings: Settings) -> Finding:
    """Check the face finder by loading it, because its shared library needs system libraries."""
    try:
        installed = version("mediapipe")
        MediaPipeFaceAnalyzer(tracking=False).close()
    except PackageNotFoundError:
        remedy = "python launch.py setup"
        return Finding("Face finder", State.BAD, "mediapipe is missing: no avatar can be made", remedy)
    except AvatarError as error:
        return Finding("Face finder", State.BAD, error.message, error.hint)
    return Finding("Face finder", State.OK, f"mediapipe {installed}")


def check_torch(_settings: Settings) -> Finding:
    """Check torch's version and devices, without importing it into this process."""
    if importlib.util.find_spec("torch") is None:
        remedy = "Only for neural backends: `python launch.py fetch NAME` installs it."
        return Finding("torch", State.OK, "not installed; the embedded backends need none", remedy)
    again = "Install it anew: pip uninstall -y torch && python launch.py fetch NAME"
    try:
        probe = subprocess.run(
            [sys.executable, "-c", TORCH_PROBE], capture_output=True, text=True, check=False, timeout=TORCH_TIMEOUT_S
        )
    except subprocess.TimeoutExpired:
        return Finding("torch", State.WARN, f"does not answer within {TORCH_TIMEOUT_S:.0f} s", again)
    if probe.returncode != 0:
        said = probe.stderr.strip().splitlines() or [f"status {probe.returncode}"]
        return Finding("torch", State.WARN, f"cannot be loaded: {said[-1]}", again)
    found = json.loads(probe.stdout.splitlines()[-1])
    devices = [*(f"cuda:{i} ({name})" for i, name in enumerate(found["cuda"])), *(["mps"] if found["mps"] else [])]
    detail = f"{found['version']}, devices: {', '.join([*devices, 'cpu'])}"
    if not found["cuda"] and shutil.which("nvidia-smi"):
        remedy = (
            "There is an NVIDIA GPU that this torch cannot use: it is a build for the CPU, or the driver is too old. "
            "Choose a build at https://pytorch.org/get-started"
        )
        return Finding("torch", State.WARN, detail, remedy)
    return Finding("torch", State.OK, detail)


def check_neural_backend(settings: Settings, backend: str) -> Finding:
    """Check whether a network is ready, or what it lacks. Bad only for the backend that was chosen.

    backend: a name in the manifest of weights. Not all of these are backends (the face parser is none).
    """
    rows = (row for kind in registry.kinds() for row in registry.rows(kind) if row.weights == backend)
    needed = dict.fromkeys(name for row in rows for name in row.packages) or PACKAGES_OF_NO_BACKEND
    packages = [name for name in needed if importlib.util.find_spec(name) is None]
    weights = WeightsFolder(settings.weights_folder)
    missing = [*packages, *weights.missing(backend)]
    if not missing:
        return Finding(backend, State.OK, "ready")
    chosen = settings.lipsync == backend
    detail = f"{'' if chosen else 'not set up: '}without {', '.join(missing)}"
    remedy = f"`python launch.py fetch {backend}` brings them or tells where they are; or use a folder: --weights DIR"
    return Finding(backend, State.BAD if chosen else State.OK, detail, " ".join((*weights.hints(backend), remedy)))


def check_gpu(_settings: Settings) -> Finding:
    if shutil.which("nvidia-smi") is None:
        return Finding("GPU", State.OK, "none found; the embedded backends run on the CPU")
    query = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    answer = subprocess.run(query, capture_output=True, text=True, check=False)
    if answer.returncode != 0:
        detail = f"nvidia-smi fails: {(answer.stdout + answer.stderr).strip()}"
        return Finding(
            "GPU", State.WARN, detail, "Reinstall the NVIDIA driver, or start the container with --gpus all."
        )
    return Finding("GPU", State.OK, answer.stdout.strip().replace("\n", "; "))


def check_weights(settings: Settings) -> Finding:
    folder = settings.weights_folder
    files = [path for path in folder.rglob("*") if path.is_file()] if folder.is_dir() else []
    if not files:
        return Finding("Weights", State.OK, f"none in {folder}; the embedded backends bring their own")
    return Finding("Weights", State.OK, f"{len(files)} files, {size_text(folder_bytes(folder))} in {folder}")


def check_disk(settings: Settings) -> Finding:
    folder = settings.data_dir
    while not folder.exists():
        folder = folder.parent
    free_bytes = shutil.disk_usage(folder).free
    if not os.access(folder, os.W_OK):
        return Finding("Disk", State.BAD, f"{folder} may not be written", "Change its owner, or set VIVAVOCE_DATA.")
    detail = f"{size_text(free_bytes)} free in {folder}"
    if free_bytes < LOW_DISK_BYTES:
        return Finding("Disk", State.WARN, detail, "Uploads and clips may fail; make room, or set VIVAVOCE_DATA.")
    return Finding("Disk", State.OK, detail)


def check_avatars(settings: Settings) -> Finding:
    folder = settings.data_dir / "avatars"
    made = {path.parent.name for path in folder.glob("[!.]*/manifest.json")}
    if settings.store_url:  # only the store knows how many there are
        return Finding("Avatars", State.OK, f"in the store; copies of {len(made)} are here")
    if settings.avatar and settings.avatar not in made | {preset.id for preset in presets()}:
        detail = f"there is no avatar '{settings.avatar}'"
        return Finding("Avatars", State.BAD, detail, "Correct --avatar, or make it: python launch.py prepare FILE")
    return Finding("Avatars", State.OK, f"{len(made)} made" if made else "none yet; ours are made at the first start")


def check_store(settings: Settings) -> Finding:
    """Check whether the shared store can be read and written, by trying it."""
    store = store_of(settings)
    if store is None:
        return Finding("Store", State.OK, "none: avatars and clips are in the data folder")
    try:
        store.check()
    except StoreUnreachable as error:
        return Finding("Store", State.BAD, error.message, error.hint if error.cause else STORE_REMEDY)
    if not settings.database_url.get_secret_value():
        return Finding("Store", State.WARN, f"{store.address} can be read and written", STORE_ALONE)
    return Finding("Store", State.OK, f"{store.address} can be read and written")


def check_worker(settings: Settings) -> Finding:
    if settings.worker:
        return Finding("Worker", State.OK, "started by the portal while there are jobs")
    return Finding("Worker", State.WARN, "not started by the portal", "Run `python launch.py worker` beside it.")


def check_signature(settings: Settings) -> Finding:
    """Check whether clips can be signed, by trying it."""
    signer = clip_signer(settings)
    if signer is None:
        return Finding("Signature", State.OK, "clips and recordings are not signed", "To sign them: --c2pa")
    if importlib.util.find_spec("c2pa") is None:
        remedy = "python launch.py fetch c2pa"
        return Finding("Signature", State.WARN, "c2pa-python is missing: nothing is signed", remedy)
    is_local = settings.c2pa_certificate is None and settings.c2pa_key is None
    now = datetime.now(UTC)
    with tempfile.TemporaryDirectory(prefix="vivavoce-") as made:
        # The portal makes its own certificate when it first needs one. A check must not, so it tries a temporary one.
        if is_local and not (settings.data_dir / C2PA_FOLDER).is_dir():
            signer = ClipSigner(lambda: local_certificate(Path(made) / C2PA_FOLDER, now))
        try:
            expires = signer.check()
        except NotSigned as error:
            remedy = "Correct or renew them: --c2pa-certificate FILE --c2pa-key FILE"
            if is_local:
                remedy = f"Remove the folder {settings.data_dir / C2PA_FOLDER}; another certificate is made."
            return Finding("Signature", State.WARN, f"nothing is signed. {error.message}", remedy)
    detail = f"clips and recordings are signed; the certificate is valid until {expires:%Y-%m-%d}"
    if is_local:
        return Finding("Signature", State.OK, f"{detail}. It was made here: others do not trust it")
    if expires < now + SOON:
        return Finding("Signature", State.WARN, detail, "Get a new one before it expires.")
    return Finding("Signature", State.OK, detail)


def check_browser(_settings: Settings) -> Finding:
    path = find_chromium()
    if path is None:
        remedy = "Only for `launch.py test` and `bench`, which install one; or: apt install chromium"
        return Finding("Test browser", State.OK, "no Chromium found", remedy)
    return Finding("Test browser", State.OK, str(path))


CHECKS: tuple[Check, ...] = (
    check_python,
    check_environment,
    check_settings,
    check_login,
    check_opencv,
    check_faces,
    check_backends,
    check_ears,
    check_camera,
    check_outside,
    check_torch,
    check_gpu,
    check_weights,
    *(partial(check_neural_backend, backend=name) for name in WeightsFolder(Path()).backends),
    check_language_model,
    check_network,
    check_webrtc,
    check_turn,
    check_disk,
    check_store,
    check_avatars,
    check_worker,
    check_database,
    check_signature,
    check_webhooks,
    check_port,
    check_browser,
)


def folder_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def size_text(size_bytes: int) -> str:
    return f"{size_bytes / 1e9:.1f} GB" if size_bytes >= 1e9 else f"{size_bytes / 1e6:.0f} MB"
