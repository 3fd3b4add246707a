"""The rules of `diff`: a summary of each, and the category of its findings."""

from __future__ import annotations

from typing import Final

from ..findings import Categories, Category, FindingRule, Rules

CATEGORIES: Final[Categories] = {
    category.id: category
    for category in (
        Category(
            "WIRE",
            "error",
            "old and new peers read the same bytes differently, or refuse each other's messages",
        ),
        Category("LIMIT", "warning", "old peers refuse what new ones may send, but not vice versa"),
        Category(
            "ACCESS",
            "warning",
            "the same bytes, but a call needs other permissions, or peers handle it differently",
        ),
        Category("SOURCE", "notice", "the same bytes, but code that uses the definitions must be updated"),
        Category("ADDED", "notice", "affects only code that uses it"),
    )
}

_SUMMARIES: Final = {
    "WIRE": {
        "PROGRAM_REMOVED": "A program's number was removed.",
        "PROGRAM_NUMBER_CHANGED": "A program has another number.",
        "PROGRAM_VERSION_CHANGED": "A program has another version.",
        "PROCEDURE_REMOVED": "A procedure's number was removed, or means another procedure.",
        "PROCEDURE_RENUMBERED": "A procedure has another number.",
        "PAYLOAD_ADDED": "A procedure's arguments, result or event had no data and has some.",
        "PAYLOAD_REMOVED": "A procedure's arguments, result or event had data and has none.",
        "PAYLOAD_TYPE_CHANGED": "A procedure's arguments or result have another type with other bytes.",
        "TYPE_CHANGED": "A type is of another kind, or a typedef names another type.",
        "FIELD_TYPE_CHANGED": "A field or a discriminant has another type on the wire.",
        "FIELD_ADDED": "A struct has one more field.",
        "FIELD_REMOVED": "A struct has one field fewer.",
        "FIELD_ORDER_CHANGED": "A struct's fields are in another order.",
        "ARM_ADDED": "A union has an arm for a discriminant that had none.",
        "ARM_REMOVED": "A union has no arm for a discriminant that had one.",
        "ARM_TYPE_CHANGED": "An arm has another type on the wire.",
        "MEMBER_RENUMBERED": "An enum member has another number.",
        "MEMBER_REMOVED": "An enum's number was removed.",
        "FIXED_SIZE_CHANGED": "A fixed-length array or opaque has another length.",
        "LIMIT_LOWERED": "A list, string or opaque has a lower limit.",
        "LIMIT_ADDED": "A list, string or opaque has a limit where there was none.",
    },
    "LIMIT": {
        "LIMIT_RAISED": "A list, string or opaque has a higher limit.",
        "LIMIT_REMOVED": "A list, string or opaque no longer has a limit.",
    },
    "ACCESS": {
        "ACL_REMOVED": "A procedure has no @acl any more.",
        "ACL_LOOSENED": "A procedure needs fewer permissions: an @acl line was removed, or has a condition.",
        "ACL_CHANGED": "A procedure needs another permission, or the same one under another condition.",
        "ACL_TIGHTENED": "A procedure needs more permissions: an @acl line was added, or has no condition.",
        "ACL_ADDED": "A procedure has an @acl and had none.",
        "ACL_REWRITTEN": "An @acl has other lines, and the same callers pass.",
        "ACL_FILTER_LOOSENED": "Fewer objects are left out: an @aclfilter was removed.",
        "ACL_FILTER_CHANGED": "Objects are left out by another permission.",
        "ACL_FILTER_TIGHTENED": "More objects are left out: an @aclfilter was added.",
        "PRIORITY_CHANGED": "A procedure has another priority; the default is low.",
        "GENERATE_CHANGED": "A procedure's code is generated for other sides.",
        "STREAM_CHANGED": "A procedure has another stream, or the stream is another parameter.",
        "SPARSE_FLAG_CHANGED": "Another flag of a procedure allows holes in its stream.",
    },
    "SOURCE": {
        "PROGRAM_RENAMED": "A program has another name, and the same number.",
        "PROGRAM_MOVED": "A program is defined in another file.",
        "PROCEDURE_RENAMED": "A procedure has another name, and the same number.",
        "TYPE_RENAMED": "A type has another name where it is used.",
        "TYPE_REMOVED": "A type was removed that no procedure had, or that its users no longer name.",
        "FIELD_RENAMED": "A field or a discriminant has another name, and the same position and type.",
        "ARM_RENAMED": "An arm has another name, and the same discriminant and type.",
        "MEMBER_RENAMED": "An enum member has another name, and the same number.",
        "DECLARATION_CHANGED": "Something is declared by another type that has the same bytes.",
        "CONSTANT_RENAMED": "A limit has another name, and the same number.",
        "CONSTANT_REMOVED": "A constant was removed.",
        "CONSTANT_CHANGED": "A constant that limits no type has another number.",
    },
    "ADDED": {
        "PROGRAM_ADDED": "A program is new.",
        "PROCEDURE_ADDED": "A procedure is new.",
        "TYPE_ADDED": "A type is new that no new procedure uses.",
        "MEMBER_ADDED": "An enum has one more number.",
        "CONSTANT_ADDED": "A constant is new that no new type uses.",
    },
}


#: Identifier → rule, by category.
RULES: Final[Rules] = {
    id_: FindingRule(id_, category, summary)
    for category, summaries in _SUMMARIES.items()
    for id_, summary in summaries.items()
}
