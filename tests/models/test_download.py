"""Downloads: resumed and checked. Against a real server on this machine that misbehaves."""

from __future__ import annotations

from pathlib import Path

import pytest

from models import download as module
from models.download import PAUSES_S, Fetcher, Unreachable
from models.download_part import Download
from models.errors import DownloadFailed
from tests.download_server import CONTENT, SHA256, Behaviour, Serve, interrupted, silent


def test_a_file_comes_whole_and_is_checked(serve: Serve, fetcher: Fetcher, target: Path) -> None:
    """The target holds what the server has, the checksum was compared, and nothing else is left."""
    seen = []
    download = Download(serve(Behaviour()), target, len(CONTENT), SHA256)
    assert fetcher.fetch(download, lambda done, total: seen.append((done, total))) == "checksum"
    assert target.read_bytes() == CONTENT
    assert [path.name for path in target.parent.iterdir()] == ["net.pth"]
    assert seen[0] == (0, len(CONTENT)) and seen[-1] == (len(CONTENT), len(CONTENT))


def test_without_a_checksum_that_is_told(serve: Serve, fetcher: Fetcher, target: Path) -> None:
    """A file whose checksum nobody published is accepted by its size, and the caller is told so."""
    assert fetcher.fetch(Download(serve(Behaviour()), target), silent) == "size"
    assert target.read_bytes() == CONTENT


def test_with_nothing_to_compare_that_is_told(serve: Serve, fetcher: Fetcher, target: Path) -> None:
    """Without a length nobody knows whether all has come: the caller is told that nothing was compared."""
    assert fetcher.fetch(Download(serve(Behaviour(length=False)), target), silent) == "nothing"


def test_the_size_that_the_hub_states_is_compared(serve: Serve, fetcher: Fetcher, target: Path) -> None:
    """Storage that names no length, and breaks off, is found out by the size that Hugging Face stated before."""
    storage = Behaviour(length=False, cut_after_bytes=[3000])
    hub = serve(Behaviour(redirect_to=serve(storage), linked_size=str(len(CONTENT))))
    assert fetcher.fetch(Download(hub, target), silent) == "size"
    assert target.read_bytes() == CONTENT
    other = serve(Behaviour(redirect_to=serve(Behaviour(content=CONTENT[:50])), linked_size=str(len(CONTENT))))
    with pytest.raises(DownloadFailed, match=f"has 50 bytes; {len(CONTENT)} were published"):
        fetcher.fetch(Download(other, target.with_name("other.pth")), silent)


@pytest.mark.parametrize("length", [True, False])
def test_what_comes_compressed_is_refused(serve: Serve, fetcher: Fetcher, target: Path, length: bool) -> None:
    """Its bytes are not those of the file, and its length is not the file's."""
    with pytest.raises(DownloadFailed, match="compressed") as caught:
        fetcher.fetch(Download(serve(Behaviour(encoding="gzip", length=length)), target), silent)
    assert "mirror" in caught.value.hint
    assert not target.exists()


def test_a_broken_connection_is_resumed(serve: Serve, fetcher: Fetcher, target: Path, pauses: list[float]) -> None:
    """Each further request asks for the rest only, as often as the connection brings something."""
    behaviour = Behaviour(cut_after_bytes=[3000, 2000, 1000, 1000, 1000, 1000, 100])
    fetcher.fetch(Download(serve(behaviour), target, len(CONTENT), SHA256), silent)
    assert target.read_bytes() == CONTENT
    assert behaviour.ranges_asked()[:3] == [None, "bytes=3000-", "bytes=5000-"]
    assert pauses == [PAUSES_S[0]] * 7


@pytest.mark.parametrize("sha256", [SHA256, ""])
def test_another_run_goes_on_where_the_last_one_stopped(
    serve: Serve, fetcher: Fetcher, target: Path, sha256: str
) -> None:
    """A part that was left behind is continued, with or without a checksum."""
    behaviour = Behaviour()
    download = Download(serve(behaviour), target, len(CONTENT), sha256)
    interrupted(fetcher, behaviour, download, 4000)
    fetcher.fetch(download, silent)
    assert target.read_bytes() == CONTENT
    assert behaviour.ranges_asked() == ["bytes=4000-"]


def test_a_part_of_known_checksum_goes_on_at_another_mirror(serve: Serve, fetcher: Fetcher, target: Path) -> None:
    """What is known by its checksum needs no ETag: another server may bring the rest."""
    behaviour = Behaviour()
    interrupted(fetcher, behaviour, Download(serve(behaviour), target, len(CONTENT), SHA256), 4000)
    mirror = Behaviour(etag='"of the mirror"')
    fetcher.fetch(Download(serve(mirror), target, len(CONTENT), SHA256), silent)
    assert mirror.ranges_asked() == ["bytes=4000-"]
    assert target.read_bytes() == CONTENT


def test_what_the_hub_stated_holds_at_a_mirror(serve: Serve, fetcher: Fetcher, target: Path) -> None:
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


def test_another_checksum_than_was_published_is_told_before_the_download(
    serve: Serve, fetcher: Fetcher, target: Path
) -> None:
    """Gigabytes of another file are not fetched to find out."""
    url = serve(Behaviour(redirect_to=serve(Behaviour()), linked_sha256="f" * 64))
    with pytest.raises(DownloadFailed, match="another checksum") as caught:
        fetcher.fetch(Download(url, target, None, SHA256), silent)
    assert "another mirror" in caught.value.hint
    assert not target.parent.exists() or not any(target.parent.iterdir())


