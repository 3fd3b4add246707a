"""Tables that fit a width.

If there is not enough space, columns are left out in a fixed order, then texts are cut: sentences after a
word, names in the middle, at a separator.
"""

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from .style import PLAIN, Palette

#: Width that holds everything.
WIDE: Final = 10_000
_GAP: Final = "  "
#: Minimum width of a cut text, as long as others can be cut, too; and minimum at all.
_SHORT: Final = 24
_LEAST: Final = 8
_SEPARATORS: Final = " _./:-"


class Column(NamedTuple):
    """A column. `drop` is the order in which columns are left out, lowest number first; None is never left
    out. Cells of a column with `cut` are cut if necessary, the last such column first. A column grows to
    `wanted` if there is space, the last one first. `colours` are the prefixes of a Palette for its cells;
    empty: none has a colour."""

    head: str
    cells: Sequence[str]
    drop: int | None = None
    right: bool = True
    cut: bool = False
    wanted: int = 0
    colours: Sequence[str] = ()

    @property
    def width(self) -> int:
        """The width of the longest cell."""
        return max(map(len, (self.head, *self.cells)))


def lines(columns: Sequence[Column], width: int, palette: Palette = PLAIN) -> Iterator[str]:
    """Yield the head and the rows, without newlines, within `width` if possible; nothing without rows."""
    if not columns or not columns[0].cells:
        return
    shown = list(columns)
    while _total(shown, [column.width for column in shown]) > width:
        droppable = [column for column in shown if column.drop is not None]
        if not droppable:
            break
        shown.remove(min(droppable, key=lambda column: column.drop or 0))
    widths = _fitting_widths(shown, width)
    cells = [
        [_aligned(cell, size, right=column.right) for cell in (column.head, *column.cells)]
        for column, size in zip(shown, widths, strict=True)
    ]
    for column, texts in zip(shown, cells, strict=True):
        for number, colour in enumerate(column.colours, 1):
            if colour:
                texts[number] = f"{colour}{texts[number]}{palette.off}"
    head, *rows = (_GAP.join(row).rstrip() for row in zip(*cells, strict=True))
    yield f"{palette.field}{head}{palette.off}"
    yield from rows


def wrap(text: str, width: int, indent: str = "") -> list[str]:
    """Return a text as lines of at most `width` columns, of which those after the first begin with `indent`.
    Only a word without spaces is wider."""
    if len(text) <= width:
        return [text]
    import textwrap  # slow to import

    return textwrap.wrap(
        text,
        max(width, len(indent) + _SHORT),
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def cut(text: str, width: int) -> str:
    """Return a text of at most `width` columns: a sentence without its last words, a name without its middle;
    `…` marks the place."""
    if len(text) <= width:
        return text
    if " " in text:
        end = text.rfind(" ", 0, width)
        return text[: end if end > width // 2 else width - 1].rstrip() + "…"
    begin = (width - 1) // 2
    end = width - 1 - begin
    # At the separators next to the middle, if they are near.
    for at in range(begin, begin // 2, -1):
        if text[at - 1] in _SEPARATORS:
            begin = at
            break
    for at in range(len(text) - end, len(text) - end // 2):
        if text[at] in _SEPARATORS:
            end = len(text) - at
            break
    return f"{text[:begin]}…{text[len(text) - end :]}"


def _aligned(cell: str, width: int, *, right: bool) -> str:
    text = cut(cell, width)
    return text.rjust(width) if right else text.ljust(width)


def _total(columns: Sequence[Column], widths: Sequence[int]) -> int:
    return sum(widths) + len(_GAP) * (len(columns) - 1)


def _fitting_widths(columns: Sequence[Column], width: int) -> list[int]:
    """Return the widths of the columns, of which those that can be cut are, and others grow."""
    widths = [column.width for column in columns]
    for least in (_SHORT, _LEAST):
        for number in reversed(range(len(columns))):
            over = _total(columns, widths) - width
            if over > 0 and columns[number].cut:
                widths[number] = max(min(widths[number], least), widths[number] - over)
    for number in reversed(range(len(columns))):
        free = max(0, width - _total(columns, widths))
        widths[number] += min(free, max(0, columns[number].wanted - widths[number]))
    return widths
