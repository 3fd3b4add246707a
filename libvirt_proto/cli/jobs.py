"""Decode several files in parallel, in worker processes, with their output in the order of the files.

Output of the first file is written directly, that of others to a temporary folder, so that memory stays
bounded and no worker waits. The output of the next file in turn is copied as it grows.
"""

from __future__ import annotations

import io
import multiprocessing
import os
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Iterator, MutableSequence, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, redirect_stderr
from multiprocessing import connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

import click

from .. import private_files
from ..private_files import NamedFile
from ..terminal import guarded
from .signals import ENDING, Terminated
from .status import Status

#: Writes the output of one file.
Work = Callable[[str, BinaryIO, Status], None]
#: Seconds between checks of the progress of the workers.
_MOMENT: Final = 0.2
#: Number of times that workers are asked to end, a moment apart.
_ATTEMPTS: Final = 25
#: Bytes written to, and copied from, the temporary folder at once.
_BLOCK: Final = 1 << 20


def run(files: Sequence[str], jobs: int, work: Work, out: BinaryIO, status: Status) -> None:
    """Run `work` for each of the files, in several processes.

    Raises the errors of `work`, and click.ClickException for a worker that was killed.
    """
    out.flush()  # or each worker would inherit the contents of the buffer
    total = sum(map(os.path.getsize, files))
    status.source(f"{len(files)} files")
    with private_files.temporary_folder() as folder:
        done = multiprocessing.get_context("fork").Array("Q", len(files), lock=False)
        for number in range(len(files)):
            _shown(folder, number).touch(mode=0o600)
        with _pool(min(jobs, len(files)), _Worker(files, work, folder, done, status, out)) as pool:
            for number, future in enumerate(_submitted(pool, len(files))):
                counts = _pass_on(
                    _shown(folder, number), future, out, lambda: status.advance(sum(done), total)
                )
                with _errors(folder, number).open(encoding="utf-8") as errors:
                    status.add(counts, errors)
                for path in (_shown(folder, number), _errors(folder, number)):
                    path.unlink()


class _Worker:
    """The state of each worker process."""

    def __init__(
        self,
        files: Sequence[str],
        work: Work,
        folder: Path,
        done: MutableSequence[int],
        status: Status,
        output: BinaryIO,
    ) -> None:
        self._files = files
        self._work = work
        self._folder = folder
        #: Number of bytes read, by file.
        self._done = done
        self._palette = status.palette
        #: The descriptor and the name of the command's output.
        self._output = output.fileno()
        self._name = "standard output" if output is sys.stdout.buffer else output.name

    def __call__(self, number: int) -> dict[str, Any]:
        """Decode one of the files, and return its counts."""
        status = _Reporting(self._palette, bar=False, summary=False)
        status.report = lambda done: self._done.__setitem__(number, done)
        errors = io.TextIOWrapper(
            private_files.create(_errors(self._folder, number)), encoding="utf-8", errors="backslashreplace"
        )
        with self._out(number) as out, errors, redirect_stderr(errors):
            self._work(self._files[number], out, status)
        return status.counts()

    def _out(self, number: int) -> BinaryIO:
        """Open the output of a file: the command's own for the first one, a temporary file for others."""
        if number == 0:
            return guarded(io.BufferedWriter(NamedFile(self._output, self._name, closefd=False), _BLOCK))
        return private_files.create(_shown(self._folder, number), _BLOCK)


class _Reporting(Status):
    """A worker's Status, which sends its progress to the parent's progress bar."""

    report: Callable[[int], None]

    def advance(self, done: int, total: int | None) -> None:
        """Report the number of bytes read."""
        self.report(done)


#: In a worker process: its state, and whether it is working.
_worker: _Worker
_busy = False


def _start(worker: _Worker) -> None:
    global _worker  # tasks accept only picklable arguments
    _worker = worker
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the parent gets these too, and ends the workers
    signal.signal(signal.SIGTERM, _terminated)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _terminated(number: int, _frame: object) -> None:
    """End a worker: immediately while it waits, otherwise after it has cleaned up (tshark is its child)."""
    if _busy:
        signal.signal(number, signal.SIG_IGN)  # it is repeated
        raise Terminated(number)
    os._exit(128 + number)


def _end_with_parent() -> None:
    """End this worker if its parent is killed; it would wait forever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
    os._exit(1)


def _work(number: int) -> dict[str, Any]:
    global _busy
    try:
        _busy = True
        return _worker(number)
    except Terminated as signal:
        status = signal.status
    finally:
        _busy = False
    os._exit(status)


def _submitted(pool: ProcessPoolExecutor, count: int) -> list[Future[dict[str, Any]]]:
    """Submit the tasks. Signals are blocked while workers are forked, until these have their own handlers."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    try:
        return [pool.submit(_work, number) for number in range(count)]
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _pool(size: int, worker: _Worker) -> Iterator[ProcessPoolExecutor]:
    """Yield the pool of workers, which end immediately when the parent stops early."""
    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(size, context, _start, (worker,)) as pool:
        try:
            yield pool
        except BaseException:
            _terminate(multiprocessing.active_children())
            # Without waiting, Python may wake the pool's thread while that closes its pipe (EBADF at exit).
            pool.shutdown(cancel_futures=True)
            raise


def _terminate(workers: Sequence[BaseProcess]) -> None:
    """End workers. A worker that is just about to wait for a task notices only the next signal."""
    running = {worker.sentinel: worker for worker in workers}
    for _ in range(_ATTEMPTS):
        for worker in running.values():
            worker.terminate()
        for sentinel in connection.wait(list(running), _MOMENT):
            del running[cast(int, sentinel)]
        if not running:
            return
    for worker in running.values():
        worker.kill()


def _pass_on(
    path: Path, future: Future[dict[str, Any]], out: BinaryIO, moment: Callable[[], None]
) -> dict[str, Any]:
    """Copy a worker's output of a file (nothing for the first one) until it is done; return its counts."""
    counts: dict[str, Any] | None = None
    with path.open("rb") as shown:
        while counts is None:
            try:
                counts = future.result(_MOMENT)
            except TimeoutError:
                if future.done():  # it is the worker's own error
                    raise
            except BrokenProcessPool:
                raise click.ClickException(
                    "a process that decoded one of the files was killed (possibly for lack of memory);"
                    " --jobs 1 needs the least"
                ) from None
            shutil.copyfileobj(shown, out, _BLOCK)
            out.flush()
            moment()
    return counts


def _shown(folder: Path, number: int) -> Path:
    """The path of a worker's output of a file."""
    return folder / f"{number}.shown"


def _errors(folder: Path, number: int) -> Path:
    """The path of its standard error."""
    return folder / f"{number}.errors"
