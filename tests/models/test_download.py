"""Downloads: resumed, checked, and explained when they fail. Against a real server on this machine that misbehaves."""

from __future__ import annotations

import hashlib
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest

from models import download as module
from models.download import (
    LONGEST_WAIT_S,
    PAUSES_S,
    Download,
    Fetcher,
    ServerBusy,
    Unreachable,
    download_of,
    hub_endpoint,
)
from models.errors import DownloadFailed
from models.weights import WeightFile

CONTENT = bytes(range(256)) * 40
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@dataclass
class Behaviour:
    """What the server does, and what it was asked."""

    content: bytes = CONTENT
    etag: str = '"v1"'
    cut_after_bytes: list[int] = field(default_factory=list)
    "for one request after another: how much of the answer comes before the connection breaks"
    ranges: bool = True
    statuses: list[int] = field(default_factory=list)
    "for one request after another: refuse with this status"
    retry_after: str = ""
    linked_sha256: str = ""
    linked_size: str = ""
    length: bool = True
    "False: the end of the connection is the end of the file"
    encoding: str = ""
    new_etags: bool = False
    "another one with each answer, and If-Range is not heeded"
    content_type: str = "application/octet-stream"
    redirect_to: str = ""
    asked: list[dict[str, str]] = field(default_factory=list)

    def ranges_asked(self) -> list[str | None]:
        return [headers.get("range") for headers in self.asked]


class Handler(BaseHTTPRequestHandler):
    behaviour: Behaviour

    def log_message(self, *_args) -> None:
        pass

    def do_GET(self):
        b = self.behaviour
        b.asked.append({name.lower(): value for name, value in self.headers.items()})
        if b.statuses:
            self.send_response(b.statuses.pop(0))
            self.send_header("Content-Length", "0")
            if b.retry_after:
                self.send_header("Retry-After", b.retry_after)
            return self.end_headers()
        if b.redirect_to:
            self.send_response(302)
            self.send_header("Location", b.redirect_to)
            self.send_header("X-Linked-Etag", f'"{b.linked_sha256}"')
            if b.linked_size:
                self.send_header("X-Linked-Size", b.linked_size)
            self.send_header("Content-Length", "0")
            return self.end_headers()
        start = 0
        wanted = self.headers.get("Range", "")
        if b.ranges and wanted and (b.new_etags or self.headers.get("If-Range", b.etag) == b.etag):
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
        if start >= len(b.content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(b.content)}")
            self.send_header("Content-Length", "0")
            return self.end_headers()
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(b.content) - 1}/{len(b.content)}")
        if b.length:
            self.send_header("Content-Length", str(len(b.content) - start))
        if b.encoding:
            self.send_header("Content-Encoding", b.encoding)
        self.send_header("Content-Type", b.content_type)
        if b.new_etags:
            self.send_header("ETag", f'"{len(b.asked)}"')
        elif b.etag:
            self.send_header("ETag", b.etag)
        self.end_headers()
        cut = b.cut_after_bytes.pop(0) if b.cut_after_bytes else len(b.content)
        self.wfile.write(b.content[start : start + cut])
        return None


@pytest.fixture
def serve():
    """Starts a server of a behaviour, gives its address."""
    servers = []

    def start(behaviour: Behaviour) -> str:
        handler = type("OwnHandler", (Handler,), {"behaviour": behaviour})
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def pauses():
    return []


@pytest.fixture
def fetcher(pauses):
    with httpx.Client(follow_redirects=True, trust_env=False, headers={"Accept-Encoding": "identity"}) as client:
        yield Fetcher(client, pauses.append)


@pytest.fixture
def target(tmp_path: Path):
    return tmp_path / "weights" / "net.pth"


def silent(_done, _total) -> None:
    pass


