"""Blocks of grants: what they can say, and what nobody can make them say."""

from __future__ import annotations

import msgspec
import pytest

from worldos.errors import BadRequest, PeerBroke
from worldos.model.realm import Level
from worldos.model.rights import Impact, Op
from worldos.trust import cbor
from worldos.trust.block import Blast, Block, Rate, read_block, read_path, write_block
from worldos.trust.limits import GRANT_PATHS_MAX, PATH_LABELS_MAX

FULL = Block(
    parent=b"p" * 32,
    holder=b"h" * 32,
    signer=b"k" * 32,
    level=Level.HOME,
    paths=(("acme", "node", "ab", "CPU"), ("acme", "realm")),
    ops=(Op.LEASE, Op.READ),
    cls=Impact.COSTLY,
    blast=Blast(ppm=1000, count=3),
    rate=Rate(per_hour=60, burst=5),
    budget=7,
    not_before_s=100,
    expires_s=200,
    epoch=4,
    need=b"n" * 32,
    role="operator",
    salt=b"s" * 16,
)
FIELDS = cbor.decode(write_block(FULL))


def changed(**fields: object) -> bytes:
    assert isinstance(FIELDS, dict)
    return cbor.encode({**FIELDS, **fields})  # type: ignore[dict-item]


def test_a_block_is_read_as_it_was_written() -> None:
    assert read_block(write_block(FULL)).block == FULL


def test_what_is_not_limited_is_not_written() -> None:
    bare = Block(parent=b"p" * 32, holder=b"h" * 32, expires_s=1)
    assert cbor.decode(write_block(bare)) == {"p": b"p" * 32, "h": b"h" * 32, "exp": 1}


@pytest.mark.parametrize(
    "fields",
    [
        {"x": 1},
        {"lvl": 6},
        {"lvl": -1},
        {"lvl": True},
        {"lvl": None},
        {"cls": 5},
        {"ops": ["lease", "fly"]},
        {"ops": ["read", "lease"]},
        {"ops": ["lease", "lease"]},
        {"ops": "lease"},
        {"res": [["a/b"]]},
        {"res": [[".."]]},
        {"res": [["."]]},
        {"res": [[".hidden"]]},
        {"res": [[""]]},
        {"res": [["a\n"]]},
        {"res": [["a\0"]]},
        {"res": [["сpu"]]},  # noqa: RUF001 a Cyrillic letter that looks like a c
        {"res": [["ｃpu"]]},  # noqa: RUF001 a wide one
        {"res": [["b"], ["a"]]},
        {"res": ["a"]},
        {"res": [["a"]] * 2},
        {"res": [[str(number)] for number in range(10, 11 + GRANT_PATHS_MAX)]},
        {"res": [["a"] * (PATH_LABELS_MAX + 1)]},
        {"p": b"p" * 31},
        {"h": "h" * 32},
        {"h": b"h" * 33},
        {"exp": 1 << 62},
        {"exp": 100},
        {"nbf": -1},
        {"n": b"s" * 17},
        {"need": b""},
        {"blast": {"ppm": 1_000_001, "count": 1}},
        {"blast": {"ppm": 1}},
        {"rate": {"per_hour": 1, "burst": 1, "x": 1}},
        {"budget": -1},
        {"role": "over\nseer"},
    ],
)
def test_anything_else_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises(PeerBroke):
        read_block(changed(**fields))


@pytest.mark.parametrize("missing", ["p", "h", "exp"])
def test_a_block_without_parent_holder_or_end_is_refused(missing: str) -> None:
    assert isinstance(FIELDS, dict)
    with pytest.raises(PeerBroke):
        read_block(cbor.encode({name: value for name, value in FIELDS.items() if name != missing}))


@pytest.mark.parametrize("value", [[], 1, "x", None, {1: 2}])
def test_what_is_no_map_of_names_is_refused(value: cbor.Value) -> None:
    with pytest.raises(PeerBroke):
        read_block(cbor.encode(value))


def test_what_could_not_be_read_is_not_written() -> None:
    with pytest.raises(BadRequest):
        write_block(msgspec.structs.replace(FULL, paths=(("a", ".."),)))


@pytest.mark.parametrize("labels", [["a", ".."], ["a/b"], [""], ["x" * 65], ["a"] * (PATH_LABELS_MAX + 1)])
def test_a_path_of_other_labels_is_a_bad_request(labels: list[str]) -> None:
    assert read_path(["a", "b-c", "0.1"]) == ("a", "b-c", "0.1")
    with pytest.raises(BadRequest):
        read_path(labels)
