"""Dynamic symbols of ELF files, also compared with pyelftools."""

from __future__ import annotations

import io
import struct

import msgspec._core
import pytest
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from libvirt_proto.codec.elf import MAX_SIZE, SHF_COMPRESSED, ElfError, ElfFile
from libvirt_proto.codec.elfsymbols import MAX_NAME, Symbols, symbols_of
from tests.support.elf import claim, elf, elf_with, with_symbols

#: Index of the section .dynsym in `with_symbols`.
DYNSYM = 2


def symbols(data: bytes) -> Symbols:
    return symbols_of(ElfFile(io.BytesIO(data)))


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("big", [False, True])
def test_reads_defined_symbols_and_versions(bits: int, big: bool) -> None:
    data = with_symbols(["a", "xdr_b"], ["LIBVIRT_9.0.0"], undefined=["puts"], bits=bits, big=big)
    assert symbols(data) == ({"a", "xdr_b"}, {"LIBVIRT_9.0.0"})


def test_agrees_with_pyelftools() -> None:
    with open(msgspec._core.__file__, "rb") as file:
        table = ELFFile(file).get_section_by_name(".dynsym")
        assert isinstance(table, SymbolTableSection)
        expected = {each.name for each in table.iter_symbols() if each["st_shndx"] != "SHN_UNDEF"}
        exported = symbols_of(ElfFile(file)).exported
    assert exported == expected
    assert "PyInit__core" in exported


def test_file_without_dynamic_symbols_has_none() -> None:
    assert symbols(elf([])) == (frozenset(), frozenset())


def test_text_is_no_version_without_a_table_of_versions() -> None:
    assert symbols(elf_with({".dynstr": b"\0LIBVIRT_9.0.0\0"})).versions == frozenset()


def test_long_name_is_cut() -> None:
    assert symbols(with_symbols(["x" * 300], [])).exported == {"x" * MAX_NAME}


def test_name_outside_its_table_is_empty() -> None:
    table = struct.pack("<IBBHQQ", 99, 18, 0, 1, 0, 0)
    assert symbols(elf_with({".dynstr": b"\0a\0", ".dynsym": table})).exported == {""}


def test_compressed_table_is_not_read() -> None:
    data = claim(with_symbols(["a"], []), DYNSYM, sh_flags=SHF_COMPRESSED)
    assert symbols(data).exported == frozenset()


@pytest.mark.parametrize(
    ("size", "said"), [(MAX_SIZE + 1, "expected at most 1,048,576 bytes"), (MAX_SIZE, "would end at byte")]
)
def test_rejects_false_size(size: int, said: str) -> None:
    with pytest.raises(ElfError, match=said):
        symbols(claim(with_symbols(["a"], []), DYNSYM, sh_size=size))
