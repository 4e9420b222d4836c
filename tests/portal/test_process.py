import platform
import subprocess
import sys

import pytest

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
