"""Bytes → a definition file that means something, most of the time."""

from __future__ import annotations

from .taker import Taker

#: Names that collide with Python, with generated code, and with what generated names are made of.
_NAMES = (
    *("a", "b", "value", "type", "kind", "next", "data", "x_1", "x__1", "X_1", "aB", "a_b", "A_B"),
    *("from", "import", "None", "True", "class", "def", "lambda", "match", "print", "self", "cls", "async"),
    *("list", "int32", "str", "bytes", "len", "range", "dict", "object", "super", "property", "tuple"),
    *(
        "buffer",
        "pos",
        "put",
        "depth",
        "count",
        "items",
        "item",
        "size",
        "limit",
        "struct_",
        "name",
        "length",
    ),
    *("TYPES", "ENUMS", "CONSTANTS", "PROGRAMS", "Struct", "IntEnum", "Final", "Any", "annotations", "xdr"),
    *("_", "__", "_a", "__a", "__a__", "__init__", "__class__", "__slots__", "mro", "_missing_", "decode_a"),
    *(
        "encode_a",
        "a_ret",
        "a_args",
        "from_bytes",
        "unpack_from",
        "discriminant",
        "arm",
        "default_",
        "program",
    ),
    *(
        "_i",
        "_I",
        "_2i",
        "_i_from",
        "_I_to",
        "number",
        "flag",
        "result",
        "member",
        "type_",
        "X",
        "X_",
        "as_a",
    ),
)
_PLAIN = ("int", "unsigned int", "hyper", "unsigned hyper", "bool", "float", "double", "char", "short")
_RARE = ("quadruple", "unsigned char", "unsigned short", "unsigned")
_BOUNDS = (1, 2, 3, 4, 5, 7, 8, 0, 16, 17, 64, 255, 65536, 2**31 - 1, 2**31, 2**32 - 1)
_LABELS = (0, 1, 2, 3, -1, 5, 17, 100, 2**31 - 1, -(2**31), 2**32 - 1)


class Writer:
    """Writes one file; what it refers to is defined, and of the right kind."""

    def __init__(self, taker: Taker) -> None:
        self._take = taker
        self._used: set[str] = set()
        self._constants: list[str] = []
        self._types: list[str] = []
        self._enums: dict[str, list[str]] = {}

    def text(self) -> str:
        """The file."""
        makers = (self._struct, self._union, self._enum, self._typedef, self._constant)
        definitions = []
        while self._take and len(definitions) < 8:
            kind = self._take.below(len(makers) + 2)
            definitions.append(makers[kind % len(makers)]())
        if self._types:
            definitions.append(self._program())
        return "\n".join(definitions)

    def _name(self, used: set[str]) -> str:
        name = base = self._take.choice(_NAMES)
        number = 1
        while name in used:
            number += 1
            name = f"{base}{number}"
        used.add(name)
        return name

    def _constant(self) -> str:
        name = self._name(self._used)
        value = self._take.choice(_BOUNDS)
        self._constants.append(name)
        return f"const {name} = {value};"

    def _bound(self) -> str:
        if self._constants and self._take.below(4) == 3:
            return self._take.choice(self._constants)
        return str(self._take.choice(_BOUNDS))

    def _enum(self) -> str:
        name = self._name(self._used)
        text, members = self._enum_body()
        self._enums[name] = members
        self._types.append(name)
        return f"enum {name} {text};"

    def _enum_body(self) -> tuple[str, list[str]]:
        members, texts = [], []
        for place in range(1 + self._take.below(4)):
            member = self._name(self._used)
            value = "" if self._take.below(2) else f" = {_LABELS[place] + 10 * self._take.below(9)}"
            members.append(member)
            texts.append(f"{member}{value}")
        return "{ " + ", ".join(texts) + " }", members

    def _typedef(self) -> str:
        name = self._name(self._used)
        text = f"typedef {self._declaration(name, 1)};"
        self._types.append(name)
        return text

    def _struct(self) -> str:
        name = self._name(self._used)
        text = f"struct {name} {self._struct_body(1, name)};"
        self._types.append(name)
        return text

    def _struct_body(self, depth: int, own: str | None = None) -> str:
        used: set[str] = set()
        fields = [self._declaration(self._name(used), depth, own) for _ in range(1 + self._take.below(5))]
        return "{ " + " ".join(f"{each};" for each in fields) + " }"

    def _union(self) -> str:
        name = self._name(self._used)
        text = f"union {name} {self._union_body(1, name)};"
        self._types.append(name)
        return text

    def _union_body(self, depth: int, own: str | None = None) -> str:
        used: set[str] = set()
        discriminant, labels = self._discriminant()
        head = f"switch ({discriminant} {self._name(used)})"
        arms = []
        for place in range(1 + self._take.below(min(3, len(labels)))):
            more = (
                f"case {labels[-1]}: " if place == 0 and self._take.below(5) == 4 and len(labels) > 3 else ""
            )
            arms.append(f"{more}case {labels[place]}: {self._arm(used, depth, own)};")
        if self._take.below(2):
            arms.append(f"default: {self._arm(used, depth, own)};")
        return f"{head} {{ {' '.join(arms)} }}"

    def _discriminant(self) -> tuple[str, list[str]]:
        match self._take.below(5):
            case 0:
                return "int", [str(label) for label in _LABELS[:-1]]
            case 1:
                return "unsigned int", [str(label) for label in _LABELS if label >= 0]
            case 2:
                return "bool", ["TRUE", "FALSE"]
            case 3 if self._enums:
                name = self._take.choice(sorted(self._enums))
                return name, self._enums[name]
            case _:
                text, members = self._enum_body()
                return f"enum {text}", members

    def _arm(self, used: set[str], depth: int, own: str | None) -> str:
        if self._take.below(4) == 0:
            return "void"
        return self._declaration(self._name(used), depth, own)

    def _declaration(self, name: str, depth: int, own: str | None = None) -> str:
        match self._take.below(8):
            case 0:
                return f"string {name}<{self._bound() if self._take.below(2) else ''}>"
            case 1:
                return f"opaque {name}<{self._bound() if self._take.below(2) else ''}>"
            case 2:
                return f"opaque {name}[{self._bound()}]"
            case 3:
                return f"{self._type(depth, own)} {name}<{self._bound() if self._take.below(2) else ''}>"
            case 4:
                return f"{self._type(depth)} {name}[{self._bound()}]"
            case 5:
                return f"{self._type(depth, own)} *{name}"
            case _:
                return f"{self._type(depth)} {name}"

    def _type(self, depth: int, own: str | None = None) -> str:
        """A type; `own` is the type being defined, which may appear after a `*` or in `<>`."""
        match self._take.below(8):
            case 0 if own:
                return own
            case 1 if depth < 4:
                return f"struct {self._struct_body(depth + 1)}"
            case 2 if depth < 4:
                return f"union {self._union_body(depth + 1)}"
            case 3:
                return f"enum {self._enum_body()[0]}"
            case 4 | 5 if self._types:
                return self._take.choice(self._types)
            case 6:
                return self._take.choice(_RARE)
            case _:
                return self._take.choice(_PLAIN)

    def _program(self) -> str:
        program, version = self._name(self._used), self._name(self._used)
        procedures = []
        for number in range(1 + self._take.below(3)):
            result, argument = (
                "void" if self._take.below(2) else self._take.choice(self._types) for _ in range(2)
            )
            procedures.append(f"{result} {self._name(self._used)}({argument}) = {number};")
        return f"program {program} {{ version {version} {{ {' '.join(procedures)} }} = 1; }} = 0x20000099;"
