"""First pass: the names that each file defines, and the names that each file sees.

A file sees its own names and those of the files whose headers it includes (`%#include "X.h"` refers to X.x),
transitively. Types, constants, enum members and programs share one name space (RFC 4506 §6.4 note 3, RFC 5531
§12.3); the fields of a struct, and the discriminant and arms of a union, have a name space each (note 4). Two
files may define the same name independently.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from . import rpc_headers
from .errors import Problem
from .model import (
    Argument,
    Builtin,
    ConstDef,
    Declaration,
    Definition,
    EnumBody,
    EnumDef,
    EnumMember,
    Literal,
    ProcedureDef,
    ProgramDef,
    Reference,
    Shape,
    Specification,
    StructBody,
    StructDef,
    Text,
    TypedefDef,
    TypeName,
    TypeSpecifier,
    UnionBody,
    UnionDef,
    Value,
    VersionDef,
)
from .naming import module_name
from .rules import MAX_DEPTH, Rule
from .source import Span

Body = EnumBody | StructBody | UnionBody
#: Maximum number of searches for similar names: each takes milliseconds, and hostile files could cause many.
_MAX_SEARCHES = 20
_MAX_SEARCHED = 5000


@dataclass(frozen=True, slots=True)
class Number:
    """A constant, an enum member, or the number of a program, version or procedure.

    A member without a value is one more than the member `after` (0 if None).
    """

    name: str
    value: Value | None
    span: Span
    after: str | None = None
    member: bool = False


@dataclass(frozen=True, slots=True)
class TypeEntry:
    """A type definition. `body` is a Declaration for a typedef of anything but a body.

    `written` is its printed form; nested bodies are separate entries, named `outer.field`.
    """

    module: str
    name: str
    body: Body | Declaration
    written: Definition | Declaration
    span: Span
    insert: int | None = None
    anonymous: bool = False

    @property
    def kind(self) -> str:
        """The keyword that defines it."""
        match self.body:
            case EnumBody():
                return "enum"
            case StructBody():
                return "struct"
            case UnionBody():
                return "union"
            case _:
                return "typedef"


@dataclass(frozen=True)
class FileNames:
    """The names that one file defines; `visible` are the modules that it sees, itself first."""

    module: str
    specification: Specification
    visible: tuple[str, ...]
    types: Mapping[str, TypeEntry]
    numbers: Mapping[str, Number]
    constants: tuple[ConstDef, ...]
    programs: tuple[ProgramDef, ...]
    #: String constants.
    texts: tuple[ConstDef, ...]
    #: Typedefs that define nothing new: `typedef struct X X;`.
    restated: tuple[TypeName, ...]


class Names:
    """All files, by module name and in the given order."""

    def __init__(self, files: Mapping[str, FileNames]) -> None:
        self.files = files
        self._searches = 0

    def types_named(self, module: str, name: str) -> list[TypeEntry]:
        """Return the definitions that `name` may refer to in a module: its own, else those of its
        includes."""
        own, *others = (self.files[m].types.get(name) for m in self.files[module].visible)
        return [own] if own else [entry for entry in others if entry]

    def numbers_named(self, module: str, name: str) -> list[tuple[str, Number]]:
        """Return the same for constants and enum members, each with the module that defines it."""
        found = [(m, self.files[m].numbers.get(name)) for m in self.files[module].visible]
        defined = [(m, number) for m, number in found if number]
        return defined[:1] if defined and defined[0][0] == module else defined

    def elsewhere(self, name: str, *, types: bool) -> str | None:
        """Return a hint for a name that another file defines: the line that includes it."""
        for file in self.files.values():
            if name in (file.types if types else file.numbers):
                header = file.specification.file.removesuffix(".x") + ".h"
                return f'{file.specification.file} defines it: add %#include "{header}"'
        return None

    def absent(self, module: str) -> str:
        """Return a note on headers that a file includes and for which no definition file is known."""
        specification = self.files[module].specification
        known = {file.specification.file.removesuffix(".x") for file in self.files.values()}
        absent = [header for header in specification.includes if header.removesuffix(".h") not in known]
        if not absent:
            return ""
        headers = ", ".join(absent[:3])
        files = ", ".join(header.removesuffix(".h") + ".x" for header in absent[:3])
        return f": {specification.file} includes {headers}, but {files} {_are(absent)} not in the folder"

    def similar(self, module: str, name: str, *, types: bool) -> str | None:
        """Return a hint for an unknown name: a similar one that the module sees."""
        known = [
            other
            for file in map(self.files.__getitem__, self.files[module].visible)
            for other in (file.types if types else file.numbers)
            if "." not in other and abs(len(other) - len(name)) <= 2
        ]
        known += rpc_headers.TYPES if types else rpc_headers.CONSTANTS
        if self._searches == _MAX_SEARCHES or len(known) > _MAX_SEARCHED:
            return None
        self._searches += 1
        similar = get_close_matches(name, known, n=1, cutoff=0.8)
        return f"did you mean {similar[0]}?" if similar else None


def _are(things: Sequence[str]) -> str:
    return "are" if len(things) > 1 else "is"


def with_article(kind: str) -> str:
    """`an enum`, `a struct`."""
    return f"an {kind}" if kind[0] in "aeiou" and kind != "union" else f"a {kind}"


def argument_name(program: str, version: str, procedure: str, part: str) -> str:
    """Return the generated name of the type of a procedure's arguments or result (`args`, `ret`)."""
    return f"{program}.{version}.{procedure}.{part}"


