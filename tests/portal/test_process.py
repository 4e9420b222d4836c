import gc
import platform
import subprocess
import sys

import pytest

from portal.commands.portal_process import free_port
from portal.process import RESERVED_FILES, connections_that_fit, without_collections

PROGRAM = """
import numpy as np
from portal.process import give_pictures_back

def resident_mb():
    fields = open("/proc/self/statm").read().split()
    return int(fields[1]) * 4096 / 2**20

if {tuned}:
    assert give_pictures_back()
pictures = [np.ones(800_000, np.uint8) for _ in range(4)]
del pictures
# What freed pictures leave behind cannot be returned while something small lies above it.
pictures, small = [], []
for _ in range(100):
    pictures.append(np.ones(800_000, np.uint8))
    small.append(bytearray(5_000))
before = resident_mb()
pictures.clear()
print(before - resident_mb())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc only")
def test_freed_pictures_go_back_to_the_system() -> None:
    """In a process of its own: a hundred pictures that are freed leave nothing resident."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(tuned=True)], check=True, capture_output=True, text=True
    )
    assert float(done.stdout) > 70


def test_the_system_lets_more_files_be_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit is raised as far as it goes, and connections leave room for other files."""
    resource = pytest.importorskip("resource")
    limits = [(1024, 4096)]
    monkeypatch.setattr(resource, "getrlimit", lambda _kind: limits[-1])
    monkeypatch.setattr(resource, "setrlimit", lambda _kind, wanted: limits.append(wanted))
    assert connections_that_fit(1000) == 1000 and limits[-1] == (4096, 4096)
    assert connections_that_fit(10_000) == 4096 - RESERVED_FILES
    monkeypatch.setattr(resource, "setrlimit", lambda _kind, _wanted: (_ for _ in ()).throw(ValueError))
    limits.append((512, resource.RLIM_INFINITY))
    assert connections_that_fit(1000) == 512 - RESERVED_FILES


def test_a_free_port_is_none_that_a_connection_gets_meanwhile() -> None:
    """Linux gives those from 32768 on to whoever connects to somewhere."""
    assert all(1024 < free_port() < 32_768 for _ in range(20))


def test_garbage_is_collected_again_once_the_portal_is_built() -> None:
    """Also if building it failed. What was built is left alone until everything has settled."""
    before = gc.get_freeze_count()
    built: list[list[int]] = []
    with pytest.raises(ZeroDivisionError), without_collections():
        assert not gc.isenabled()
        built += [[] for _ in range(5000)]
        raise ZeroDivisionError
    assert gc.isenabled() and gc.get_freeze_count() >= before + len(built)
