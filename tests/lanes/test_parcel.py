"""Parcels of files: what is in them lands inside, or nowhere."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest

from worldos.errors import BadRequest, PeerBroke, WorldError
from worldos.lanes import parcel


def stream(*members: tarfile.TarInfo) -> list[bytes]:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for member in members:
            tar.addfile(member, io.BytesIO(b"x" * member.size))
    data = out.getvalue()
    return [data[i : i + 1000] for i in range(0, len(data), 1000)]


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type = kind
    info.linkname = link
    info.size = 3 if kind == tarfile.REGTYPE else 0
    return info


def unpack(folder: Path, chunks: list[bytes]) -> list[str]:
    waiting = iter([*chunks, b""])
    return parcel.unpack(folder, lambda: next(waiting))


def digest(chunks: list[bytes]) -> bytes:
    waiting = iter([*chunks, b""])
    return parcel.digest(lambda: next(waiting))


def test_a_digest_is_of_what_is_unpacked_and_of_nothing_that_is_there_twice() -> None:
    """Who asks for a name by its letters and who unpacks would see different files under one digest."""
    assert digest(stream(member("a"), member("b"))) == digest(stream(member("b"), member("./a")))
    assert digest(stream(member("a"))) != digest(stream(member("b")))
    for other in ("a", "./a"):
        with pytest.raises(BadRequest, match="twice"):
            digest(stream(member("a"), member("b"), member(other)))


def test_what_is_packed_is_unpacked(tmp_path: Path) -> None:
    source, target = tmp_path / "a", tmp_path / "b"
    (source / "folder" / "empty").mkdir(parents=True)
    (source / "folder" / "big").write_bytes(os.urandom(1_000_000))
    (source / "folder" / "link").symlink_to("big")
    (source / "program").write_text("#!/bin/sh\n")
    (source / "program").chmod(0o755)
    target.mkdir()
    chunks: list[bytes] = []
    assert parcel.pack(parcel.inputs([source], source), chunks.append) == 5
    assert max(len(c) for c in chunks) <= parcel.CHUNK_BYTES
    unpack(target, chunks)
    assert (target / "folder" / "big").read_bytes() == (source / "folder" / "big").read_bytes()
    assert (target / "folder" / "link").readlink() == Path("big")
    assert (target / "folder" / "empty").is_dir()
    assert os.access(target / "program", os.X_OK)


@pytest.mark.parametrize(
    "bad",
    [
        member("/etc/passwd"),
        member("../outside"),
        member("a/../../outside"),
        member("device", tarfile.CHRTYPE),
        member("pipe", tarfile.FIFOTYPE),
        member("link", tarfile.SYMTYPE, "/etc/passwd"),
        member("link", tarfile.SYMTYPE, "../../outside"),
        member("hard", tarfile.LNKTYPE, "../outside"),
    ],
    ids=lambda m: f"{m.name}-{m.type!r}",
)
def test_what_would_land_outside_is_refused(tmp_path: Path, bad: tarfile.TarInfo) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    with pytest.raises(BadRequest):
        unpack(inside, stream(member("good"), bad))
    assert [p.name for p in tmp_path.iterdir()] == ["inside"]
    assert [p.name for p in inside.iterdir()] == ["good"]
    with pytest.raises(BadRequest):
        digest(stream(member("good"), bad))


def test_a_link_out_is_no_way_to_write_outside(tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    with pytest.raises(WorldError):
        unpack(inside, stream(member("d", tarfile.SYMTYPE, ".."), member("d/evil")))
    assert [p.name for p in tmp_path.iterdir()] == ["inside"]


@pytest.mark.parametrize("garbage", [os.urandom(5000), b"", b"\0" * 100])
def test_garbage_is_no_parcel(tmp_path: Path, garbage: bytes) -> None:
    with pytest.raises(PeerBroke):
        unpack(tmp_path, [garbage])
    with pytest.raises(PeerBroke):
        digest([garbage])
    assert not list(tmp_path.iterdir())


def test_a_parcel_cut_short_is_an_error(tmp_path: Path) -> None:
    chunks = stream(member("a"), member("b"))
    with pytest.raises(PeerBroke):
        unpack(tmp_path, [chunks[0][:700]])


def test_only_what_changed_counts(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / name).write_text(name)
    before = parcel.seen(tmp_path)
    (tmp_path / "b").write_text("longer")
    (tmp_path / "c").unlink()
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "e").touch()
    assert [name for name, _ in parcel.changed(tmp_path, before)] == ["b", "d/e"]


LONG = "d" * 247
CHAIN = [member("/".join([LONG] * depth), tarfile.DIRTYPE) for depth in range(1, 18)]


@pytest.mark.parametrize(
    "members",
    [
        [member("d", tarfile.SYMTYPE, "."), member("d/evil")],
        [
            member("a/b", tarfile.DIRTYPE),
            member("a/b/up", tarfile.SYMTYPE, "../.."),
            member("esc", tarfile.SYMTYPE, "a/b/up/.."),
        ],
        [member("a", tarfile.DIRTYPE), member("a/out", tarfile.SYMTYPE, "../../outside")],
        [member("a/", tarfile.DIRTYPE), member("a", tarfile.SYMTYPE, "b"), member("a/evil")],
        [*CHAIN, member("/".join([LONG] * 17) + "/l", tarfile.SYMTYPE, "../" * 18 + "outside")],
        [member("here/evil")],
        [member("here", tarfile.DIRTYPE), member("here/x")],
        [member("./../outside")],
        [member("l", tarfile.SYMTYPE, "")],
        [member("hollow", tarfile.GNUTYPE_SPARSE)],
        [member("own"), member("own/under")],
    ],
    ids=lambda members: "-".join(member.name[:16] for member in members),
)
def test_no_way_of_links_and_long_names_leads_out(tmp_path: Path, members: list[tarfile.TarInfo]) -> None:
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    inside.mkdir()
    outside.mkdir()
    (inside / "here").symlink_to(outside)  # which the holder made himself
    with pytest.raises(WorldError):
        unpack(inside, stream(*members))
    assert not list(outside.iterdir())
    assert sorted(p.name for p in tmp_path.iterdir()) == ["inside", "outside"]


def test_what_was_a_link_becomes_the_file_and_what_it_led_to_stays(tmp_path: Path) -> None:
    inside, kept = tmp_path / "inside", tmp_path / "kept"
    inside.mkdir()
    kept.write_text("kept")
    (inside / "result").symlink_to(kept)
    unpack(inside, stream(member("result")))
    assert (inside / "result").read_text() == "xxx"
    assert not (inside / "result").is_symlink()
    assert kept.read_text() == "kept"


def test_no_file_gets_the_rights_of_its_owner_for_all(tmp_path: Path) -> None:
    for name, mode in (("a", 0o6777), ("b", 0o002), ("c", 0o4111)):
        info = member(name)
        info.mode = mode
        unpack(tmp_path, stream(info))
    assert [oct((tmp_path / name).stat().st_mode & 0o7777) for name in "abc"] == ["0o755", "0o600", "0o711"]


def test_a_name_takes_no_more_memory_than_a_path(tmp_path: Path) -> None:
    name = member("././@LongLink", tarfile.GNUTYPE_LONGNAME)
    name.size = 10_000_000
    with pytest.raises(PeerBroke, match="a name of 10000000 bytes"):
        unpack(tmp_path, stream(name))
