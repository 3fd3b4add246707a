"""The table of messages: Captured in, batches of Arrow columns out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..jsonlines.presenter import connection_name
from ..native import core
from ..native_kinds import JsonDecoder, Learning
from ..native_plan import has_file
from .arrow import message_batch
from .rows import Inputs, RowMaker, Rows

if TYPE_CHECKING:
    import pyarrow as pa

    from ..events import Captured, Connection
    from ..native import Columns
    from ..registry import Registry
    from ..rpc.message import MessageDecoder


class MessageTable:
    """Messages of several inputs, in one table."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._maker = RowMaker(registry)
        native = core()
        self._columns: Columns | Rows = Rows() if native is None else native.Columns()
        self._inputs = Inputs()

    def begin(self, name: str) -> NativeRows | None:
        """Begin with the input of a name; return the native core of a pass over it, None without one."""
        self._inputs.begin(name, len(self._columns))
        if isinstance(self._columns, Rows):
            return None
        return NativeRows(self._registry, self._maker, self._columns)

    def add(self, captured: Captured) -> None:
        """Add a message that Python has read."""
        self._columns.append(self._maker.row(captured))

    def is_full(self) -> bool:
        """Return whether there should be a batch now."""
        return self._columns.is_full()

    def __len__(self) -> int:
        """Number of rows since the last batch."""
        return len(self._columns)

    def take(self) -> pa.RecordBatch:
        """Return the rows since the last batch."""
        batch = self._columns.take()
        texts = {name: codes.texts for name, codes in self._maker.codes.items()}
        self._maker.forget()
        return message_batch(batch, texts, self._inputs.take(batch[0]))


class NativeRows(Learning):
    """The native core of a pass that makes rows."""

    def __init__(self, registry: Registry, maker: RowMaker, columns: Columns) -> None:
        super().__init__(registry)
        self.columns = columns
        self._maker = maker

    @property
    def start_ns(self) -> int | None:
        """None: times are absolute."""
        return None

    def connection(self, connection: Connection) -> bytes:
        """Return the name of a connection."""
        return connection_name(connection).encode()

    def decoder(self) -> MessageDecoder:
        """Return the decoder of the messages that Python reads: types need not be loaded where the plan is in
        a file."""
        return JsonDecoder(self._registry, explained=True) if has_file(self._registry) else super().decoder()

    def learn(self, captured: Captured) -> None:
        """Learn the kind of a message that Python has read."""
        self.add(captured, self._maker.kind)

    def hide(self, captured: Captured) -> None:
        """Learn that messages of this kind are not shown."""
        if not captured.message.malformed:
            self.add(captured, lambda _: ())
