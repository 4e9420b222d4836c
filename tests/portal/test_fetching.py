"""`fetch`: what is brought, what is said about it, and what remains for a person to do. No network."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from backend_rows import replace_backend
from filelock import FileLock
from microphone import EARS_STAND_INS

from models.download import ServerBusy, Unreachable
from models.errors import DownloadFailed
from models.weights import Layout, Licence, Manifest, Part, WeightFile, WeightsFolder
from pipeline.camera import Lack
from pipeline.errors import BackendUnavailable, UnknownBackend
from portal.commands import fetching
from portal.commands.fetching import LOCK_FILE, Fetching, ProgressLine, names_to_fetch
from portal.disk import FolderNotWritable

FREE = Licence("MIT", "Any use.", "可用于任何用途。")
UNET = WeightFile("net/unet.pth", repository="o/r", file="unet.pth", size_bytes=4)
CONFIG = WeightFile("net/config.json", repository="o/r", file="config.json")
MANUAL = WeightFile("hand.pth", by_hand={"en": "Ask Ada.", "zh": "请问 Ada，"})
SHARED = Part("unet", FREE, (Layout("net/unet.pth"),), (UNET,))
MANIFEST = Manifest(
    {
        "musetalk15": (SHARED, Part("unet_config", FREE, (Layout("net/config.json"),), (CONFIG,))),
        "musetalk10": (SHARED,),
        "wav2lip256": (Part("network", FREE, (Layout("hand.pth"),), (MANUAL,)),),
    }
)


class FakeFetcher:
    """Writes a file of its size in place of a download; fails for the names in `failing`."""

    def __init__(self) -> None:
        self.fetched: list[str] = []
        self.failing: dict[str, Exception] = {}
        self.checked = "size"

    def fetch(self, download, progress):
        self.fetched.append(download.url)
        if download.target.name in self.failing:
            raise self.failing[download.target.name]
        download.target.parent.mkdir(parents=True, exist_ok=True)
        download.target.write_bytes(b"w" * (download.size_bytes or 3))
        progress(4, 4)
        return "checksum" if download.size_bytes else self.checked


@pytest.fixture
def fetcher():
    return FakeFetcher()


@pytest.fixture
def said():
    return []


@pytest.fixture
def fetch(tmp_path: Path, fetcher, said):
    """Runs the command over a small manifest, gives its exit status."""

    def run(*names, language: str = "en", environ=None):
        show = ProgressLine(lambda _text: None, False, lambda: 0.0)
        weights = WeightsFolder(tmp_path, MANIFEST)
        return Fetching(weights, fetcher, said.append, show, environ or {}, language).run(names)

    return run


def test_what_is_missing_is_brought(fetch, fetcher, said, tmp_path: Path) -> None:
    """Each file of a backend is fetched once, with its licence, size and how it was checked."""
    assert fetch("musetalk15", "musetalk10") == 0
    assert fetcher.fetched == [
        "https://huggingface.co/o/r/resolve/main/unet.pth",
        "https://huggingface.co/o/r/resolve/main/config.json",
    ]
    assert [line for line in said if "Any use." in line] == ["  Licence: Any use."]
    assert "  net/unet.pth: 0.0 MB, its checksum agrees" in said
    assert any("config.json" in line and "no checksum is published, its size agrees" in line for line in said)
    assert said[-2:] == ["musetalk15 has all its weights.", "musetalk10 has all its weights."]


def test_what_is_there_is_left_alone(fetch, fetcher, said) -> None:
    """A second run fetches nothing, and says what is there."""
    fetch("musetalk")
    fetcher.fetched.clear()
    assert fetch("musetalk") == 0
    assert fetcher.fetched == []
    assert any(line.endswith("unet.pth: is there") for line in said)


def test_a_folder_that_may_only_be_read_serves_what_it_has(
    fetch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With everything there nothing is written, not even a lock."""
    fetch("musetalk")
    (tmp_path / LOCK_FILE).unlink(missing_ok=True)
    assert fetch("musetalk") == 0
    assert not (tmp_path / LOCK_FILE).exists()


def test_a_file_that_is_not_the_published_one_is_told(fetch, fetcher, said, tmp_path: Path) -> None:
    """A truncated copy, or a network of one's own, is named and kept; the status tells that it differs."""
    fetch("musetalk")
    (tmp_path / "net/unet.pth").write_bytes(b"12")
    assert fetch("musetalk") == 1
    assert any("it has 2 bytes instead of 4" in line and "Delete it" in line for line in said)
    assert (tmp_path / "net/unet.pth").read_bytes() == b"12"


