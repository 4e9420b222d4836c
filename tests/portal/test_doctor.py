"""The doctor: each check finds what it is for and names a remedy."""

from __future__ import annotations

import importlib.util
import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from types import SimpleNamespace

import pytest

from avatars.bundle import AvatarBundle
from avatars.errors import FaceFinderMissing
from models.weights import read_manifest
from pipeline import registry
from pipeline.camera import Lack
from pipeline.errors import BackendUnavailable
from portal.commands import doctor, network_checks
from portal.commands.findings import Finding, State
from portal.commands.portal_process import free_port
from portal.jobs.dbos_database import PostgresDatabase
from portal.session_table import Node, SessionTable
from portal.setting_loading import load_settings
from tests.certificates import NOW, operators_certificate
from tests.turn_company import TOKEN, turn_company
from tests.turn_server import shared_secret, turn_server

NEURAL_PACKAGES = ("torch", "diffusers")


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("VIVAVOCE_DATA", str(tmp_path))
    return lambda **given: load_settings(given)


@pytest.fixture
def listener():
    """A TCP port that is taken and answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@contextmanager
def answering(content: str) -> Iterator[int]:
    """The port of a web server that has one answer."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(content.encode())

        def log_message(self, *_given: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def test_the_report_shows_states_and_remedies(settings) -> None:
    """Each finding is a line, its remedy below it, and the verdict comes last."""
    said: list[str] = []
    checks = [
        lambda _s: Finding("Python", State.OK, "3.11"),
        lambda _s: Finding("Disk", State.BAD, "full", "Make room."),
    ]
    assert doctor.report(settings(), said.append, checks) == 1
    assert [line.split() for line in said[:2]] == [["ok", "Python", "3.11"], ["bad", "Disk", "full"]]
    assert said[2].strip() == "-> Make room."
    assert said[-1] == "Not usable as it is: Disk."


def test_a_camera_that_nobody_needs_is_no_fault(settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it lacks is told with the remedy."""
    monkeypatch.setattr(doctor, "camera_lacks", lambda: Lack("no module", "load it"))
    finding = doctor.check_camera(settings())
    assert finding.state is State.OK and "no module" in finding.detail and "load it" in finding.remedy
    monkeypatch.setattr(doctor, "camera_lacks", lambda: None)
    assert "works here" in doctor.check_camera(settings()).detail


def test_warnings_do_not_fail(settings) -> None:
    """What merely leaves something out gives status 0."""
    said: list[str] = []
    assert doctor.report(settings(), said.append, [lambda _s: Finding("Network", State.WARN, "none")]) == 0
    assert said[-1] == "Vivavoce can run here."


def test_a_missing_system_library_is_named(settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cv2 that cannot be loaded is bad, with the packages that mend it."""
    monkeypatch.setitem(sys.modules, "cv2", None)
    finding = doctor.check_opencv(settings())
    assert finding.state is State.BAD
    assert "apt install libgl1" in finding.remedy


def test_a_chosen_backend_that_cannot_run_is_bad(settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """A backend that lacks something is told with its hint; it is bad only if it is the one chosen."""

    class Lacking:
        def __init__(self) -> None:
            raise BackendUnavailable("beep", "no bell", "Buy a bell.")

    real = registry.backend_class
    monkeypatch.setattr(registry, "backend_class", lambda kind, name: Lacking if name == "beep" else real(kind, name))
    finding = doctor.check_backends(settings(tts="hibari"))
    assert (finding.state, "Buy a bell." in finding.remedy) == (State.WARN, True)
    assert doctor.check_backends(settings(tts="beep")).state is State.BAD


def test_ears_that_are_not_set_up_name_the_command(settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody has to speak: only a recogniser that was chosen and cannot run is bad. A service is named as one."""
    monkeypatch.setattr("pipeline.ears.packaged.importlib.util.find_spec", lambda _name: None)
    finding = doctor.check_ears(settings())
    assert (finding.state, "fetch ears" in finding.remedy) == (State.OK, True)
    assert doctor.check_ears(settings(asr="faster-whisper")).state is State.BAD


def test_ears_that_are_set_up_say_where_speech_goes(settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """The recogniser of the settings, and whether what is said leaves the machine."""
    monkeypatch.setattr("pipeline.ears.packaged.missing_packages", lambda *_names: None)
    finding = doctor.check_ears(settings(asr="openai-transcription", asr_base_url="http://127.0.0.1:9/v1"))
    assert finding.state is State.OK
    assert "openai-transcription" in finding.detail
    assert "service" in finding.detail


def test_the_signature_is_tried(settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A certificate that signs, one that will not for long, one that has expired; nothing is made by looking."""
    assert doctor.check_signature(settings()).state is State.OK

    def found(**given: object) -> Finding:
        certificate = operators_certificate(**given)  # type: ignore[arg-type]
        (tmp_path / "chain.pem").write_bytes(certificate.chain)
        (tmp_path / "key.pem").write_bytes(certificate.key)
        own = {"c2pa_certificate": tmp_path / "chain.pem", "c2pa_key": tmp_path / "key.pem"}
        return doctor.check_signature(settings(**own))

    if importlib.util.find_spec("c2pa") is not None:
        here = doctor.check_signature(settings(c2pa=True))
        assert here.state is State.OK and "others do not trust it" in here.detail
        assert not (tmp_path / "c2pa").exists()
        assert found().state is State.OK
        assert found(expires=NOW + timedelta(days=20)).state is State.WARN
        expired = found(begins=NOW - timedelta(days=9), expires=NOW - timedelta(days=1))
        assert expired.state is State.WARN and "expired" in expired.detail and "--c2pa-key" in expired.remedy
    monkeypatch.setattr(doctor.importlib.util, "find_spec", lambda _name: None)
    assert "fetch c2pa" in doctor.check_signature(settings(c2pa=True)).remedy


def test_webhooks_are_tried(settings, listener) -> None:
    """One that answers, without and with a secret; one that is closed; a name of nobody."""
    assert network_checks.check_webhooks(settings()).state is State.OK
    answers = f"http://127.0.0.1:{listener}/hook"
    unsigned = network_checks.check_webhooks(settings(webhook=answers))
    assert unsigned.state is State.WARN and "VIVAVOCE_WEBHOOK_SECRET" in unsigned.remedy
    assert network_checks.check_webhooks(settings(webhook=answers, webhook_secret="x" * 32)).state is State.OK
    closed = network_checks.check_webhooks(settings(webhook=f"http://127.0.0.1:{free_port()}/"))
    assert closed.state is State.WARN and "does not answer" in closed.detail
    assert network_checks.check_webhooks(settings(webhook="https://nobody.invalid/")).state is State.WARN


def test_an_occupied_port_is_bad(settings, listener) -> None:
    """A port in use is found before the server fails on it."""
    finding = network_checks.check_port(settings(port=listener))
    assert (finding.state, "--port" in finding.remedy) == (State.BAD, True)
    assert network_checks.check_port(settings(port=free_port())).state is State.OK


@pytest.mark.parametrize(
    ("problems", "state"), [([], State.OK), (["There is no avatar yet, so nobody can talk."], State.WARN)]
)
def test_a_portal_that_runs_is_no_stranger_at_its_port(settings, problems: list[str], state: State) -> None:
    """Beside a running portal the doctor says what that one says of itself."""
    health = {
        "status": "down" if problems else "ok",
        "version": "1.2.3",
        "node": "",
        "sessions": {"live": 0, "capacity": 8},
        "jobs": {"queued": 0, "running": 0},
        "avatars": 0,
        "backends": {},
        "problems": problems,
    }
    with answering(json.dumps(health)) as port:
        finding = network_checks.check_port(settings(port=port))
    assert (finding.state, finding.remedy) == (state, " ".join(problems))
    assert "a portal runs" in finding.detail
    with answering("<p>Somebody else</p>") as port:
        assert network_checks.check_port(settings(port=port)).state is State.BAD


@pytest.mark.parametrize("there", [True, False])
def test_the_face_finder_is_loaded(settings, monkeypatch: pytest.MonkeyPatch, there: bool) -> None:
    """It needs libraries of the system, which servers often lack: without them no avatar can be made."""

    def loaded(*, tracking: bool) -> SimpleNamespace:
        if not there:
            raise FaceFinderMissing("libGLESv2.so.2 is not there")
        return SimpleNamespace(close=lambda: None)

    monkeypatch.setattr(doctor, "MediaPipeFaceAnalyzer", loaded)
    finding = doctor.check_faces(settings())
    assert finding.state is (State.OK if there else State.BAD)
    assert there or ("libGLESv2.so.2" in finding.detail and "apt install libegl1 libgles2" in finding.remedy)


def test_a_silent_language_model_is_bad(settings, listener) -> None:
    """A base URL is tried; the offline guide needs none."""
    assert network_checks.check_language_model(settings(llm="guide")).state is State.OK
    answering = settings(llm="openai", llm_base_url=f"http://127.0.0.1:{listener}/v1")
    assert network_checks.check_language_model(answering).state is State.OK
    silent = settings(llm="openai", llm_base_url=f"http://127.0.0.1:{free_port()}/v1")
    assert network_checks.check_language_model(silent).state is State.BAD


def test_the_ports_of_webrtc_are_counted(settings) -> None:
    """As many viewers as are let in need a port each; who gives no range is told how to."""
    assert "--webrtc-ports" in network_checks.check_webrtc(settings()).remedy
    address = "203.0.113.7"
    finding = network_checks.check_webrtc(settings(webrtc_ports="40000-40999", webrtc_address=address))
    assert (finding.state, address in finding.detail, "of 1000 are free" in finding.detail) == (State.OK, True, True)
    few = network_checks.check_webrtc(settings(webrtc_ports="40000-40002", max_sessions=4))
    assert (few.state, "Have 104 ports" in few.remedy) == (State.WARN, True)
    assert "off" in network_checks.check_webrtc(settings(transport="websocket")).detail


def test_turn_servers_are_asked_for_a_relay(settings) -> None:
    """With what a viewer would get, by password or by secret; a server that gives no relay is named with the reason."""
    with turn_server(shared_secret("north", time.time())) as (url, server):
        assert network_checks.check_turn(settings(turn_urls=url, turn_secret="north")).state is State.OK
        finding = network_checks.check_turn(settings(turn_urls=url, turn_secret="south"))
        assert (finding.state, f"{url} refuses" in finding.detail) == (State.WARN, True)
    assert server.lent == 0
    silent = f"turn:127.0.0.1:{free_port()}?transport=tcp"
    finding = network_checks.check_turn(settings(turn_urls=silent))
    assert (finding.state, silent in finding.detail) == (State.WARN, True)
    assert network_checks.check_turn(settings()).state is State.OK


def test_a_company_that_lends_turn_servers_is_asked_and_each_is_tried(
    settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a viewer would get them; a token that is refused is named, and not shown."""
    given = {"turn_service": "cloudflare", "turn_service_key": "KEY1", "turn_service_token": TOKEN}
    with turn_server(lambda _name: "open") as (url, server):
        lent = {"iceServers": [{"urls": ["stun:127.0.0.1:9", url], "username": "anna", "credential": "open"}]}
        with turn_company(monkeypatch, "cloudflare", lent) as company:
            finding = network_checks.check_turn(settings(**given))
            assert (finding.state, url in finding.detail) == (State.OK, True)
            assert server.names == ["anna"]
            company.status = 401
            finding = network_checks.check_turn(settings(**given))
    assert (finding.state, "refuses turn_service_token" in finding.detail) == (State.WARN, True)
    assert TOKEN not in finding.detail + finding.remedy


def test_a_full_disk_is_a_warning(settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Little room is told before an upload fails."""
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _path: SimpleNamespace(free=5_000_000))
    finding = doctor.check_disk(settings())
    assert (finding.state, finding.detail.startswith("5 MB free")) == (State.WARN, True)


def test_a_folder_that_is_not_there_yet_is_no_problem(settings, tmp_path: Path) -> None:
    """The nearest existing folder is looked at; nothing is made."""
    assert doctor.check_disk(settings(data_dir=tmp_path / "a" / "b")).state is State.OK
    assert list(tmp_path.iterdir()) == []


def test_an_avatar_that_does_not_exist_is_bad(settings, make_bundle: Callable[..., AvatarBundle]) -> None:
    """--avatar has to name an avatar that was made, or one of ours."""
    make_bundle("emma")
    assert doctor.check_avatars(settings(avatar="emma")).state is State.OK
    assert doctor.check_avatars(settings(avatar="mira")).state is State.OK
    assert doctor.check_avatars(settings(avatar="nobody")).state is State.BAD


def test_a_worker_that_is_not_started_is_mentioned(settings) -> None:
    """With --no-worker somebody has to run one."""
    assert doctor.check_worker(settings()).state is State.OK
    assert "launch.py worker" in doctor.check_worker(settings(worker=False)).remedy


def test_a_database_of_jobs_that_does_not_answer_is_bad(settings, database_url: str) -> None:
    """Without one, jobs are in a file."""
    assert "data folder" in doctor.check_database(settings()).detail
    found = doctor.check_database(settings(database_url=database_url))
    assert found.state is State.OK and "Postgres 1" in found.detail
    SessionTable(PostgresDatabase(database_url)).beat(Node("id", "left-rack", 2, 8), 60)
    found = doctor.check_database(settings(database_url=database_url))
    assert found.state is State.OK and "left-rack (2 of 8 places)" in found.detail
    away = f"postgresql://me:topsecret@127.0.0.1:{free_port()}/jobs"
    found = doctor.check_database(settings(database_url=away))
    assert found.state is State.BAD and found.remedy and "topsecret" not in str(found)


def test_weights_are_counted(settings, tmp_path: Path) -> None:
    """Files in the weights folder are found at any depth."""
    assert "none" in doctor.check_weights(settings()).detail
    (tmp_path / "weights" / "a").mkdir(parents=True)
    (tmp_path / "weights" / "a" / "net.safetensors").write_bytes(b"0" * 3_000_000)
    assert doctor.check_weights(settings()).detail.startswith("1 files, 3 MB")


def test_no_network_is_only_a_warning(settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything but online voices works offline."""
    monkeypatch.setattr(network_checks, "EDGE_HOST", "127.0.0.1")
    monkeypatch.setattr(network_checks, "reachable", lambda host, port: False)
    assert network_checks.check_network(settings()).state is State.WARN
    monkeypatch.setattr(network_checks, "reachable", lambda host, port: True)
    assert network_checks.check_network(settings()).state is State.OK


def test_slips_in_the_environment_are_found(settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable without effect is named."""
    assert doctor.check_settings(settings()).state is State.OK
    monkeypatch.setenv("VIVAVOCE_PROT", "80")
    assert "VIVAVOCE_PROT" in doctor.check_settings(settings()).detail


@pytest.fixture
def packages(monkeypatch: pytest.MonkeyPatch):
    """Chooses which neural packages are installed."""
    real = doctor.importlib.util.find_spec

    def choose(*names) -> None:
        def find(name):
            return (SimpleNamespace() if name in names else None) if name in NEURAL_PACKAGES else real(name)

        monkeypatch.setattr(doctor.importlib.util, "find_spec", find)

    return choose


def test_a_neural_backend_that_is_not_set_up_names_the_command(settings, packages) -> None:
    """What is missing of packages and weights is listed; that is no fault unless the backend was chosen."""
    packages("diffusers")
    finding = doctor.check_neural_backend(settings(), "wav2lip96")
    assert (finding.name, finding.state) == ("wav2lip96", State.OK)
    assert finding.detail == "not set up: without torch, wav2lip96.pth"
    assert "python launch.py fetch wav2lip96" in finding.remedy and "--weights DIR" in finding.remedy
    chosen = SimpleNamespace(lipsync="wav2lip96", weights_folder=settings().weights_folder)
    assert doctor.check_neural_backend(chosen, "wav2lip96").state is State.BAD


def test_a_neural_backend_with_everything_is_ready(settings, packages, tmp_path: Path) -> None:
    """With packages and files in a folder of a peer's layout nothing is left to do."""
    packages(*NEURAL_PACKAGES)
    (tmp_path / "wav2lip.pth").touch()
    finding = doctor.check_neural_backend(settings(weights_dir=tmp_path), "wav2lip256")
    assert finding == Finding("wav2lip256", State.OK, "ready")


def test_every_set_of_weights_has_a_line() -> None:
    """Each backend of the manifest is told about, and no backend twice."""
    told = [check.keywords["backend"] for check in doctor.CHECKS if isinstance(check, partial)]
    assert sorted(told) == sorted(read_manifest().backends)
    assert {row.weights for row in registry.rows("lipsync") if row.weights} == {*told} - {"face-parse", "audioseal"}


@pytest.mark.parametrize(
    ("found", "nvidia", "detail", "state"),
    [
        ({"cuda": [], "mps": False}, False, "2.13.0, devices: cpu", State.OK),
        (
            {"cuda": ["H200", "H200"], "mps": False},
            True,
            "2.13.0, devices: cuda:0 (H200), cuda:1 (H200), cpu",
            State.OK,
        ),
        ({"cuda": [], "mps": True}, False, "2.13.0, devices: mps, cpu", State.OK),
        ({"cuda": [], "mps": False}, True, "2.13.0, devices: cpu", State.WARN),
    ],
)
def test_torch_tells_its_devices(
    settings, packages, monkeypatch: pytest.MonkeyPatch, found: dict[str, object], nvidia: bool, detail: str, state
) -> None:
    """Version and devices are shown; a GPU that torch cannot use is a warning."""
    packages("torch")
    answer = SimpleNamespace(returncode=0, stdout=json.dumps({"version": "2.13.0", **found}) + "\n", stderr="")
    monkeypatch.setattr(doctor.subprocess, "run", lambda *_args, **_options: answer)
    monkeypatch.setattr(doctor.shutil, "which", lambda _name: "/usr/bin/nvidia-smi" if nvidia else None)
    finding = doctor.check_torch(settings())
    assert (finding.detail, finding.state) == (detail, state)


def test_a_torch_that_cannot_be_loaded_is_told(settings, packages, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own last words, or that it hangs, with the command that installs it anew."""
    packages("torch")
    monkeypatch.setattr(doctor, "TORCH_PROBE", "raise ImportError('libcudart.so.13 is missing')")
    finding = doctor.check_torch(settings())
    assert (finding.state, "libcudart.so.13 is missing" in finding.detail) == (State.WARN, True)
    assert "launch.py fetch" in finding.remedy

    def hang(*_args, **_options) -> None:
        raise subprocess.TimeoutExpired("python", 1)

    monkeypatch.setattr(doctor.subprocess, "run", hang)
    assert "does not answer" in doctor.check_torch(settings()).detail


def test_torch_that_is_not_there_is_not_asked(settings, packages, monkeypatch: pytest.MonkeyPatch) -> None:
    """The default start has no torch, which is no fault."""
    packages()
    monkeypatch.setattr(doctor.subprocess, "run", None)
    finding = doctor.check_torch(settings())
    assert (finding.state, "launch.py fetch" in finding.remedy) == (State.OK, True)


def test_a_portal_that_is_open_to_all_is_said_to_be(settings) -> None:
    """Other machines reach it and nobody has to log in: what that means, and the remedy."""
    finding = doctor.check_login(settings(host="0.0.0.0"))
    assert finding.state is State.WARN and "delete" in finding.detail and "VIVAVOCE_PASSWORD" in finding.remedy
    for given in ({"host": "0.0.0.0", "password": "x"}, {"host": "127.0.0.1"}, {"host": "::1"}, {"host": "localhost"}):
        assert doctor.check_login(settings(**given)).state is State.OK
