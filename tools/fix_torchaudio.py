"""Make torchaudio importable beside a CPU-only torch, where it is not.

Why: package registries carry torchaudio 2.11 in a CUDA build alone. Beside a
CPU build of torch its compiled extension fails to load, for want of the CUDA
libraries, and SpeechBrain imports torchaudio. With the extension absent,
torchaudio runs in pure Python, which is all that this recipe needs. So the
extension is set aside, and only where the import fails for that very reason:
a matching pair of torch and torchaudio is left as it is.
"""

import importlib.util
import pathlib
import subprocess
import sys


def import_failure():
    """Return what ``import torchaudio`` prints when it fails, or ""."""
    run = subprocess.run(
        [sys.executable, "-c", "import torchaudio"],
        capture_output=True,
        text=True,
    )
    return run.stderr if run.returncode else ""


def main():
    """Set the extension aside if a missing CUDA library stops the import."""
    failure = import_failure()
    if not failure:
        return
    if "libc10_cuda" not in failure and "libcudart" not in failure:
        sys.exit(f"torchaudio cannot be imported:\n{failure}")
    package = pathlib.Path(importlib.util.find_spec("torchaudio").origin)
    for library in (package.parent / "lib").glob("*torchaudio*.so"):
        library.rename(library.with_suffix(".so.needs-cuda"))
    failure = import_failure()
    if failure:
        sys.exit(f"torchaudio cannot be imported:\n{failure}")
    print("torchaudio: CUDA extension set aside beside a CPU-only torch")


if __name__ == "__main__":
    main()
