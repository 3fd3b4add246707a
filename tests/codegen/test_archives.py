"""Archives: the members that are read, and the memory that hostile archives use."""

from __future__ import annotations

import gzip
import io
import lzma
import os
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

import pytest

from libvirt_proto_codegen import archives, source_tree
from libvirt_proto_codegen.archives import ArchiveReadError, members
from libvirt_proto_codegen.errors import DefinitionError
from libvirt_proto_codegen.source_tree import read_tree
from tests.support import memory

TEXT = b"const A = 1;\n"
END = bytes(1024)


def block(data: bytes) -> bytes:
    return data + bytes(-len(data) % 512)


def header(name: str, size: int, type_: bytes = tarfile.REGTYPE) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.type = size, type_
    return info.tobuf(tarfile.GNU_FORMAT)


def member(name: str, data: bytes = TEXT, type_: bytes = tarfile.REGTYPE) -> bytes:
    return header(name, len(data), type_) + block(data)


def record(key: str, value: bytes) -> bytes:
    """A pax record, prefixed with its length."""
    rest = b" " + key.encode() + b"=" + value + b"\n"
    size = len(rest)
    while len(str(size)) + len(rest) != size:
        size = len(str(size)) + len(rest)
    return str(size).encode() + rest


def extended(data: bytes, type_: bytes = tarfile.XHDTYPE) -> bytes:
    return member("././@PaxHeader", data, type_)


def read(path: Path, data: bytes) -> dict[str, bytes]:
    path.write_bytes(data)
    return {str(one.path): one.read() for one in members(path, 2**20)}


# Members


@pytest.mark.parametrize("format_", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("length", [1, 99, 100, 101, 155, 200])
def test_reads_names_of_every_length_in_every_format(tmp_path: Path, format_: int, length: int) -> None:
    folder = "d" * (length // 2) + "/" if length > 1 else ""
    name = folder + "f" * (length - len(folder))
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w", format=format_) as archive:
        for each in (name, "é_protocol.x", "last"):
            info = tarfile.TarInfo(each)
            info.size = len(TEXT)
            archive.addfile(info, io.BytesIO(TEXT))
    assert read(path, path.read_bytes()) == dict.fromkeys((name, "é_protocol.x", "last"), TEXT)


def test_reads_only_regular_files(tmp_path: Path) -> None:
    """A link's size is that of its target; no data follows its header."""
    others = (
        tarfile.DIRTYPE, tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE
    )  # fmt: skip
    data = b"".join(header("b_protocol.x", 4096, type_) for type_ in others)
    assert read(tmp_path / "a.tar", data + member("a_protocol.x") + END) == {"a_protocol.x": TEXT}


def test_pax_header_overrides_size(tmp_path: Path) -> None:
    head = extended(record("path", b"long_protocol.x") + record("size", str(len(TEXT)).encode()))
    data = head + header("short", 0) + block(TEXT) + member("b") + END
    assert read(tmp_path / "a.tar", data) == {"long_protocol.x": TEXT, "b": TEXT}


def test_skips_member_of_unknown_type_with_its_data(tmp_path: Path) -> None:
    assert read(tmp_path / "a.tar", member("a", type_=b"Z") + member("b") + END) == {"b": TEXT}


def test_reads_concatenated_xz_streams(tmp_path: Path) -> None:
    """pixz and `cat a.xz b.xz` write such files, with padding between the streams."""
    data = member("a") + member("b") + END
    packed = lzma.compress(data[:700]) + bytes(8) + lzma.compress(data[700:]) + bytes(70_000)
    assert read(tmp_path / "a.tar.xz", packed) == {"a": TEXT, "b": TEXT}


@pytest.mark.parametrize("kept", [*range(1, 512 * 4 + 1024, 200), 512 * 4])
def test_rejects_truncated_tar(tmp_path: Path, kept: int) -> None:
    whole = member("a") + member("b") + bytes(512)
    if kept < len(whole):
        with pytest.raises(ArchiveReadError, match="truncated"):
            read(tmp_path / "a.tar", whole[:kept])


def test_rejects_damaged_header_between_members(tmp_path: Path) -> None:
    with pytest.raises(ArchiveReadError, match="checksum"):
        read(tmp_path / "a.tar", member("a") + member("b").replace(b"ustar", b"usta_") + END)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (header("a", -512), "negative size"),
        (header("a", -5, tarfile.GNUTYPE_LONGNAME), "got -5"),
        (extended(b"8 path=a\n"), "damaged pax header"),
        (extended(b"99 path=a\n"), "damaged pax header"),
        (extended(b"0 path=a\n"), "damaged pax header"),
        (extended(b"x path=a\n"), "damaged pax header"),
        (extended(b"99999999999 path=a\n"), "damaged pax header"),
        (extended(record("size", b"-1")), "damaged pax header"),
        (extended(record("size", b"9" * 21)), "damaged pax header"),
        (extended(record("size", b"9" * 20)) + header("a", 0), "truncated"),
        (extended(record("GNU.sparse.major", b"1")), "sparse files"),
        (extended(record("path", b"a/" * 2049)) + member("a"), "expected a path of"),
        (header("a", 1 << 40), "truncated"),
    ],
)
def test_rejects_invalid_numbers(tmp_path: Path, data: bytes, words: str) -> None:
    path = tmp_path / "a.tar"
    path.write_bytes(data + END)
    with pytest.raises(ArchiveReadError, match=words):
        list(members(path, 2**20))