@pytest.mark.parametrize(("language", "where"), [("en", "Ask Ada. Put it at "), ("zh", "请问 Ada， 并保存为 ")])
def test_what_no_program_can_fetch_is_told(fetch, fetcher, said, tmp_path: Path, language: str, where: str) -> None:
    """For a file on a share only, the page and the place to put it are named, in the reader's language."""
    assert fetch("wav2lip", language=language) == 1
    assert fetcher.fetched == []
    assert any(f"{where}{tmp_path / 'hand.pth'}" in line for line in said)


def test_one_refused_file_does_not_stop_the_others(fetch, fetcher, said) -> None:
    """A file that a server refuses is told at the end; everything else has come."""
    fetcher.failing["unet.pth"] = DownloadFailed("The hub refuses.", "Set HF_TOKEN.")
    assert fetch("all") == 1
    assert len(fetcher.fetched) == 2
    assert "The hub refuses.\n  -> Set HF_TOKEN." in said
    assert any("hand.pth cannot be fetched" in line for line in said)


def test_a_busy_server_does_not_stop_the_others(fetch, fetcher, said) -> None:
    """It may send the next file."""
    fetcher.failing["unet.pth"] = ServerBusy("The hub is busy.", "Wait.")
    assert fetch("musetalk") == 1
    assert len(fetcher.fetched) == 2
    assert "The hub is busy.\n  -> Wait." in said


def test_a_file_that_nothing_was_known_about_is_told(fetch, fetcher, said) -> None:
    """Nobody says that a size agrees which was compared with nothing."""
    fetcher.checked = "nothing"
    fetch("musetalk")
    assert any("config.json" in line and "nothing is published to compare it with" in line for line in said)


def test_without_a_network_one_attempt_is_enough(fetch, fetcher, said) -> None:
    """When the server cannot be reached the rest is not tried; what is to be got by hand is told all the same."""
    fetcher.failing["unet.pth"] = Unreachable("Nobody answers.", "Check the network.")
    assert fetch("all") == 1
    assert len(fetcher.fetched) == 1
    assert "Nobody answers.\n  -> Check the network." in said
    assert any("hand.pth cannot be fetched" in line for line in said)


def test_the_mirror_is_used_and_named(fetch, fetcher, said) -> None:
    """HF_ENDPOINT is where files come from, and the first line says so."""
    fetch("musetalk10", environ={"HF_ENDPOINT": "https://hf-mirror.com"})
    assert fetcher.fetched == ["https://hf-mirror.com/o/r/resolve/main/unet.pth"]
    assert said[0].endswith("from https://hf-mirror.com")