def test_a_server_that_never_sends_the_same_file_is_given_up(
    serve: Serve, fetcher: Fetcher, target: Path, pauses: list[float]
) -> None:
    """An ETag that changes with each answer, and a connection that breaks: it comes to an end, not again and again."""
    behaviour = Behaviour(new_etags=True, cut_after_bytes=[3000] * 100)
    with pytest.raises(Unreachable, match="again and again"):
        fetcher.fetch(Download(serve(behaviour), target), silent)
    assert len(behaviour.asked) <= 2 * len(PAUSES_S)


def test_a_note_is_never_about_another_part(
    serve: Serve, fetcher: Fetcher, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed just when the new note was written, the old part is gone already: halves of two files are not joined."""
    behaviour = Behaviour()
    download = Download(serve(behaviour), target)
    interrupted(fetcher, behaviour, download, 4000)
    behaviour.content, behaviour.etag = CONTENT[::-1], '"v2"'
    sizes = []
    write, part = Download.write_note, download.part
    monkeypatch.setattr(Download, "write_note", lambda *what: (sizes.append(part.stat().st_size), write(*what)))
    fetcher.fetch(download, silent)
    assert sizes == [0]


def test_a_file_is_on_the_disk_before_it_has_its_name(
    serve: Serve, fetcher: Fetcher, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A power cut leaves the whole file or none."""
    done = []
    monkeypatch.setattr(module.os, "fsync", lambda _file: done.append(target.exists()))
    fetcher.fetch(Download(serve(Behaviour()), target), silent)
    assert done == [False]


def test_a_file_that_changed_is_fetched_anew(serve: Serve, fetcher: Fetcher, target: Path) -> None:
    """Halves of two versions are never joined: the ETag tells them apart."""
    behaviour = Behaviour()
    download = Download(serve(behaviour), target)
    interrupted(fetcher, behaviour, download, 4000)
    behaviour.content, behaviour.etag = CONTENT[::-1], '"v2"'
    fetcher.fetch(download, silent)
    assert target.read_bytes() == CONTENT[::-1]


def test_a_part_of_another_version_is_thrown_away(serve: Serve, fetcher: Fetcher, target: Path) -> None:
    """A part of a file with another checksum, from an older manifest, is not continued."""
    behaviour = Behaviour()
    url = serve(behaviour)
    interrupted(fetcher, behaviour, Download(url, target, None, "0" * 64), 4000)
    fetcher.fetch(Download(url, target, len(CONTENT), SHA256), silent)
    assert behaviour.ranges_asked() == [None]


def test_a_server_without_ranges_begins_again(serve: Serve, fetcher: Fetcher, target: Path) -> None:
    """A server that sends everything each time is taken as it is, without doubling the beginning."""
    behaviour = Behaviour(ranges=False, cut_after_bytes=[4000])
    fetcher.fetch(Download(serve(behaviour), target, len(CONTENT), SHA256), silent)
    assert behaviour.ranges_asked() == [None, "bytes=4000-"]
    assert target.read_bytes() == CONTENT


def test_a_part_without_a_note_is_not_trusted(serve: Serve, fetcher: Fetcher, target: Path) -> None:
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
def test_a_part_that_is_complete_needs_only_its_name(
    serve: Serve, fetcher: Fetcher, target: Path, extra: bytes
) -> None:
    """Stopped after the last byte, the file is checked and kept; one that is too long is fetched anew."""
    behaviour = Behaviour()
    download = Download(serve(behaviour), target, len(CONTENT), SHA256)
    interrupted(fetcher, behaviour, download, 4000)
    download.part.write_bytes(CONTENT + extra)
    fetcher.fetch(download, silent)
    assert target.read_bytes() == CONTENT
    assert behaviour.ranges_asked() == [f"bytes={len(CONTENT + extra)}-", *([None] if extra else [])]


def test_a_wrong_checksum_is_refused(serve: Serve, fetcher: Fetcher, target: Path) -> None:
    """A file that is not the published one gets no name, and the one that was there stays."""
    target.parent.mkdir()
    target.write_bytes(b"the old one")
    download = Download(serve(Behaviour()), target, None, "0" * 64)
    with pytest.raises(DownloadFailed, match="checksum is wrong") as caught:
        fetcher.fetch(download, silent)
    assert "same command again" in caught.value.hint
    assert target.read_bytes() == b"the old one"
    assert not download.part.exists()


def test_the_checksum_that_the_hub_states_is_compared(serve: Serve, fetcher: Fetcher, target: Path) -> None:
    """Without a checksum of our own, the one that Hugging Face states before its redirect decides."""
    storage = serve(Behaviour())
    good = serve(Behaviour(redirect_to=storage, linked_sha256=SHA256))
    assert fetcher.fetch(Download(good, target), silent) == "checksum"
    bad = serve(Behaviour(redirect_to=storage, linked_sha256="f" * 64))
    with pytest.raises(DownloadFailed, match="checksum is wrong"):
        fetcher.fetch(Download(bad, target.with_name("other.pth")), silent)


def test_another_size_is_found_before_the_download(serve: Serve, fetcher: Fetcher, target: Path) -> None:
    """Gigabytes of the wrong file are not fetched to find out that they are wrong; a part is kept."""
    behaviour = Behaviour()
    download = Download(serve(behaviour), target, len(CONTENT), SHA256)
    interrupted(fetcher, behaviour, download, 4000)
    other = Behaviour(content=b"another file", ranges=False)
    with pytest.raises(DownloadFailed, match=f"12 bytes; {len(CONTENT)} were published"):
        fetcher.fetch(Download(serve(other), target, len(CONTENT), SHA256), silent)
    assert download.part.read_bytes() == CONTENT[:4000]
