"""Specifications → Schema: a list of passes, each from a value to a new value and problems."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from libvirt_proto.codec.types import TypeDefinition

from .constants import Numbers
from .dialect import Dialect, libvirt_programs
from .errors import DefinitionError, Problem
from .model import ConstDef, Reference, Specification, Text
from .names import FileNames, Names, collect
from .programs import declared_programs, repeated_numbers
from .resolve_types import TypeFinder, resolve_types
from .rules import MAX_PROBLEMS, Rule
from .schema import Constant, External, Input, Module, Program, Schema, TextConstant
from .sizes import components, measure_types, references
from .source import Span


def resolve(
    specifications: Sequence[Specification],
    *,
    externals: Mapping[str, External | int],
    release: str | None,
    inputs: tuple[Input, ...],
    dialect: Dialect = "auto",
) -> Schema:
    """Return the Schema of a set of files, with the modules in the order of the files.

    `externals` are constants that no file defines. `dialect` selects libvirt's conventions, which make
    programs of constants and enums: `auto` applies them to files with both, `libvirt` also reports files with
    only one of them, `rfc` never applies them. Raises DefinitionError with all problems of all files.
    """
    names, problems = collect(specifications)
    numbers = Numbers(names, externals)
    finder = TypeFinder(names)
    nodes, node_problems = resolve_types(names, numbers, finder)
    types, size_problems = measure_types(nodes)
    programs, program_problems = _programs(names, numbers, finder, dialect)
    modules = [
        _module(file, numbers, types.get(module, ()), programs[module])
        for module, file in names.files.items()
    ]
    problems += [*numbers.problems, *finder.problems, *node_problems, *size_problems, *program_problems]
    problems += _import_cycles(names, modules)
    if problems:
        raise DefinitionError(_in_file_order(problems, specifications))
    return Schema(tuple(modules), release, inputs)


def _in_file_order(problems: Sequence[Problem], specifications: Sequence[Specification]) -> list[Problem]:
    """Sort problems by file, and by place within a file, and keep the first MAX_PROBLEMS."""
    order = {id(specification.span.source): at for at, specification in enumerate(specifications)}

    def place(problem: Problem) -> tuple[int, int]:
        span = problem.span
        return (order.get(id(span.source), -1), span.start) if span else (-1, 0)

    ordered = sorted(problems, key=place)
    if len(ordered) > MAX_PROBLEMS:
        more = len(ordered) - MAX_PROBLEMS
        ordered[MAX_PROBLEMS:] = [Problem("too-many-problems", None, f"{more} more problems are not shown")]
    return ordered


@dataclass(frozen=True, slots=True)
class _Placed:
    """A program, the module that defines it, and its place."""

    program: Program
    module: str
    span: Span


def _programs(
    names: Names, numbers: Numbers, finder: TypeFinder, dialect: Dialect
) -> tuple[dict[str, list[Program]], list[Problem]]:
    """Return the programs of each module."""
    problems: list[Problem] = []
    placed: list[_Placed] = []
    for file in names.files.values():
        declared, declared_problems = declared_programs(file, numbers, finder)
        by_convention, convention_problems = libvirt_programs(file, numbers, dialect)
        problems += [*declared_problems, *convention_problems]
        placed += [_Placed(program, file.module, span) for program, span in (*declared, *by_convention)]
    placed, short_problems = _distinct_shorts(placed)
    programs: dict[str, list[Program]] = {module: [] for module in names.files}
    for each in placed:
        programs[each.module].append(each.program)
    return programs, [*problems, *short_problems, *_repeated_programs(placed)]


def _distinct_shorts(placed: Sequence[_Placed]) -> tuple[list[_Placed], list[Problem]]:
    """Resolve equal short names: libvirt 1.0.2 has LXC_PROGRAM and VIR_LXC_PROTOCOL_PROGRAM.
    The program whose file has another name is named after its file (lxc_monitor)."""
    numbers: dict[str, set[int]] = {}
    for each in placed:
        numbers.setdefault(each.program.short, set()).add(each.program.number)
    renamed = [
        replace(each, program=replace(each.program, short=each.module))
        if len(numbers[each.program.short]) > 1
        else each
        for each in placed
    ]
    problems: list[Problem] = []
    first: dict[str, _Placed] = {}
    for each in renamed:
        other = first.setdefault(each.program.short, each)
        if other.program.number != each.program.number:
            message = f"{other.program.name} and {each.program.name} would both be named {each.program.short}"
            related = ((other.span, f"{other.program.name} is defined here"),)
            problems.append(Problem(Rule.DUPLICATE_NAME, each.span, message, related=related))
    return renamed, problems


def _module(
    file: FileNames, numbers: Numbers, types: Sequence[TypeDefinition], programs: Sequence[Program]
) -> Module:
    constants = tuple(
        Constant(constant.name, value, _as_written(constant), constant.span)
        for constant in file.constants
        if (value := numbers.defined(file.module, constant.name)) is not None
    )
    used = [reference.module for type_ in types for reference, _ in references(type_.node)]
    for program in programs:
        for procedure in program.procedures:
            parts = (procedure.args, procedure.ret, procedure.msg)
            used += [part.module for part in parts if part]
    return Module(
        file.module,
        file.specification.file,
        constants,
        tuple(types),
        tuple(programs),
        tuple(numbers.used[file.module].values()),
        tuple(module for module in dict.fromkeys(used) if module != file.module),
        tuple(
            TextConstant(constant.name, constant.value.text[1:-1])
            for constant in file.texts
            if isinstance(constant.value, Text)
        ),
    )


def _as_written(constant: ConstDef) -> str:
    return constant.value.name if isinstance(constant.value, Reference) else constant.value.text


def _repeated_programs(placed: Sequence[_Placed]) -> list[Problem]:
    """Report programs with equal number and version, which are all that a message states of its program."""
    by_version: dict[int, list[tuple[int, str, Span]]] = {}
    for each in placed:
        program = each.program
        by_version.setdefault(program.version, []).append((program.number, program.name, each.span))
    return [
        problem
        for version, numbered in by_version.items()
        for problem in repeated_numbers(numbered, f"version {version}")
    ]


def _import_cycles(names: Names, modules: Sequence[Module]) -> list[Problem]:
    """Report cycles: files may include each other, but not need each other's types, which no target could
    load."""
    problems = []
    for group in components({module.name: module.imports for module in modules}):
        if len(group) > 1:
            files = [names.files[name].specification for name in group]
            message = " and ".join(file.file for file in files) + " need each other's types"
            hint = "put the types that both need into a file that both include"
            problems.append(Problem(Rule.IMPORT_CYCLE, files[0].span, message, hint))
    return problems
