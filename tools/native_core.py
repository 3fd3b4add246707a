"""Checks of the native core's source: `analyze` in `make static`, `sanitize` in `make sanitize`.

`analyze` compiles it with gcc's -fanalyzer, and fails for a warning. `sanitize` compiles it with
AddressSanitizer and UndefinedBehaviorSanitizer in a copy of the tree, and runs the tests marked `native`
there. Without gcc both report that and succeed; with LIBVIRT_PROTO_NATIVE=1 that is an error.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from hatch_build import TARGET, VARIABLE, build
from tools.checkout import CHECKOUT, copy_checkout

GCC: Final = "gcc"
ANALYZER: Final = ("-O2", "-Werror", "-fanalyzer")
SANITIZERS: Final = (
    *("-O1", "-g", "-fno-omit-frame-pointer"),
    *("-fsanitize=address,undefined", "-fno-sanitize-recover=all"),
)
#: Python keeps objects at its end on purpose: ASan does not look for leaks, a test does.
OPTIONS: Final = {
    "ASAN_OPTIONS": "detect_leaks=0:abort_on_error=1:malloc_context_size=5",
    "UBSAN_OPTIONS": "print_stacktrace=1",
    "PYTHONMALLOC": "malloc",
}


def main() -> None:
    """Run one of the checks; other arguments are pytest's."""
    match sys.argv[1:]:
        case ["analyze"]:
            _need_compiler()
            with TemporaryDirectory(prefix="libvirt-proto-analyze-") as folder:
                problem = build(CHECKOUT, Path(folder, "analyzed.so"), ANALYZER, GCC)
            if problem is not None:
                sys.exit(problem)
        case ["sanitize", *arguments]:
            _need_compiler()
            sys.exit(_sanitize(arguments))
        case _:
            sys.exit("usage: python -m tools.native_core analyze|sanitize [ARGUMENT OF PYTEST]...")


def _need_compiler() -> None:
    if shutil.which(GCC) is not None:
        return
    if os.environ.get(VARIABLE) == "1":
        sys.exit(f"{GCC} is not installed, and {VARIABLE}=1 requires it")
    print(f"{GCC} is not installed: the native core is not checked")
    sys.exit(0)


def _sanitize(arguments: list[str]) -> int:
    """Run the tests with a sanitized core, and return pytest's status."""
    with TemporaryDirectory(prefix="libvirt-proto-sanitize-") as folder:
        root = Path(folder)
        copy_checkout(root)
        problem = build(root, root / TARGET, SANITIZERS, GCC)
        if problem is not None:
            sys.exit(problem)
        library = subprocess.run(
            [GCC, "-print-file-name=libasan.so"], stdout=subprocess.PIPE, text=True, check=True
        ).stdout.strip()
        environment = {**os.environ, **OPTIONS, "LD_PRELOAD": library}
        for name in ("LIBVIRT_PROTO_PURE", "PYTHONPATH"):
            environment.pop(name, None)
        # Only their files: collecting all tests takes a minute with the sanitizers.
        files = [
            path for path in (root / "tests").rglob("test_*.py") if "pytest.mark.native" in path.read_text()
        ]
        options = ("-q", "-m", "native", "-p", "no:cacheprovider")
        command = [sys.executable, "-m", "pytest", *options, *arguments, *map(str, sorted(files))]
        return subprocess.run(command, cwd=root, env=environment, check=False).returncode


if __name__ == "__main__":
    main()