def test_rejects_gnu_sparse_member(tmp_path: Path) -> None:
    with pytest.raises(ArchiveReadError, match="sparse"):
        read(tmp_path / "a.tar", member("a_protocol.x", type_=tarfile.GNUTYPE_SPARSE) + END)


def zipped(path: Path, method: int = zipfile.ZIP_DEFLATED, mode: int = 0o100644) -> Path:
    info = zipfile.ZipInfo("libvirt/a_protocol.x")
    info.external_attr, info.compress_type = mode << 16, method
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(info, TEXT)
    return path


def patched(folder: Path, offset: int, field: bytes) -> Path:
    """A zip archive with another field at an offset in the only entry of its directory (APPNOTE 4.3.12)."""
    path = zipped(folder / "patched.zip")
    data = path.read_bytes()
    at = data.index(b"PK\1\2") + offset
    path.write_bytes(data[:at] + field + data[at + len(field) :])
    return path


def test_skips_links_in_zip_archive(tmp_path: Path) -> None:
    assert list(members(zipped(tmp_path / "a.zip", mode=0o120777), 2**20)) == []
    assert [one.path for one in members(zipped(tmp_path / "b.zip", mode=0), 2**20)] == [
        PurePosixPath("libvirt/a_protocol.x")
    ]


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_rejects_zip_methods_with_unbounded_memory(tmp_path: Path, method: int) -> None:
    with pytest.raises(DefinitionError, match="stored or deflated"):
        read_tree(zipped(tmp_path / "a.zip", method))


def test_rejects_zip_member_larger_than_declared(tmp_path: Path) -> None:
    with pytest.raises(DefinitionError, match="Bad CRC-32"):
        read_tree(false_zip(tmp_path, 1))


@pytest.mark.parametrize(
    ("bits", "words"),
    [
        (1 << 0, r"'libvirt/a_protocol\.x' is encrypted: make the archive without a password"),
        (1 << 6, r"'libvirt/a_protocol\.x' is encrypted: make the archive without a password"),
        (1 << 5, r"'libvirt/a_protocol\.x' is a patch"),
    ],
)
def test_rejects_zip_members_that_cannot_be_unpacked(tmp_path: Path, bits: int, words: str) -> None:
    with pytest.raises(DefinitionError, match=words):
        read_tree(patched(tmp_path, 8, struct.pack("<H", bits)))


def test_rejects_zip_of_unknown_version(tmp_path: Path) -> None:
    with pytest.raises(DefinitionError, match=r"unsupported zip file version 9\.9"):
        read_tree(patched(tmp_path, 6, struct.pack("<H", 99)))


def test_rejects_zip_with_invalid_names(tmp_path: Path) -> None:
    """In the directory, and in a member's own header, which both state that the name is UTF-8."""
    words = "expected the name of a member in UTF-8"
    path = patched(tmp_path, 8, struct.pack("<H", 1 << 11))
    path.write_bytes(path.read_bytes().replace(b"a_protocol.x", b"\xff_protocol.x"))
    with pytest.raises(DefinitionError, match=words):
        read_tree(path)
    whole = zipped(tmp_path / "b.zip").read_bytes()
    path.write_bytes(whole[:6] + struct.pack("<H", 1 << 11) + whole[8:].replace(b"a_pro", b"\xff_pro", 1))
    with pytest.raises(DefinitionError, match=words):
        read_tree(path)


