"""The performance report can be built from all recipe files.

SpeechBrain gets this as a file of its own tests.
"""

import subprocess
import sys


def test_performance_report(tmp_path):
    report = tmp_path / "PERFORMANCE.md"
    subprocess.run(
        [
            sys.executable,
            "tools/readme_builder.py",
            "--recipe_info_dir=tests/recipes",
            f"--output_file={report}",
        ],
        check=True,
    )
    text = report.read_text(encoding="utf-8")
    assert "## LibriSpeech Dataset" in text
    assert "## GigaSpeech Dataset" in text
