"""Downloads that cannot be had are explained, with the remedy, and tell no secrets."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from models import download as module
from models.download import LONGEST_WAIT_S, PAUSES_S, Fetcher, ServerBusy, Unreachable, download_of, hub_endpoint
from models.download_part import Download
from models.errors import DownloadFailed
from models.weights import WeightFile
from tests.download_server import CONTENT, SHA256, Behaviour, Serve, silent


def test_a_token_is_not_shown_to_others(serve: Serve, fetcher: Fetcher, target: Path) -> None:
    """HF_TOKEN goes to Hugging Face or its mirror, and not to the storage that they lead to."""
    storage = Behaviour()
    hub = Behaviour(redirect_to=serve(storage))
    fetcher.fetch(Download(serve(hub), target, token="hf_secret"), silent)
    assert hub.asked[0]["authorization"] == "Bearer hf_secret"
    assert "authorization" not in storage.asked[0]


@pytest.mark.parametrize(
    ("status", "cause", "remedy"),
    [
        (404, "does not have", "HF_ENDPOINT"),
        (403, "refuses", "HF_TOKEN"),
        (401, "refuses", "HF_TOKEN"),
        (400, "400", ""),
    ],
)
def test_a_refusal_is_told_at_once(
    serve: Serve, fetcher: Fetcher, target: Path, pauses: list[float], status: int, cause: str, remedy: str
) -> None:
    """A server that will never send the file is not asked again; cause and remedy are named."""
    with pytest.raises(DownloadFailed, match=cause) as caught:
        fetcher.fetch(Download(serve(Behaviour(statuses=[status])), target), silent)
    assert remedy in caught.value.hint and str(target) in caught.value.hint
    assert not isinstance(caught.value, Unreachable)
    assert pauses == []


def test_a_busy_server_is_asked_again(serve: Serve, fetcher: Fetcher, target: Path, pauses: list[float]) -> None:
    """Too many requests and failures of the server pass."""
    fetcher.fetch(Download(serve(Behaviour(statuses=[429, 503])), target, len(CONTENT), SHA256), silent)
    assert target.read_bytes() == CONTENT
    assert pauses == list(PAUSES_S[:2])


@pytest.mark.parametrize(
    ("asked", "waited_s"),
    [
        ("7", 7.0),
        ("86400", LONGEST_WAIT_S),
        ("Fri, 01 Jan 2100 00:00:00 GMT", LONGEST_WAIT_S),
        ("Fri, 01 Jan 2010 00:00:00 GMT", PAUSES_S[0]),
        ("soon", PAUSES_S[0]),
    ],
)
def test_a_busy_server_may_say_how_long(
    serve: Serve, fetcher: Fetcher, target: Path, pauses: list[float], asked: str, waited_s: float
) -> None:
    """Retry-After, in seconds or as a time, is heeded within bounds."""
    fetcher.fetch(Download(serve(Behaviour(statuses=[429], retry_after=asked)), target), silent)
    assert pauses == [waited_s]


@pytest.mark.parametrize("status", [429, 503])
def test_a_server_that_stays_busy_is_no_network_that_is_down(
    serve: Serve, fetcher: Fetcher, target: Path, status: int
) -> None:
    """It is told as what it is: other files may come from it all the same."""
    behaviour = Behaviour(statuses=[status] * (len(PAUSES_S) + 1))
    with pytest.raises(ServerBusy, match=f"127.0.0.1 does not send net.pth now: it answers with status {status}"):
        fetcher.fetch(Download(serve(behaviour), target), silent)
    assert not issubclass(ServerBusy, Unreachable)


def test_no_network_is_told_with_the_mirror(fetcher: Fetcher, target: Path, pauses: list[float]) -> None:
    """Nobody answers: after a few attempts the mirror and the way without a network are named."""
    with pytest.raises(Unreachable, match="cannot be reached") as caught:
        fetcher.fetch(Download("http://127.0.0.1:9/net.pth", target), silent)
    assert "HF_ENDPOINT=https://hf-mirror.com" in caught.value.hint
    assert pauses == list(PAUSES_S)


def test_an_endpoint_without_a_scheme_is_told(fetcher: Fetcher, target: Path, pauses: list[float]) -> None:
    """HF_ENDPOINT=hf-mirror.com is a slip that is named, not a network that is down."""
    with pytest.raises(DownloadFailed) as caught:
        fetcher.fetch(Download("hf-mirror.com/a/b", target), silent)
    assert "begins with https://" in caught.value.hint
    assert pauses == []


def test_a_web_page_is_no_weights_file(serve: Serve, fetcher: Fetcher, target: Path) -> None:
    """The login page of a hotel is recognised before it becomes a file."""
    with pytest.raises(DownloadFailed, match="web page instead of"):
        fetcher.fetch(Download(serve(Behaviour(content_type="text/html; charset=utf-8")), target), silent)
    assert not target.exists()


def test_a_full_disk_is_found_before_the_download(
    serve: Serve, fetcher: Fetcher, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Too little room is told in plain words, before a byte is written."""
    monkeypatch.setattr("models.download.shutil.disk_usage", lambda _path: SimpleNamespace(free=100))
    download = Download(serve(Behaviour()), target)
    with pytest.raises(DownloadFailed, match="disk is full"):
        fetcher.fetch(download, silent)
    assert not download.part.exists()


