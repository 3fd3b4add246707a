"""The input of a Capture: a path, an open binary file, or bytes."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterable, Iterator
from typing import BinaryIO, Final, TypeAlias, cast

from ..capture.detect import FileFormat
from ..capture.lanes import Lanes
from ..capture.pcap.tcp import LIBVIRT_PORTS
from ..capture.sources import Progress, check_keylog, open_path, read_source
from ..capture.stop import Stop
from ..events import Item

#: What `open` accepts.
Input: TypeAlias = "str | os.PathLike[str] | BinaryIO | bytes | bytearray | memoryview"


class Source:
    """An input that is opened, and opened again where that is possible. Items are those of
    `capture.sources.read_source`.

    `name` is for messages. `repeatable` is True for bytes, regular files given by path, and seekable files;
    False for pipes and with `follow`. `format` is None for one that is to be recognised. Raises SourceError
    for an input or key log that cannot be opened and for a format that is not recognised, TypeError for
    arguments of another type, ValueError for options that the input excludes.
    """

    def __init__(
        self,
        source: Input,
        *,
        name: str | None = None,
        ports: Iterable[int] = (),
        keylog: str | os.PathLike[str] | None = None,
        format: FileFormat | None = None,
        follow: Stop | None = None,
        progress: Progress | None = None,
    ) -> None:
        if follow is not None and keylog is not None:
            raise ValueError("keylog needs a whole capture: it cannot be used with follow")
        self._ports: Final = LIBVIRT_PORTS.union(ports)
        if others := [port for port in self._ports if not isinstance(cast(object, port), int)]:
            raise TypeError(f"ports: expected integers, got {others[0]!r}")
        self._format: Final = format
        self._keylog: Final = None if keylog is None else os.fspath(keylog)
        self._follow: Final = follow
        self._progress: Final = progress
        #: The lanes of the next pass, None without the native core.
        self.lanes: Lanes | None = None
        #: A file that this object closes.
        self._owned: BinaryIO | None = None
        self.name: str
        #: Opens the input, or goes back to where it was read from.
        self._file: Callable[[], BinaryIO]
        if isinstance(source, bytes | bytearray | memoryview):
            self._give_bytes(source, name)
        elif isinstance(source, str | os.PathLike):
            self._give_path(os.fspath(source), name)
        else:
            self._give_file(source, name)
        if self._keylog is not None:
            check_keylog(self._keylog)
        #: The items of the first pass: what is wrong with an input is reported when it is opened.
        self._first: Iterator[Item] | None = self._open()

    def items(self) -> Iterator[Item]:
        """Begin a pass. Raises SourceError where the input cannot be opened again."""
        first, self._first = self._first, None
        return self._open() if first is None else first

    def stop(self) -> None:
        """End a pass over an input that is followed, after what is there."""
        if self._follow is not None:
            self._follow.set()

    def close(self) -> None:
        """Close what this object has opened; a file that was given stays open."""
        self._first = None
        if self._owned is not None:
            self._owned.close()
            self._owned = None

    def _open(self) -> Iterator[Item]:
        self.close()
        try:
            return read_source(
                self._file(),
                self.name,
                ports=self._ports,
                progress=self._progress,
                follow=self._follow,
                keylog=self._keylog,
                format=self._format,
                lanes=self._take_lanes,
            )
        except BaseException:
            self.close()
            raise

    def _take_lanes(self) -> Lanes | None:
        """Return the lanes, and forget them: they hold everything that the pass holds."""
        lanes, self.lanes = self.lanes, None
        return lanes

    def _give_bytes(self, data: bytes | bytearray | memoryview, name: str | None) -> None:
        if self._follow is not None:
            raise ValueError("expected a path or an open file to follow, got bytes")
        self.name = "bytes" if name is None else name
        self.repeatable = True
        self._file = lambda: io.BytesIO(data)

    def _give_path(self, path: str, name: str | None) -> None:
        self.name = path if name is None else name
        self.repeatable = self._follow is None and os.path.isfile(path)

        def open_() -> BinaryIO:
            self._owned = open_path(path, wait=self._follow is None)
            return self._owned

        self._file = open_

    def _give_file(self, file: BinaryIO, name: str | None) -> None:
        is_text = isinstance(cast(object, file), io.TextIOBase)
        if is_text or not hasattr(file, "read"):
            got = "a file in text mode: use its .buffer, or open it in mode 'rb'"
            raise TypeError(
                f"expected a path, a binary file or bytes, got {got if is_text else type(file).__name__}"
            )
        path = getattr(file, "name", None)
        self.name = name if name is not None else path if isinstance(path, str) else "file"
        start = _position(file) if self._follow is None else None
        self.repeatable = start is not None
        if self._keylog is not None and start:
            raise ValueError("keylog needs a capture from its beginning: tshark reads the whole file")

        def rewound() -> BinaryIO:
            if start is not None:
                file.seek(start)
            return file

        self._file = rewound


def _position(file: BinaryIO) -> int | None:
    """Return the position of a seekable file, None for one that cannot be read twice."""
    try:
        return file.tell() if file.seekable() else None
    except (AttributeError, OSError):
        return None