def result_of(type_: TypeSpecifier, span: Span) -> Argument:
    """Return a procedure's result in the form of an argument."""
    return Argument(type_, shape=Shape.VARIABLE if type_ is Builtin.STRING else Shape.PLAIN, span=span)


def is_named(argument: Argument) -> bool:
    """Return True if the type of an argument or result is just the name of a type."""
    return argument.shape is Shape.PLAIN and isinstance(argument.type, TypeName)


def collect(specifications: Sequence[Specification]) -> tuple[Names, list[Problem]]:
    """Collect the names of all files. The first of several definitions of a name is kept."""
    problems: list[Problem] = []
    by_module: dict[str, Specification] = {}
    for specification in specifications:
        module = module_name(specification.file)
        if module in by_module:
            first = by_module[module]
            message = f"{specification.file} and {first.file} both define the module {module}"
            related = ((first.span, "the first file"),)
            problems.append(Problem(Rule.DUPLICATE_FILE, specification.span, message, related=related))
        else:
            by_module[module] = specification
    headers = {
        specification.file.removesuffix(".x") + ".h": module for module, specification in by_module.items()
    }
    defined = {module: {each.name for each in one.definitions} for module, one in by_module.items()}
    files = {}
    for module, specification in by_module.items():
        visible = _visible(module, by_module, headers)
        known = set().union(*(defined[each] for each in visible))
        files[module] = _Collector(module, specification, visible, known, problems).collect()
    return Names(files), problems


def _visible(module: str, files: Mapping[str, Specification], headers: Mapping[str, str]) -> tuple[str, ...]:
    """Return the module and those whose headers it includes, nearest first."""
    seen = {module: None}
    queue = [module]
    for current in queue:
        for header in files[current].includes:
            included = headers.get(header)
            if included and included not in seen:
                seen[included] = None
                queue.append(included)
    return tuple(seen)