def interrupted(fetcher, behaviour, download, kept: int) -> None:
    """Fetch until the server gives up after `kept` bytes; the part stays."""
    behaviour.cut_after_bytes = [kept]
    behaviour.statuses = []
    original = fetcher._pause

    def refuse_from_now_on(seconds) -> None:
        behaviour.statuses = [503] * (len(PAUSES_S) + 1)
        original(seconds)

    fetcher._pause = refuse_from_now_on
    with pytest.raises(ServerBusy):
        fetcher.fetch(download, silent)
    fetcher._pause = original
    behaviour.statuses = []
    behaviour.asked.clear()
    assert download.part.read_bytes() == CONTENT[:kept]
    assert not download.target.exists()


def test_a_file_comes_whole_and_is_checked(serve, fetcher, target) -> None:
    """The target holds what the server has, the checksum was compared, and nothing else is left."""
    seen = []
    download = Download(serve(Behaviour()), target, len(CONTENT), SHA256)
    assert fetcher.fetch(download, lambda done, total: seen.append((done, total))) == "checksum"
    assert target.read_bytes() == CONTENT
    assert [path.name for path in target.parent.iterdir()] == ["net.pth"]
    assert seen[0] == (0, len(CONTENT)) and seen[-1] == (len(CONTENT), len(CONTENT))


def test_without_a_checksum_that_is_told(serve, fetcher, target) -> None:
    """A file whose checksum nobody published is accepted by its size, and the caller is told so."""
    assert fetcher.fetch(Download(serve(Behaviour()), target), silent) == "size"
    assert target.read_bytes() == CONTENT


def test_with_nothing_to_compare_that_is_told(serve, fetcher, target) -> None:
    """Without a length nobody knows whether all has come: the caller is told that nothing was compared."""
    assert fetcher.fetch(Download(serve(Behaviour(length=False)), target), silent) == "nothing"


def test_the_size_that_the_hub_states_is_compared(serve, fetcher, target) -> None:
    """Storage that names no length, and breaks off, is found out by the size that Hugging Face stated before."""
    storage = Behaviour(length=False, cut_after_bytes=[3000])
    hub = serve(Behaviour(redirect_to=serve(storage), linked_size=str(len(CONTENT))))
    assert fetcher.fetch(Download(hub, target), silent) == "size"
    assert target.read_bytes() == CONTENT
    other = serve(Behaviour(redirect_to=serve(Behaviour(content=CONTENT[:50])), linked_size=str(len(CONTENT))))
    with pytest.raises(DownloadFailed, match=f"has 50 bytes; {len(CONTENT)} were published"):
        fetcher.fetch(Download(other, target.with_name("other.pth")), silent)


@pytest.mark.parametrize("length", [True, False])
def test_what_comes_compressed_is_refused(serve, fetcher, target, length: bool) -> None:
    """Its bytes are not those of the file, and its length is not the file's."""
    with pytest.raises(DownloadFailed, match="compressed") as caught:
        fetcher.fetch(Download(serve(Behaviour(encoding="gzip", length=length)), target), silent)
    assert "mirror" in caught.value.hint
    assert not target.exists()


def test_a_broken_connection_is_resumed(serve, fetcher, target, pauses) -> None:
    """Each further request asks for the rest only, as often as the connection brings something."""
    behaviour = Behaviour(cut_after_bytes=[3000, 2000, 1000, 1000, 1000, 1000, 100])
    fetcher.fetch(Download(serve(behaviour), target, len(CONTENT), SHA256), silent)
    assert target.read_bytes() == CONTENT
    assert behaviour.ranges_asked()[:3] == [None, "bytes=3000-", "bytes=5000-"]
    assert pauses == [PAUSES_S[0]] * 7


@pytest.mark.parametrize("sha256", [SHA256, ""])
def test_another_run_goes_on_where_the_last_one_stopped(serve, fetcher, target, sha256) -> None:
    """A part that was left behind is continued, with or without a checksum."""
    behaviour = Behaviour()
    download = Download(serve(behaviour), target, len(CONTENT), sha256)
    interrupted(fetcher, behaviour, download, 4000)
    fetcher.fetch(download, silent)
    assert target.read_bytes() == CONTENT
    assert behaviour.ranges_asked() == ["bytes=4000-"]