def test_zip_member_may_have_no_name(tmp_path: Path) -> None:
    info = zipfile.ZipInfo("")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(info, TEXT)
    assert [one.read() for one in members(tmp_path / "a.zip", 2**20)] == [TEXT]


# Folders


def test_skips_fifos_and_huge_files_in_folder(tmp_path: Path) -> None:
    (tmp_path / "a_protocol.x").write_bytes(TEXT)
    os.mkfifo(tmp_path / "b_protocol.x")
    os.mkfifo(tmp_path / "b.h")
    with (tmp_path / "c.h").open("wb") as file:
        file.truncate(1 << 40)
    assert read_tree(tmp_path).definitions == {PurePosixPath("a_protocol.x"): TEXT}
    assert read_tree(tmp_path).headers == {}
    with (tmp_path / "d_protocol.x").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(DefinitionError, match=r"d_protocol\.x is larger than"):
        read_tree(tmp_path)


def test_rejects_fifo_as_source(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "libvirt-1.2.3.tar")
    with pytest.raises(DefinitionError, match="not a regular file"):
        read_tree(tmp_path / "libvirt-1.2.3.tar")


def test_equal_files_share_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_tree, "MAX_KEPT", 3 * 1100)
    for name in "abc":
        (tmp_path / f"{name}_protocol.x").write_bytes(b"x" * 100)
    contents = list(read_tree(tmp_path).definitions.values())
    assert contents[0] is contents[1] is contents[2]
    (tmp_path / "d_protocol.x").write_bytes(b"y" * 100)
    with pytest.raises(DefinitionError, match="bytes of definitions and headers"):
        read_tree(tmp_path)


# Memory

MIB = 2**20


def zeros(count: int) -> Iterator[bytes]:
    return (bytes(MIB) for _ in range(count))