class _Collector:
    """Collects the names of one file's definitions."""

    def __init__(
        self,
        module: str,
        specification: Specification,
        visible: tuple[str, ...],
        defined: Container[str],
        problems: list[Problem],
    ) -> None:
        self.module = module
        self.specification = specification
        self.visible = visible
        self.defined = defined
        self.problems = problems
        self.taken: dict[str, Span] = {}
        self.types: dict[str, TypeEntry] = {}
        self.numbers: dict[str, Number] = {}
        self.constants: list[ConstDef] = []
        self.programs: list[ProgramDef] = []
        #: Programs, versions and procedures, which rpcgen's C defines as constants.
        self.rpc_numbers: dict[str, Number] = {}
        self.texts: list[ConstDef] = []
        self.restated: list[TypeName] = []
        #: Bodies still to be visited: (name, body, nesting depth).
        self.bodies: list[tuple[str, TypeSpecifier, int]] = []

    def collect(self) -> FileNames:
        for definition in self.specification.definitions:
            self._definition(definition)
            while self.bodies:
                self._inside(*self.bodies.pop())
        return FileNames(
            self.module,
            self.specification,
            self.visible,
            self.types,
            {**self.rpc_numbers, **self.numbers},
            tuple(self.constants),
            tuple(self.programs),
            tuple(self.texts),
            tuple(self.restated),
        )

    def _definition(self, definition: Definition) -> None:
        match definition:
            case ConstDef(name, Text()):
                if self._take(name, definition.span):
                    self.texts.append(definition)
            case ConstDef(name, Literal() | Reference() as value):
                if self._take(name, definition.span):
                    self.constants.append(definition)
                    self.numbers[name] = Number(name, value, definition.span)
            case TypedefDef(declaration):
                self._typedef(definition, declaration)
            case ProgramDef():
                if self._take(definition.name, definition.span):
                    self.programs.append(definition)
                    self._program(definition)
            case EnumDef() | StructDef() | UnionDef():
                insert = definition.insert if isinstance(definition, StructDef) else None
                if self._take(definition.name, definition.span):
                    self._type(definition.name, definition.body, definition, definition.span, insert=insert)

    def _typedef(self, definition: TypedefDef, declaration: Declaration) -> None:
        type_ = declaration.type
        plain = declaration.shape is Shape.PLAIN
        if plain and isinstance(type_, TypeName) and type_.keyword and type_.name == declaration.name:
            self.restated.append(type_)
        elif self._take(declaration.name, definition.span):
            body = type_ if plain and isinstance(type_, Body) else declaration
            self._type(declaration.name, body, definition, definition.span)

    def _type(
        self,
        name: str,
        body: Body | Declaration,
        written: Definition | Declaration,
        span: Span,
        *,
        insert: int | None = None,
        anonymous: bool = False,
        depth: int = 0,
    ) -> None:
        self.types[name] = TypeEntry(self.module, name, body, written, span, insert, anonymous)
        if isinstance(body, Declaration):
            self._nested(f"{name}.element", body, depth)
        else:
            self.bodies.append((name, body, depth))

    def _used(self, type_: TypeSpecifier) -> None:
        """Add the typedef of a type of C's headers that the file uses and no file that it sees defines."""
        if not isinstance(type_, TypeName) or type_.name in self.defined or type_.name in self.types:
            return
        match rpc_headers.definition(type_.name, type_.span):
            case TypedefDef(declaration) as definition:
                self._type(type_.name, declaration, definition, type_.span)
            case StructDef(name, body) as definition:
                self._type(name, body, definition, type_.span)

    def _nested(self, name: str, declaration: Declaration, depth: int) -> None:
        """Add an anonymous type for a declaration whose type is a body."""
        body = declaration.type
        self._used(body)
        if not isinstance(body, Body):
            return
        if depth < MAX_DEPTH:
            self._type(name, body, declaration, declaration.span, anonymous=True, depth=depth + 1)
        else:
            text = f"expected at most {MAX_DEPTH} nested types"
            self.problems.append(Problem(Rule.TOO_DEEP, declaration.span, text))

    def _inside(self, name: str, body: TypeSpecifier, depth: int) -> None:
        match body:
            case EnumBody(members):
                self._members(members)
            case StructBody(fields):
                self._variables(name, fields, depth)
            case UnionBody(discriminant, cases, default):
                arms = [case.arm for case in (*cases, *([default] if default else ())) if case.arm]
                self._variables(name, (discriminant, *arms), depth)

    def _members(self, members: Iterable[EnumMember]) -> None:
        after: str | None = None
        for member in members:
            if self._take(member.name, member.span):
                self.numbers[member.name] = Number(member.name, member.value, member.span, after, True)
            if member.name in self.numbers:  # and no type or program has it
                after = member.name

    def _variables(self, outer: str, declarations: Iterable[Declaration], depth: int) -> None:
        names: dict[str, Span] = {}
        for declaration in declarations:
            if self._first(names, declaration.name, declaration.span):
                self._nested(f"{outer}.{declaration.name}", declaration, depth)

    def _program(self, program: ProgramDef) -> None:
        parts: list[ProgramDef | VersionDef | ProcedureDef] = [program, *program.versions]
        parts += [procedure for version in program.versions for procedure in version.procedures]
        for part in parts:
            self.rpc_numbers.setdefault(part.name, Number(part.name, part.number, part.span))
        versions: dict[str, Span] = {}
        for version in program.versions:
            if not self._first(versions, version.name, version.span):
                continue
            procedures: dict[str, Span] = {}
            for procedure in version.procedures:
                if self._first(procedures, procedure.name, procedure.span):
                    self._procedure(program.name, version.name, procedure)

    def _procedure(self, program: str, version: str, procedure: ProcedureDef) -> None:
        """Add generated types for arguments or a result that are not just the name of one type."""
        args, ret = (argument_name(program, version, procedure.name, part) for part in ("args", "ret"))
        span = procedure.span
        if len(procedure.arguments) > 1:
            fields = tuple(
                Declaration(
                    argument.name or f"arg{number}",
                    argument.type,
                    argument.shape,
                    argument.size,
                    span=argument.span,
                )
                for number, argument in enumerate(procedure.arguments, 1)
            )
            body = StructBody(fields, span=span)
            self._type(args, body, Declaration("args", body, span=span), span, anonymous=True)
        elif procedure.arguments:
            self._made_up(args, procedure.arguments[0])
        if procedure.result is not None:
            self._made_up(ret, result_of(procedure.result, span))

    def _made_up(self, name: str, argument: Argument) -> None:
        type_, span = argument.type, argument.span
        if is_named(argument):
            self._used(type_)
            return
        part = name.rpartition(".")[2]
        declaration = Declaration(part, type_, argument.shape, argument.size, span=span)
        body = type_ if argument.shape is Shape.PLAIN and isinstance(type_, Body) else declaration
        self._type(name, body, declaration, span, anonymous=True)

    def _take(self, name: str, span: Span) -> bool:
        """Return True if the name was free in the file."""
        return self._first(self.taken, name, span)

    def _first(self, taken: dict[str, Span], name: str, span: Span) -> bool:
        """Return True if the name was free; else report a problem."""
        if name not in taken:
            taken[name] = span
            return True
        related = ((taken[name], "first defined here"),)
        self.problems.append(Problem(Rule.DUPLICATE_NAME, span, f"{name} is defined twice", related=related))
        return False