def test_a_part_of_known_checksum_goes_on_at_another_mirror(serve, fetcher, target) -> None:
    """What is known by its checksum needs no ETag: another server may bring the rest."""
    behaviour = Behaviour()
    interrupted(fetcher, behaviour, Download(serve(behaviour), target, len(CONTENT), SHA256), 4000)
    mirror = Behaviour(etag='"of the mirror"')
    fetcher.fetch(Download(serve(mirror), target, len(CONTENT), SHA256), silent)
    assert mirror.ranges_asked() == ["bytes=4000-"]
    assert target.read_bytes() == CONTENT


def test_what_the_hub_stated_holds_at_a_mirror(serve, fetcher, target) -> None:
    """A checksum of the hub's is not forgotten where the rest comes from a mirror that states none."""
    hub = Behaviour(etag="", cut_after_bytes=[4000])
    stating = Behaviour(redirect_to=serve(hub), linked_sha256=SHA256)
    interrupted(fetcher, hub, Download(serve(stating), target), 4000)
    for ranges in (True, False):
        mirror = Behaviour(content=CONTENT[:4000] + bytes(len(CONTENT) - 4000), etag='"of the mirror"', ranges=ranges)
        kept = {path.name: path.read_bytes() for path in target.parent.iterdir()}
        with pytest.raises(DownloadFailed, match="checksum is wrong"):
            fetcher.fetch(Download(serve(mirror), target), silent)
        assert mirror.ranges_asked() == ["bytes=4000-"]
        for name, content in kept.items():
            (target.parent / name).write_bytes(content)
    assert fetcher.fetch(Download(serve(Behaviour(etag='"of another"')), target), silent) == "checksum"
    assert target.read_bytes() == CONTENT


def test_another_checksum_than_was_published_is_told_before_the_download(serve, fetcher, target) -> None:
    """Gigabytes of another file are not fetched to find out."""
    url = serve(Behaviour(redirect_to=serve(Behaviour()), linked_sha256="f" * 64))
    with pytest.raises(DownloadFailed, match="another checksum") as caught:
        fetcher.fetch(Download(url, target, None, SHA256), silent)
    assert "another mirror" in caught.value.hint
    assert not target.parent.exists() or not any(target.parent.iterdir())


def test_a_server_that_never_sends_the_same_file_is_given_up(serve, fetcher, target, pauses) -> None:
    """An ETag that changes with each answer, and a connection that breaks: it comes to an end, not again and again."""
    behaviour = Behaviour(new_etags=True, cut_after_bytes=[3000] * 100)
    with pytest.raises(Unreachable, match="again and again"):
        fetcher.fetch(Download(serve(behaviour), target), silent)
    assert len(behaviour.asked) <= 2 * len(PAUSES_S)