def false_zip(at: Path, mebibytes: int = 300) -> Path:
    """A zip archive whose definition claims a size of 100 bytes."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    data = b"".join(packer.compress(piece) for piece in zeros(mebibytes)) + packer.flush()
    name = b"libvirt-1.2.3/a_protocol.x"
    sizes = 0, len(data), 100, len(name), 0
    local = struct.pack("<4s5H3I2H", b"PK\3\4", 20, 0, 8, 0, 0, *sizes) + name + data
    central = struct.pack("<4s6H3I5H2I", b"PK\1\2", 20, 20, 0, 8, 0, 0, *sizes, 0, 0, 0, 0, 0) + name
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 1, 1, len(central), len(local), 0)
    path = at / "false.zip"
    path.write_bytes(local + central + end)
    return path


def zip_directory(at: Path) -> Path:
    """A central directory with the maximum number of entries."""
    path = at / "directory.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(60_000):
            archive.writestr(f"{number}", b"")
    return path


def large_header(type_: bytes) -> Callable[[Path], Path]:
    def make(at: Path) -> Path:
        path = at / "header.tar.gz"
        size = 300 * MIB
        path.write_bytes(
            gzip.compress(header("x", size, type_) + b"%d comment=" % size) + gzip.compress(b"a" * MIB) * 300
        )
        return path

    return make


def many_headers(at: Path) -> Path:
    """Global headers, each with a different key."""
    path = at / "global.tar.gz"
    with gzip.open(path, "wb", 9) as file:
        for number in range(4000):
            file.write(extended(record(f"key{number}", b"a" * 64_000), tarfile.XGLTYPE))
            file.write(member("b"))
        file.write(member("libvirt-1.2.3/a_protocol.x") + END)
    return path


def sparse_map(at: Path) -> Path:
    """A sparse file's map, with one more block after each header."""
    path = at / "sparse.tar.gz"
    first = bytearray(header("a_protocol.x", 0, tarfile.GNUTYPE_SPARSE))
    first[482] = 1
    first[148:156] = b"%06o\0 " % (sum(first[:148]) + sum(first[156:512]) + 8 * 32)
    more = b"00000000001\0" * 42 + b"\1" + bytes(7)
    with gzip.open(path, "wb", 9) as file:
        file.write(first)
        for _ in range(100):
            file.write(more * (MIB // 512))
    return path


def many_members(at: Path) -> Path:
    """The maximum number of small definitions, each with a long path and a long header."""
    path = at / "members.tar.gz"
    with gzip.open(path, "wb", 1) as file:
        for number in range(14_000):
            file.write(extended(record("path", b"%d/%b/a_protocol.x" % (number, b"b" * 3000))))
            file.write(member("a"))
        file.write(END)
    return path


def many_headers_of_c(at: Path) -> Path:
    """C headers whose text needs four bytes per character."""
    path = at / "c.tar.xz"
    with lzma.open(path, "wb", preset=0) as file:
        for number in range(60):
            file.write(member(f"{number}.h", "\U0001f600".encode() + b"%d" % number + bytes(MIB - 10)))
        file.write(member("a_protocol.x") + END)
    return path


def xz_window(at: Path) -> Path:
    """An xz block header that requests a window of 4 GiB (xz-file-format.txt, 3.1 and 5.3.1)."""
    path = at / "window.tar.xz"
    data = bytearray(lzma.compress(member("a_protocol.x") + END))
    size = (data[12] + 1) * 4
    at_size = data.index(b"\x21\x01", 12) + 2
    data[at_size] = 40
    data[12 + size - 4 : 12 + size] = struct.pack("<I", zlib.crc32(data[12 : 12 + size - 4]))
    path.write_bytes(data)
    return path


def dense(fields: int, first: int = 0) -> bytes:
    return b"struct s {" + b"".join(b"int a%d;" % number for number in range(first, first + fields)) + b"};"


def dense_files(at: Path) -> Path:
    for number in range(12):
        text = dense(33_000).replace(b"struct s", b"struct s%d" % number)
        (at / f"a{number}_protocol.x").write_bytes(text)
    return at


def lines_of_nothing(at: Path) -> Path:
    (at / "a_protocol.x").write_bytes(b"%\n" * (MIB // 2))
    return at


def comments_without_end(at: Path) -> Path:
    (at / "a_protocol.x").write_bytes(b"/* " * (MIB // 3))
    return at


def dense_releases(at: Path) -> Path:
    """Releases without any common text."""
    for number in range(11):
        (at / f"1.{number}.0").mkdir()
        (at / f"1.{number}.0" / "a_protocol.x").write_bytes(dense(5000, 5000 * number))
    return at


HOSTILE: dict[str, tuple[Callable[[Path], Path], str]] = {
    "sizes of a zip archive": (false_zip, "Bad CRC-32"),
    "zip directory": (zip_directory, "no *protocol.x"),
    "pax header": (
        large_header(tarfile.XHDTYPE),
        "expected an extended header of at most 65,536 bytes, got 314,572,800",
    ),
    "long name": (large_header(tarfile.GNUTYPE_LONGNAME), "got 314,572,800"),
    "global headers": (many_headers, ""),
    "sparse map": (sparse_map, "sparse"),
    "members": (many_members, "bytes of definitions and headers"),
    "headers of C": (many_headers_of_c, "bytes of definitions and headers"),
    "xz window": (xz_window, "xz needs more than 70 MiB to unpack it"),
    "dense definitions": (dense_files, "the definitions of a release have more than 50,000 words"),
    "lines of nothing": (lines_of_nothing, "more than 50,000 words"),
    "comments without end": (comments_without_end, "unclosed comment"),
    "dense releases": (dense_releases, "the history has more than 50,000 changes"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_sources_use_bounded_memory(tmp_path: Path, name: str) -> None:
    make, words = HOSTILE[name]
    source = make(tmp_path)
    release = [] if name == "dense releases" else ["--release", "1.2.3"]
    done = memory.run("import", source, *release, "-o", tmp_path / "out")
    assert done.peak < memory.LIMIT
    assert done.code == (1 if words else 0), done.errors
    assert words in done.errors


@pytest.mark.parametrize("preset", [6, 9])
def test_reads_archives_of_every_xz_preset(tmp_path: Path, preset: int) -> None:
    (tmp_path / "a.tar.xz").write_bytes(lzma.compress(member("a_protocol.x") + END, preset=preset))
    done = memory.run("import", tmp_path / "a.tar.xz", "--release", "1.2.3", "-o", tmp_path / "out")
    assert done.code == 0
    assert done.peak < memory.LIMIT


def test_all_releases_use_bounded_memory(shared: Path, tmp_path: Path) -> None:
    done = memory.run("import", shared / "libvirt" / "all-releases.tar.xz", "-o", tmp_path)
    assert done.code == 0, done.errors
    assert done.peak < memory.LIMIT * 0.6


def test_unpacked_size_is_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MAX_UNPACKED", 10**6)
    path = tmp_path / "a.tar"
    path.write_bytes(member("zeros", bytes(2 * 10**6)) + END)
    with pytest.raises(ArchiveReadError, match="unpacks to more than 1,000,000 bytes"):
        list(members(path, 2**20))
