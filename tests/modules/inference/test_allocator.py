"""Freed memory is used again by the same process."""

import platform
import subprocess
import sys

import pytest
from conftest import ROOT

FAULTS = """
import resource, sys
import torch
from modules.inference.allocator import keep_freed_memory

if sys.argv[1] == "keep":
    keep_freed_memory()

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def work():
    for _ in range(20):
        torch.empty(3 * 2**22).fill_(1)  # 48 MB

work()  # the memory grows until there are gaps for everything
before = faults()
work()
print(faults() - before)
"""


@pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="for the GNU C library"
)
def test_no_new_pages_for_what_was_freed():
    counts = {}
    for mode in ("keep", "return"):
        done = subprocess.run(
            [sys.executable, "-c", FAULTS, mode],
            cwd=ROOT,
            check=True,
            capture_output=True,
            text=True,
        )
        counts[mode] = int(done.stdout)
    assert counts["keep"] < counts["return"] / 10, counts