def test_a_note_is_never_about_another_part(serve, fetcher, target, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed just when the new note was written, the old part is gone already: halves of two files are not joined."""
    behaviour = Behaviour()
    download = Download(serve(behaviour), target)
    interrupted(fetcher, behaviour, download, 4000)
    behaviour.content, behaviour.etag = CONTENT[::-1], '"v2"'
    sizes = []
    write = module._write_note
    monkeypatch.setattr(module, "_write_note", lambda *what: (sizes.append(download.part.stat().st_size), write(*what)))
    fetcher.fetch(download, silent)
    assert sizes == [0]


def test_a_file_is_on_the_disk_before_it_has_its_name(serve, fetcher, target, monkeypatch: pytest.MonkeyPatch) -> None:
    """A power cut leaves the whole file or none."""
    done = []
    monkeypatch.setattr(module.os, "fsync", lambda _file: done.append(target.exists()))
    fetcher.fetch(Download(serve(Behaviour()), target), silent)
    assert done == [False]


def test_a_file_that_changed_is_fetched_anew(serve, fetcher, target) -> None:
    """Halves of two versions are never joined: the ETag tells them apart."""
    behaviour = Behaviour()
    download = Download(serve(behaviour), target)
    interrupted(fetcher, behaviour, download, 4000)
    behaviour.content, behaviour.etag = CONTENT[::-1], '"v2"'
    fetcher.fetch(download, silent)
    assert target.read_bytes() == CONTENT[::-1]


def test_a_part_of_another_version_is_thrown_away(serve, fetcher, target) -> None:
    """A part of a file with another checksum, from an older manifest, is not continued."""
    behaviour = Behaviour()
    url = serve(behaviour)
    interrupted(fetcher, behaviour, Download(url, target, None, "0" * 64), 4000)
    fetcher.fetch(Download(url, target, len(CONTENT), SHA256), silent)
    assert behaviour.ranges_asked() == [None]


def test_a_server_without_ranges_begins_again(serve, fetcher, target) -> None:
    """A server that sends everything each time is taken as it is, without doubling the beginning."""
    behaviour = Behaviour(ranges=False, cut_after_bytes=[4000])
    fetcher.fetch(Download(serve(behaviour), target, len(CONTENT), SHA256), silent)
    assert behaviour.ranges_asked() == [None, "bytes=4000-"]
    assert target.read_bytes() == CONTENT


def test_a_part_without_a_note_is_not_trusted(serve, fetcher, target) -> None:
    """Bytes of unknown origin are replaced."""
    behaviour = Behaviour()
    target.parent.mkdir()
    download = Download(serve(behaviour), target, len(CONTENT), SHA256)
    download.part.write_bytes(b"x" * 100)
    download.note.write_text("{half a no")
    fetcher.fetch(download, silent)
    assert behaviour.ranges_asked() == [None]
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize("extra", [b"", b"too much"])
def test_a_part_that_is_complete_needs_only_its_name(serve, fetcher, target, extra: bytes) -> None:
    """Stopped after the last byte, the file is checked and kept; one that is too long is fetched anew."""
    behaviour = Behaviour()
    download = Download(serve(behaviour), target, len(CONTENT), SHA256)
    interrupted(fetcher, behaviour, download, 4000)
    download.part.write_bytes(CONTENT + extra)
    fetcher.fetch(download, silent)
    assert target.read_bytes() == CONTENT
    assert behaviour.ranges_asked() == [f"bytes={len(CONTENT + extra)}-", *([None] if extra else [])]


def test_a_wrong_checksum_is_refused(serve, fetcher, target) -> None:
    """A file that is not the published one gets no name, and the one that was there stays."""
    target.parent.mkdir()
    target.write_bytes(b"the old one")
    download = Download(serve(Behaviour()), target, None, "0" * 64)
    with pytest.raises(DownloadFailed, match="checksum is wrong") as caught:
        fetcher.fetch(download, silent)
    assert "same command again" in caught.value.hint
    assert target.read_bytes() == b"the old one"
    assert not download.part.exists()


def test_the_checksum_that_the_hub_states_is_compared(serve, fetcher, target) -> None:
    """Without a checksum of our own, the one that Hugging Face states before its redirect decides."""
    storage = serve(Behaviour())
    good = serve(Behaviour(redirect_to=storage, linked_sha256=SHA256))
    assert fetcher.fetch(Download(good, target), silent) == "checksum"
    bad = serve(Behaviour(redirect_to=storage, linked_sha256="f" * 64))
    with pytest.raises(DownloadFailed, match="checksum is wrong"):
        fetcher.fetch(Download(bad, target.with_name("other.pth")), silent)


def test_a_token_is_not_shown_to_others(serve, fetcher, target) -> None:
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
def test_a_refusal_is_told_at_once(serve, fetcher, target, pauses, status: int, cause: str, remedy: str) -> None:
    """A server that will never send the file is not asked again; cause and remedy are named."""
    with pytest.raises(DownloadFailed, match=cause) as caught:
        fetcher.fetch(Download(serve(Behaviour(statuses=[status])), target), silent)
    assert remedy in caught.value.hint and str(target) in caught.value.hint
    assert not isinstance(caught.value, Unreachable)
    assert pauses == []


def test_a_busy_server_is_asked_again(serve, fetcher, target, pauses) -> None:
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
def test_a_busy_server_may_say_how_long(serve, fetcher, target, pauses, asked: str, waited_s) -> None:
    """Retry-After, in seconds or as a time, is heeded within bounds."""
    fetcher.fetch(Download(serve(Behaviour(statuses=[429], retry_after=asked)), target), silent)
    assert pauses == [waited_s]


@pytest.mark.parametrize("status", [429, 503])
def test_a_server_that_stays_busy_is_no_network_that_is_down(serve, fetcher, target, status: int) -> None:
    """It is told as what it is: other files may come from it all the same."""
    behaviour = Behaviour(statuses=[status] * (len(PAUSES_S) + 1))
    with pytest.raises(ServerBusy, match=f"127.0.0.1 does not send net.pth now: it answers with status {status}"):
        fetcher.fetch(Download(serve(behaviour), target), silent)
    assert not issubclass(ServerBusy, Unreachable)


def test_no_network_is_told_with_the_mirror(fetcher, target, pauses) -> None:
    """Nobody answers: after a few attempts the mirror and the way without a network are named."""
    with pytest.raises(Unreachable, match="cannot be reached") as caught:
        fetcher.fetch(Download("http://127.0.0.1:9/net.pth", target), silent)
    assert "HF_ENDPOINT=https://hf-mirror.com" in caught.value.hint
    assert pauses == list(PAUSES_S)


def test_an_endpoint_without_a_scheme_is_told(fetcher, target, pauses) -> None:
    """HF_ENDPOINT=hf-mirror.com is a slip that is named, not a network that is down."""
    with pytest.raises(DownloadFailed) as caught:
        fetcher.fetch(Download("hf-mirror.com/a/b", target), silent)
    assert "begins with https://" in caught.value.hint
    assert pauses == []


def test_a_web_page_is_no_weights_file(serve, fetcher, target) -> None:
    """The login page of a hotel is recognised before it becomes a file."""
    with pytest.raises(DownloadFailed, match="web page instead of"):
        fetcher.fetch(Download(serve(Behaviour(content_type="text/html; charset=utf-8")), target), silent)
    assert not target.exists()


def test_another_size_is_found_before_the_download(serve, fetcher, target) -> None:
    """Gigabytes of the wrong file are not fetched to find out that they are wrong; a part is kept."""
    behaviour = Behaviour()
    download = Download(serve(behaviour), target, len(CONTENT), SHA256)
    interrupted(fetcher, behaviour, download, 4000)
    other = Behaviour(content=b"another file", ranges=False)
    with pytest.raises(DownloadFailed, match=f"12 bytes; {len(CONTENT)} were published"):
        fetcher.fetch(Download(serve(other), target, len(CONTENT), SHA256), silent)
    assert download.part.read_bytes() == CONTENT[:4000]


def test_a_full_disk_is_found_before_the_download(serve, fetcher, target, monkeypatch: pytest.MonkeyPatch) -> None:
    """Too little room is told in plain words, before a byte is written."""
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _path: SimpleNamespace(free=100))
    download = Download(serve(Behaviour()), target)
    with pytest.raises(DownloadFailed, match="disk is full"):
        fetcher.fetch(download, silent)
    assert not download.part.exists()


def test_a_folder_that_may_not_be_written_is_told(serve, fetcher, tmp_path: Path) -> None:
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


def test_a_request_that_cannot_be_sent_shows_no_header(serve, fetcher, target, pauses) -> None:
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
