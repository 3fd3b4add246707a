"""The semantic rules for definitions, each with its stable identifier."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

#: Maximum nesting of types; libvirt's deepest is 5.
MAX_DEPTH: Final = 100
#: Maximum number of problems reported; the others are counted.
MAX_PROBLEMS: Final = 1000


class Rule(StrEnum):
    """`Problem.rule` of everything found after parsing."""

    # Names (RFC 4506 §6.4 notes 3 and 4, RFC 5531 §12.3).
    UNKNOWN_NAME = "unknown-name"
    AMBIGUOUS_NAME = "ambiguous-name"
    DUPLICATE_NAME = "duplicate-name"
    WRONG_KIND = "wrong-kind"
    DUPLICATE_FILE = "duplicate-file"
    IMPORT_CYCLE = "import-cycle"
    # Constants and enums (§4.3, §4.17).
    MISSING_EXTERNAL = "missing-external"
    CONSTANT_CYCLE = "constant-cycle"
    OUT_OF_RANGE = "out-of-range"
    # Types (§4.9 to §4.15, §4.19, §6.4 notes 2 and 5).
    BAD_BOUND = "bad-bound"
    BAD_DISCRIMINANT = "bad-discriminant"
    BAD_LABEL = "bad-label"
    DUPLICATE_CASE = "duplicate-case"
    RECURSIVE_TYPE = "recursive-type"
    TOO_DEEP = "too-deep"
    NO_BYTES = "no-bytes"
    # Programs.
    DUPLICATE_NUMBER = "duplicate-number"
    # libvirt's dialect.
    INCOMPLETE_PROGRAM = "incomplete-program"
    UNCLAIMED_TYPE = "unclaimed-type"
    TYPE_CLAIMED_TWICE = "type-claimed-twice"
