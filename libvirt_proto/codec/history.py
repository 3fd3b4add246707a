"""When definitions were added, changed, renamed and removed: values, and their wording."""

from typing import Final, Literal, NamedTuple

#: A definition: ("procedure", "0x20008086", "422"), ("type", NAME), ("field", TYPE, NAME),
#: ("member", ENUM, NAME), ("constant", NAME), ("program", "0x20008086").
Key = tuple[str, ...]
Kind = Literal["changed", "renamed", "left", "came"]
KINDS: Final[tuple[Kind, ...]] = ("changed", "renamed", "left", "came")
#: The origin of a release's definitions, the most reliable first: its sources; its binaries and the changes
#: since an earlier release; a later release, without the later additions; another release, unchecked.
Provenance = Literal["genuine", "rebuilt", "derived", "unproven"]


class Span(NamedTuple):
    """When something happened: in `release`; or, where that is unknown, after the release `after`
    (None: at any time) and by the release `by`. `provenance` is that of the definitions before and after it,
    the less reliable one."""

    release: str | None = None
    after: str | None = None
    by: str | None = None
    provenance: Provenance = "genuine"

    def __str__(self) -> str:
        """`1.0.5`, `after 4.5.0, by 9.8.0`, `0.9.7 or earlier`."""
        if self.release is not None:
            return self.release
        return f"{self.by} or earlier" if self.after is None else f"after {self.after}, by {self.by}"

    @property
    def words(self) -> str:
        """The same, with the provenance unless it is genuine: `7.9.0 (derived)`."""
        return str(self) if self.provenance == "genuine" else f"{self} ({self.provenance})"

    def is_after(self, release: str) -> bool | None:
        """Return True if it happened after a release, False if before or in it; None if unknown."""
        key = version_key(release)
        if self.release is not None:
            return version_key(self.release) > key
        if self.by is None or version_key(self.by) <= key:
            return False
        return True if self.after is not None and version_key(self.after) >= key else None

    @property
    def phrase(self) -> str:
        """`in 1.0.5`, `in 5.1.0 (derived)`, `after 4.5.0, by 7.0.0`."""
        return self.words if self.after is not None else f"in {self.words}"


class Event(NamedTuple):
    """A change of a definition after it was added.

    A definition that `left` can have `came` again. `what` is the aspect that changed: the `number` of a
    constant, the `xdr` of a field or typedef, a procedure's `args`, `ret`, `priority`, `acl`, …; `before`
    and `after` are its values, and `before` is the old name after a rename. `also` names maintenance
    releases with the same change.
    """

    kind: Kind
    when: Span
    what: str | None = None
    before: int | str | None = None
    after: int | str | None = None
    also: tuple[str, ...] = ()

    def __str__(self) -> str:
        """`raised from 65536 to 262144 in 0.9.13`, `renamed in 1.0.5, was remote_open_args`."""
        match self.kind, self.what, self.before, self.after:
            case "renamed", _, before, _:
                text = f"renamed {self.when.phrase}, was {before}"
            case "changed", "number", int(before), int(after):
                word = "raised" if after > before else "lowered"
                text = f"{word} from {before} to {after} {self.when.phrase}"
            case "changed", "xdr", before, _:
                text = f"changed {self.when.phrase}, was {before}"
            case "changed", what, before, after:
                nothing = "void" if what in ("args", "ret", "msg") else "nothing"
                text = f"{what} changed {self.when.phrase}, was {before or nothing}"
            case kind:
                text = f"{kind[0]} {self.when.phrase}"
        return text + (f" (also in {', '.join(self.also)})" if self.also else "")

    def is_missing(self, release: str) -> bool | None:
        """Return True if a release lacks the change, False if it has it; None if unknown. A maintenance
        release has what one of `also` on its branch, not after it, has."""
        branch = release.split(".")[:3]
        for other in self.also:
            if other.split(".")[:3] == branch and version_key(other) <= version_key(release):
                return False
        return self.when.is_after(release)


def version_key(release: str) -> tuple[tuple[int, int | str], ...]:
    """Return the sort key of a release, which orders by numbers: 9.0.0 before 10.0.0."""
    return tuple((1, int(part)) if part.isdecimal() else (0, part) for part in release.split("."))


def since_text(since: Span, function: tuple[str, str] | None, also: tuple[str, ...] = ()) -> str:
    """Return when a definition was added, by the public API's function where that is more precise or more
    reliable; `also` is as in Event."""
    others = f" (also in {', '.join(also)})" if also else ""
    if function is None:
        return f"{since.words}{others}"
    name, release = function
    text = f"{release}, by {name} of the public API"
    return text if release == since.release else f"{text} (the definitions say: {since}{others})"


class Facts(NamedTuple):
    """The history of a definition. `function` is the public API's function that a procedure serves, with the
    release that added the function, where that narrows `since` or is more reliable. `also` is as in Event."""

    since: Span
    function: tuple[str, str] | None = None
    events: tuple[Event, ...] = ()
    also: tuple[str, ...] = ()

    def __str__(self) -> str:
        return since_text(self.since, self.function, self.also)

    def first_missing(self, what: str, release: str) -> Event | None:
        """Return the first change of an aspect that a release lacks or may lack, None if there is none. Its
        `before` is the value in that release, if it lacks the change."""
        changes = (event for event in self.events if event.kind == "changed" and event.what == what)
        return next((event for event in changes if event.is_missing(release) is not False), None)