def test_too_little_room_is_found_first(fetch, fetcher, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sizes of all files together decide whether a fetch is begun."""
    monkeypatch.setattr(fetching.shutil, "disk_usage", lambda _path: SimpleNamespace(free=3))
    with pytest.raises(DownloadFailed, match=r"only 0\.0 MB are free") as caught:
        fetch("musetalk")
    assert "--weights DIR" in caught.value.hint
    assert fetcher.fetched == []


def test_two_fetches_do_not_meet(fetch, fetcher, tmp_path: Path) -> None:
    """A second fetch into the same folder says so, instead of writing into the same parts."""
    with FileLock(tmp_path / LOCK_FILE), pytest.raises(DownloadFailed, match="Another `fetch`"):
        fetch("musetalk")
    assert fetcher.fetched == []


def test_a_folder_that_cannot_be_made_is_told(fetcher, tmp_path: Path) -> None:
    """A file where the folder should be is an error with a remedy."""
    (tmp_path / "file").touch()
    show = ProgressLine(lambda _text: None, False, lambda: 0.0)
    weights = WeightsFolder(tmp_path / "file" / "weights", MANIFEST)
    with pytest.raises(FolderNotWritable, match=r"weights folder .* cannot be written to") as caught:
        Fetching(weights, fetcher, lambda _text: None, show, {}).run(["musetalk"])
    assert "--weights DIR" in caught.value.hint


def test_a_folder_that_takes_nothing_is_told_before_what_is_there_is_looked_through(
    fetcher, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """That takes minutes. Where nothing is to be fetched, a folder that is only read will do."""
    order: list[str] = []
    monkeypatch.setattr(fetching, "require_writable", lambda *_given: order.append("folder"))
    monkeypatch.setattr(Fetching, "_differences", lambda *_given: order.append("looked") or [])
    weights = WeightsFolder(tmp_path, MANIFEST)
    run = Fetching(weights, fetcher, lambda _text: None, ProgressLine(lambda _text: None, False, lambda: 0.0), {}).run
    run(["musetalk"])
    assert order == ["folder", "looked"]
    order.clear()
    monkeypatch.setattr(WeightsFolder, "to_fetch", lambda *_given: ())
    run(["musetalk"])
    assert order == ["looked"]


def test_names_of_families_and_all() -> None:
    """`musetalk` and `wav2lip` mean their newest, `all` each once; an unknown name is answered with the known ones."""
    backends = ("musetalk15", "wav2lip256", "ultralight")
    assert names_to_fetch(["musetalk", "wav2lip", "musetalk15"], backends) == ["musetalk15", "wav2lip256"]
    assert names_to_fetch(["ultralight", "all"], backends) == ["ultralight", "musetalk15", "wav2lip256"]
    with pytest.raises(UnknownBackend, match="'viseme'") as caught:
        names_to_fetch(["viseme"], backends)
    assert caught.value.hint == "Choose from: musetalk15, wav2lip256, ultralight, musetalk, wav2lip, all."


def test_the_whole_command_runs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The real manifest, in Chinese where the surroundings are: what cannot be fetched ends with status 1."""
    assert fetching.fetch(["wav2lip256"], Path(tmp_path), {"LANG": "zh_CN.UTF-8"}) == 1
    told = capsys.readouterr().out
    assert "仅限非商业用途" in told and "pan.quark.cn" in told and str(tmp_path / "wav2lip256.pth") in told


def test_a_camera_is_looked_at_once_its_package_is_there(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is ready, or what the machine lacks is said; then the status is 1."""
    monkeypatch.setattr(fetching, "camera_lacks", lambda: Lack("no module", "load it"))
    assert fetching.fetch(["camera"], tmp_path, {}) == 1
    assert "no module" in capsys.readouterr().out
    monkeypatch.setattr(fetching, "camera_lacks", lambda: None)
    assert fetching.fetch(["camera"], tmp_path, {}) == 0
    assert "stream --to camera" in capsys.readouterr().out


def test_ears_are_looked_at_once_their_packages_are_there(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """All that listens is loaded, and the command says so; what cannot be loaded is named with its remedy."""
    for kind, name, stand_in in EARS_STAND_INS:
        replace_backend(monkeypatch, kind, name, f"microphone:{stand_in}")
    assert fetching.fetch(["ears"], tmp_path, {}) == 0
    assert "The ears are ready" in capsys.readouterr().out
    replace_backend(monkeypatch, "vad", "silero", f"{__name__}:Damaged")
    assert fetching.fetch(["ears"], tmp_path, {}) == 1
    assert "-> Fetch it again." in capsys.readouterr().out


def test_what_is_only_installed_is_looked_at_once_its_package_is_there(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The command says how to go on, or that the package did not come."""
    for name, says in (("c2pa", "--c2pa"), ("ray", "docs/scaling.md")):
        for is_there, status, told in ((object(), 0, says), (None, 1, "missing")):
            monkeypatch.setattr(fetching.importlib.util, "find_spec", lambda _name, found=is_there: found)
            assert fetching.fetch([name], tmp_path, {}) == status
            assert told in capsys.readouterr().out


class Damaged:
    def load(self) -> None:
        raise BackendUnavailable("silero", "its file is damaged", "Fetch it again.")


def test_progress_on_a_terminal_is_one_line() -> None:
    """Share, speed and what is left are rewritten in place, not more than five times a second."""
    written: list[str] = []
    now = [10.0]
    show = ProgressLine(written.append, True, lambda: now[0])
    show.begin("unet.pth")
    for done in (1_000_000_000, 1_000_500_000, 1_200_000_000):
        show.progress(done, 3_400_000_000)
        now[0] += 0.1 if done < 1_000_500_000 else 9.9
    show.progress(3_400_000_000, 3_400_000_000)
    show.end()
    assert written[0] == "\r\033[K  unet.pth: 1.00 GB of 3.40 GB, 29%"
    assert written[1] == "\r\033[K  unet.pth: 1.20 GB of 3.40 GB, 35%, 20.0 MB/s, 1:50 left"
    assert written[2].endswith("3.40 GB of 3.40 GB, 100%, 120.6 MB/s, 0:00 left")
    assert written[3] == "\r\033[K"


def test_progress_in_a_log_is_a_line_every_tenth() -> None:
    """Without a terminal a resumed download tells each further tenth, and nothing if the size is unknown."""
    written: list[str] = []
    show = ProgressLine(written.append, False, lambda: 0.0)
    show.begin("unet.pth")
    for done in range(55, 101):
        show.progress(done * 10_000_000, 1_000_000_000)
    show.end()
    assert [line.rpartition(", ")[2].strip() for line in written] == ["60%", "70%", "80%", "90%", "100%"]
    show.begin("other.pth")
    show.progress(5, None)
    assert len(written) == 5