def test_a_folder_that_may_not_be_written_is_told(serve: Serve, fetcher: Fetcher, tmp_path: Path) -> None:
    """A file where the folder should be is an error with a remedy, not a traceback."""
    (tmp_path / "weights").write_text("no folder")
    with pytest.raises(DownloadFailed, match="cannot be written") as caught:
        fetcher.fetch(Download(serve(Behaviour()), tmp_path / "weights" / "net.pth"), silent)
    assert "--weights DIR" in caught.value.hint


def test_the_mirror_is_honoured(tmp_path: Path) -> None:
    """HF_ENDPOINT names where files of Hugging Face come from, with its revision."""
    file = WeightFile("a/unet.pth", repository="o/r", file="x/unet.pth", revision="abc", size_bytes=5, sha256=SHA256)
    mirrored = download_of(file, tmp_path, {"HF_ENDPOINT": "https://hf-mirror.com/", "HF_TOKEN": "hf_x"})
    assert mirrored == Download(
        "https://hf-mirror.com/o/r/resolve/abc/x/unet.pth", tmp_path / "a/unet.pth", 5, SHA256, "hf_x"
    )
    assert hub_endpoint({}) == "https://huggingface.co" == hub_endpoint({"HF_ENDPOINT": ""})


@pytest.mark.parametrize("token", ["hf_secret\n", "  hf_secret "])
def test_blanks_around_a_token_are_taken_off(tmp_path: Path, token: str) -> None:
    """As a shell or an editor leaves them."""
    file = WeightFile("a", repository="o/r", file="a")
    assert download_of(file, tmp_path, {"HF_TOKEN": token}).token == "hf_secret"


@pytest.mark.parametrize("token", ["hf_sécret", "hf_secret\nhf_secret", "hf secret", "hf_secret\x7f"])
def test_a_token_that_cannot_be_sent_is_refused_unseen(tmp_path: Path, token: str) -> None:
    """The error names HF_TOKEN and the remedy, and has nothing of the token in it."""
    with pytest.raises(Unreachable, match="HF_TOKEN is no token") as caught:
        download_of(WeightFile("a", repository="o/r", file="a"), tmp_path, {"HF_TOKEN": token})
    assert "secret" not in str(caught.value) and "sécret" not in str(caught.value)


def test_a_request_that_cannot_be_sent_shows_no_header(
    serve: Serve, fetcher: Fetcher, target: Path, pauses: list[float]
) -> None:
    """What httpx refuses to send is not tried again, and is not printed, nor kept in the error."""
    with pytest.raises(Unreachable, match="cannot be sent") as caught:
        fetcher.fetch(Download(serve(Behaviour()), target, token="hf_secret\n"), silent)
    assert "HF_TOKEN" in caught.value.hint and caught.value.__suppress_context__
    assert "secret" not in str(caught.value)
    assert pauses == []


@pytest.mark.parametrize(
    ("proxy", "told"), [("socks5://127.0.0.1:1080", "SOCKS proxy"), ("gopher://127.0.0.1:70", "gopher://127.0.0.1")]
)
def test_a_proxy_that_cannot_be_used_is_told(monkeypatch: pytest.MonkeyPatch, proxy: str, told: str) -> None:
    """A SOCKS proxy in the environment, common beside a VPN, is named as the cause; so is one of no known kind."""
    monkeypatch.setenv("ALL_PROXY", proxy)
    with pytest.raises(DownloadFailed, match=f"proxy named in the environment.*{told}") as caught:
        module.open_client()
    assert "ALL_PROXY" in caught.value.hint
