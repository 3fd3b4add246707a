"""Types and constants of C's headers that rpcgen's users write without a definition.

The types are those for which libtirpc and the BSDs have XDR functions (`xdr_u_int`, `xdr_int8_t`, …;
rpc/xdr.h, rpc/types.h). Most constants are those of rpc/auth.h and rpc/xdr.h. A definition in a file takes
precedence.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from .model import Builtin, Declaration, Literal, Shape, StructBody, StructDef, TypedefDef
from .schema import External
from .source import Span

_HEADERS: Final[Mapping[Builtin, str]] = {
    Builtin.CHAR: "int8_t",
    Builtin.UNSIGNED_CHAR: "u_char uint8_t u_int8_t",
    Builtin.SHORT: "int16_t",
    Builtin.UNSIGNED_SHORT: "u_short ushort uint16_t u_int16_t",
    Builtin.INT: "int32_t rpc_inline_t",
    Builtin.UNSIGNED_INT: "u_int uint uint32_t u_int32_t rpcprog_t rpcvers_t rpcproc_t rpcprot_t rpcport_t",
    Builtin.UNSIGNED_LONG: "u_long ulong",
    Builtin.HYPER: "int64_t quad_t longlong_t",
    Builtin.UNSIGNED_HYPER: "uint64_t u_int64_t u_quad_t u_longlong_t",
    Builtin.BOOL: "bool_t",
}
_BUILTINS: Final = {name: builtin for builtin, names in _HEADERS.items() for name in names.split()}
#: Names of all types.
TYPES: Final = (*_BUILTINS, "netobj", "des_block", "netbuf", "opaque_auth")
_MAX_AUTH_BYTES: Final = 400
_MAX_NETOBJ_SIZE: Final = 1024

#: Types that C code has, and no XDR function: what a typedef for them would be.
_HINTS: Final[Mapping[Builtin, str]] = {
    Builtin.BOOL: "boolean boolean_t _Bool",
    Builtin.UNSIGNED_CHAR: "byte uchar uint8 u8 __u8",
    Builtin.INT: "int32 i32 s32 __s32 pid_t key_t enum_t ssize32_t",
    Builtin.UNSIGNED_INT: "uint32 u32 __u32 uid_t gid_t mode_t in_addr_t socklen_t nlink_t useconds_t",
    Builtin.SHORT: "int16 s16 __s16",
    Builtin.UNSIGNED_SHORT: "uint16 u16 __u16 in_port_t sa_family_t",
    Builtin.HYPER: "int64 i64 s64 __s64 off_t off64_t time_t ssize_t suseconds_t blkcnt_t intmax_t clock_t",
    Builtin.UNSIGNED_HYPER: "uint64 u64 __u64 size_t ino_t dev_t uintmax_t blksize_t rlim_t",
}
_SUGGESTED: Final = {name: builtin for builtin, names in _HINTS.items() for name in names.split()}

#: By name; externals.toml and --define take precedence.
CONSTANTS: Final[Mapping[str, External]] = {
    name: External(name, value, header)
    for header, values in {
        "rpc/auth.h": {
            "AUTH_NONE": 0,
            "AUTH_NULL": 0,
            "AUTH_SYS": 1,
            "AUTH_UNIX": 1,
            "AUTH_SHORT": 2,
            "AUTH_DH": 3,
            "AUTH_DES": 3,
            "AUTH_KERB": 4,
            "RPCSEC_GSS": 6,
            "MAX_AUTH_BYTES": _MAX_AUTH_BYTES,
            "MAXNETNAMELEN": 255,
        },
        "rpc/xdr.h": {"MAX_NETOBJ_SZ": _MAX_NETOBJ_SIZE},
        "linux/un.h": {"UNIX_PATH_MAX": 108},
    }.items()
    for name, value in values.items()
}


def definition(name: str, span: Span) -> TypedefDef | StructDef | None:
    """Return the definition of a type of C's headers, at the place of its first use."""

    def opaque(name: str, shape: Shape, size: int | None) -> Declaration:
        limit = None if size is None else Literal(size, str(size), span=span)
        return Declaration(name, Builtin.OPAQUE, shape, limit, span=span)

    def struct(*fields: Declaration) -> StructDef:
        return StructDef(name, StructBody(fields, span=span), span=span)

    def typedef(declaration: Declaration) -> TypedefDef:
        return TypedefDef(declaration, span=span)

    match name:
        case "netobj":  # xdr_netobj()
            return typedef(opaque(name, Shape.VARIABLE, _MAX_NETOBJ_SIZE))
        case "des_block":  # xdr_des_block()
            return typedef(opaque(name, Shape.FIXED, 8))
        case "netbuf":  # xdr_netbuf()
            maximum = Declaration("maxlen", Builtin.UNSIGNED_INT, span=span)
            return struct(maximum, opaque("buf", Shape.VARIABLE, None))
        case "opaque_auth":  # xdr_opaque_auth(), RFC 5531 §8.2
            flavor = Declaration("oa_flavor", Builtin.INT, span=span)
            return struct(flavor, opaque("oa_base", Shape.VARIABLE, _MAX_AUTH_BYTES))
        case _ if name in _BUILTINS:
            return typedef(Declaration(name, _BUILTINS[name], span=span))
        case _:
            return None


def suggestion(name: str) -> str | None:
    """Return a typedef that would supply a type of C without an XDR function; None for other names."""
    builtin = _SUGGESTED.get(name)
    return builtin and f"add 'typedef {builtin.value} {name};' if that is what the peer sends"
