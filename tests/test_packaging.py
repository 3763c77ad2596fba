"""What is installed, and what importing it takes."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent


def run(program, **environment):
    return subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=600,
    )


def test_the_packages_listed_are_the_folders_on_disk():
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    on_disk = set()
    for top, package in (("gpurnn", "gpurnn"), ("kernels", "gpurnn.kernels")):
        for file in (ROOT / top).rglob("*.py"):
            parts = file.parent.relative_to(ROOT / top).parts
            on_disk.add(".".join((package, *parts)))
    assert set(listed) == on_disk


def test_the_kernels_folder_is_no_package_of_its_own():
    # With an __init__.py it would hide the signpost gpurnn/kernels.py in a wheel.
    assert not (ROOT / "kernels" / "__init__.py").exists()


def test_importing_takes_numba_and_numpy_alone():
    unwanted = ("cupy", "torch", "scipy", "typer", "tqdm", "safetensors", "matplotlib")
    # Numba itself imports SciPy where it is installed: what gpurnn adds counts.
    done = run(
        "import numba, numpy, sys; before = set(sys.modules); import gpurnn; "
        f"print([m for m in {unwanted} if m in sys.modules.keys() - before])"
    )
    assert done.stdout.strip() == "[]", done.stderr


def test_no_cache_folder_is_needed(tmp_path):
    # A folder below a file can neither be made nor written, not even by root.
    file = tmp_path / "file"
    file.write_text("")
    program = (
        "import gpurnn, numpy as np\n"
        "y, _ = gpurnn.RNN(2, 3, dtype='float64', rng=0)(np.ones((2, 1, 2)))\n"
        "print(y.shape)"
    )
    done = run(program, GPURNN_CACHE_DIR=str(file / "cache"))
    assert done.stdout.strip() == "(2, 1, 3)", done.stderr


def test_a_damaged_cache_file_is_compiled_anew(tmp_path):
    program = (
        "import gpurnn, numpy as np\n"
        "print(gpurnn.Linear(2, 1, dtype='float64', rng=0)(np.ones((1, 2))))"
    )
    first = run(program, GPURNN_CACHE_DIR=str(tmp_path))
    files = list(tmp_path.glob("*.kernel"))
    assert files, first.stderr
    for file in files:
        file.write_bytes(file.read_bytes()[:100])
    again = run(program, GPURNN_CACHE_DIR=str(tmp_path))
    assert again.returncode == 0 and again.stdout == first.stdout, again.stderr
