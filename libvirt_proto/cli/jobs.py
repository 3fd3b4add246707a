"""Several files at once: worker processes decode them, and what they show comes in the order of the files.

What is shown of the first file is written at once, that of others to a temporary folder, so that memory stays
bounded and no worker waits; of the file whose turn it is, it is passed on as it comes.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import threading
from collections.abc import Callable, Iterator, MutableSequence, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO, Final

import click

from .status import Status

#: Writes what is shown of one file.
Work = Callable[[str, BinaryIO, Status], None]
#: Seconds between two looks at how far the workers are.
_MOMENT: Final = 0.2
#: Bytes that are written to, and copied from, the temporary folder at once.
_BLOCK: Final = 1 << 20


def run(files: Sequence[str], jobs: int, work: Work, out: BinaryIO, status: Status) -> None:
    """As `work` for each of the files, one after the other, but with several processes.

    Raises what `work` raises, and click.ClickException for a worker that was killed.
    """
    out.flush()  # or each worker would have what is in the buffer, too
    total = sum(map(os.path.getsize, files))
    status.source(f"{len(files)} files")
    with TemporaryDirectory(prefix="libvirt-proto-") as name:
        folder = Path(name)
        done = multiprocessing.get_context("fork").Array("Q", len(files), lock=False)
        for number in range(len(files)):
            _shown(folder, number).touch()
        with _pool(min(jobs, len(files)), _Worker(files, work, folder, done, status, out.fileno())) as pool:
            for number, future in enumerate([pool.submit(_work, each) for each in range(len(files))]):
                counts = _pass_on(
                    _shown(folder, number), future, out, lambda: status.advance(sum(done), total)
                )
                with _said(folder, number).open(encoding="utf-8") as said:
                    status.add(counts, said)
                for path in (_shown(folder, number), _said(folder, number)):
                    path.unlink()


class _Worker:
    """What each worker knows from the start."""

    def __init__(
        self,
        files: Sequence[str],
        work: Work,
        folder: Path,
        done: MutableSequence[int],
        status: Status,
        output: int,
    ) -> None:
        self._files = files
        self._work = work
        self._folder = folder
        #: By file: how many bytes have been read.
        self._done = done
        self._palette = status.palette
        #: The descriptor of what the command writes to.
        self._output = output

    def __call__(self, number: int) -> dict[str, Any]:
        """Decode one of the files; gives what was counted."""
        status = _Reporting(self._palette, bar=False, summary=False)
        status.report = lambda done: self._done.__setitem__(number, done)
        said = _said(self._folder, number).open("w", encoding="utf-8", errors="backslashreplace")
        with self._out(number) as out, said, redirect_stderr(said):
            self._work(self._files[number], out, status)
        return status.counts()

    def _out(self, number: int) -> BinaryIO:
        """Where a file is shown: the first one where the command writes to, others where they wait."""
        if number == 0:
            return open(self._output, "wb", _BLOCK, closefd=False)
        return _shown(self._folder, number).open("wb", _BLOCK)


class _Reporting(Status):
    """A worker's: how far it is goes to the one who draws the bar."""

    report: Callable[[int], None]

    def advance(self, done: int, total: int | None) -> None:
        """So many bytes have been read."""
        self.report(done)


#: In a worker: the one that it is.
_worker: _Worker


def _start(worker: _Worker) -> None:
    global _worker  # a task takes nothing but what can be pickled
    _worker = worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, too, which ends us
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A parent that was killed leaves its workers waiting for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
    os._exit(1)


def _work(number: int) -> dict[str, Any]:
    return _worker(number)


@contextmanager
def _pool(size: int, worker: _Worker) -> Iterator[ProcessPoolExecutor]:
    """Workers, which end at once when there is nobody any more to take what they give."""
    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(size, context, _start, (worker,)) as pool:
        try:
            yield pool
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in multiprocessing.active_children():
                process.terminate()
            raise


def _pass_on(
    path: Path, future: Future[dict[str, Any]], out: BinaryIO, moment: Callable[[], None]
) -> dict[str, Any]:
    """Write what a worker writes to a file (of the first one nothing), until it is done; gives what it has
    counted."""
    counts: dict[str, Any] | None = None
    with path.open("rb") as shown:
        while counts is None:
            try:
                counts = future.result(_MOMENT)
            except TimeoutError:
                if future.done():  # it is the worker's own
                    raise
            except BrokenProcessPool:
                raise click.ClickException(
                    "a process that decoded one of the files was killed (was there too little memory?);"
                    " --jobs 1 needs the least."
                ) from None
            shutil.copyfileobj(shown, out, _BLOCK)
            out.flush()
            moment()
    return counts


def _shown(folder: Path, number: int) -> Path:
    """What a worker has to show of a file."""
    return folder / f"{number}.shown"


def _said(folder: Path, number: int) -> Path:
    """What it said on standard error."""
    return folder / f"{number}.said"
