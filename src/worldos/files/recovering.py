"""Getting at the root of an account in other ways: by the 24 words, by a feature code, with the help of guardians.

A device that was taken into the account by the words alone knows no other device, and no other device may be left. What it needs
lies in the stores as a bequest (``store.keyring``), found by the account's id: the keyring, which the words open, and the key
log, whose devices' logs make up the directory. Guardians are people whose devices each keep a part: who asks sends each of
them a text, by whatever way people send texts, and each who agrees sends one back, which only the asking device can read.
Invariant: words, codes and roots are never written anywhere but sealed. Sizes in bytes, moments in ns.
"""

from __future__ import annotations

import base64
import contextlib
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

import blake3
import msgspec

from worldos.agent.home import open_key
from worldos.depot.link import StoreLink
from worldos.errors import BadRequest, Damaged, NotAllowed, Unreachable, WorldError
from worldos.files.roots import (
    Belonging,
    belonging_of,
    last_entries,
    links_of,
    publish,
    read_held,
    turn,
    write_held,
)
from worldos.files.stores import Stores
from worldos.home import Home
from worldos.store import keyring
from worldos.store.boxes import open_with_key, seal_to_key
from worldos.store.guardians import Part
from worldos.store.keyring import GuardianWrap, Keyring
from worldos.store.keys import Bytes32
from worldos.trust.entries import SignedEntry
from worldos.trust.keylog import KeyLog
from worldos.trust.keys import DeviceKey, id_of, public_of
from worldos.trust.words import seed_from_words

Pairs = tuple[tuple[bytes, bytes], ...]
_PLEA, _GIFT = "wosask1", "wosgive1"
_CHECK_BYTES = 4
_TEXT_CHARS_MAX = 4096


class Guardian(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody who keeps a part of the key; ``need`` of all of them give it back."""

    name: str
    node: str
    need: int
    since_ns: int


class Plea(msgspec.Struct, frozen=True, kw_only=True):
    """A text to send to a guardian."""

    name: str
    text: str


class _Asked(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    root_id: Bytes32
    wrap: GuardianWrap
    device: Bytes32
    device_name: str


class _Given(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    root_id: Bytes32
    box: bytes


# -- unlocking ------------------------------------------------------------------------------------------------------------


def unlock(home: Home, *, feature_code: str = "", words: str = "", answers: Sequence[str] = ()) -> str:
    """Open the root on a device that has none; return what did it. The agent of this home must run."""
    from worldos.sdk.asking import Asking  # noqa: PLC0415 - as in _agent_stores

    def learn(pairs: Pairs) -> None:
        with Asking(home, "files") as agent:
            agent.ask("learn", entries=pairs)

    with _agent_stores(home) as stores:
        return unlock_from(home, stores, learn, feature_code=feature_code, words=words, answers=answers)


def unlock_from(
    home: Home,
    stores: Stores,
    learn: Callable[[Pairs], None],
    *,
    feature_code: str = "",
    words: str = "",
    answers: Sequence[str] = (),
) -> str:
    """Open the root with what the stores have; ``learn`` is given the entries of the key log that this device lacks."""
    here = belonging_of(home)
    links = links_of(stores)
    ring, pairs = _all_that_stores_know(here, links)
    with turn(home), contextlib.suppress(Damaged):  # one that is damaged is what this brings back
        ring = keyring.united(read_held(home, here.account).ring, ring)
    if not ring.roots:
        hint = "let this machine meet a store that keeps them: wos nodes; if there never were files, just put one"
        raise Unreachable("no store that can be reached knows of your files", hint=hint)
    opened, how = _opened(ring, here, feature_code, words, answers)
    if not opened:
        raise BadRequest("that does not open the key of your files", hint="it may have been changed since")
    for secret in opened.values():
        ring = keyring.with_wraps(ring, secret, [keyring.wrap_for_key(secret, here.key.public, os.urandom(32))])
    with turn(home):
        seq = 0
        with contextlib.suppress(Damaged):
            seq = read_held(home, here.account).seq
        write_held(home, here.account, ring, seq)
    unknown = _rightful(here, pairs)
    if unknown:
        learn(unknown)
    publish(home, msgspec.structs.replace(here, pairs=(*here.pairs, *unknown)), links)
    return how


def _opened(
    ring: Keyring, here: Belonging, feature_code: str, words: str, answers: Sequence[str]
) -> tuple[dict[bytes, bytes], str]:
    if words:
        key = DeviceKey.from_seed(seed_from_words(words))
        if key.public != here.recovery:
            raise BadRequest("these words are those of another account", hint="this machine's account: wos status")
        return keyring.open_by_key(ring, key), "the 24 words opened it"
    if feature_code:
        return keyring.open_by_feature(ring, feature_code), "the feature code opened it"
    if answers:
        return _opened_by_guardians(here, answers), "the guardians opened it"
    raise BadRequest("neither words nor a code nor guardians' answers were given")


def _all_that_stores_know(here: Belonging, links: Sequence[StoreLink]) -> tuple[Keyring, Pairs]:
    """Return the union of all keyrings of this account in these stores, and the key log that was left with them."""
    own = {keyring.keyring_log(here.account, public): public for public in here.ever}
    bequests = keyring.bequest_logs(here.account)
    entries, _ = last_entries(links, (*own, *bequests))
    rings, pairs = [Keyring()], set[tuple[bytes, bytes]]()
    for entry in entries:
        with contextlib.suppress(WorldError):  # what somebody else laid there
            if entry.log in bequests:
                left = keyring.decode_bequest(entry.body, here.account)
                rings.append(left.ring)
                pairs |= set(left.keylog)
            elif own.get(entry.log) == entry.public:
                rings.append(keyring.decode_keyring(entry.body, here.account))
    return keyring.united(*rings), tuple(sorted(pairs))


def _rightful(here: Belonging, pairs: Pairs) -> Pairs:
    """Return which of these entries belong to the key log of this account and are not in it yet; none if one is false."""
    log = KeyLog()
    log.merge(SignedEntry(body=body, signature=signature) for body, signature in here.pairs)
    try:
        taken = log.merge(SignedEntry(body=body, signature=signature) for body, signature in pairs)
    except WorldError:
        return ()
    return tuple((log.entries[entry].body, log.entries[entry].signature) for entry in taken)


# -- setting the ways back ------------------------------------------------------------------------------------------------


def set_feature_code(home: Home, code: str) -> None:
    """Let this code open the account's root from now on, in the place of the one before."""
    with _agent_stores(home) as stores:
        change_ring(home, stores, lambda root, secret: _with_feature(root, secret, code))


def set_guardians(home: Home, names: Sequence[str], need: int) -> None:
    """Give the root in parts to the devices of these names, in the place of those before; none: to nobody any more."""
    from worldos.sdk.asking import Asking  # noqa: PLC0415 - as in unlock

    with Asking(home, "files") as agent:
        rows = {str(row["node"]): str(row["name"]) for row in agent.ask("nodes")}
    chosen = {public_of(node): rows[node] for node in (_node_called(rows, name) for name in names)}
    with _agent_stores(home) as stores:
        guard_by(home, stores, chosen, need, at_ns=time.time_ns())


def set_guardian_keys(home: Home, names: Mapping[bytes, str], need: int) -> None:
    """As ``set_guardians``, by public keys that need not be of this account."""
    with _agent_stores(home) as stores:
        guard_by(home, stores, names, need, at_ns=time.time_ns())


def guard_by(home: Home, stores: Stores, names: Mapping[bytes, str], need: int, *, at_ns: int = 0) -> None:
    """As ``set_guardians``, by public keys."""
    change_ring(home, stores, lambda root, secret: _with_guardians(root, secret, names, need, at_ns))


def guardians(home: Home) -> list[Guardian]:
    """Return who keeps a part of the root that is written under now."""
    here = belonging_of(home)
    newest = read_held(home, here.account).ring.newest
    wraps = [wrap for wrap in newest.wraps if isinstance(wrap, GuardianWrap)] if newest is not None else []
    return sorted(
        [Guardian(name=wrap.name, node=id_of(wrap.to), need=wrap.need, since_ns=wrap.at_ns) for wrap in wraps],
        key=lambda guardian: guardian.name,
    )


Change = Callable[[keyring.Root, bytes], keyring.Root]


def change_ring(home: Home, stores: Stores, change: Change) -> None:
    """Change each root that this device can open, and tell the stores; NotAllowed where it can open none."""
    here = belonging_of(home)
    with turn(home):
        held = read_held(home, here.account)
        opened = keyring.open_by_key(held.ring, here.key)
        if not opened:
            raise NotAllowed("this device has not got the key of your files", hint="wos storage unlock")
        changed = [change(root, opened[root.id]) for root in held.ring.roots if root.id in opened]
        ring = keyring.united(held.ring, Keyring(roots=tuple(changed)))
        write_held(home, here.account, ring, held.seq)
    publish(home, here, links_of(stores))


def _with_feature(root: keyring.Root, secret: bytes, code: str) -> keyring.Root:
    number = root.feature + 1
    wrap = keyring.wrap_for_feature(secret, code, os.urandom(32), number=number)
    return keyring.Root(id=root.id, generation=root.generation, wraps=(wrap,), feature=number)


def _with_guardians(
    root: keyring.Root, secret: bytes, names: Mapping[bytes, str], need: int, at_ns: int
) -> keyring.Root:
    number, wraps = root.guardians + 1, tuple[GuardianWrap, ...]()
    if names:
        chance = os.urandom(keyring.guardian_chance_bytes(need, len(names)))
        wraps = keyring.wrap_for_guardians(secret, names, need, chance, number=number, at_ns=at_ns)
    return keyring.Root(id=root.id, generation=root.generation, wraps=wraps, guardians=number)


def _node_called(rows: Mapping[str, str], name: str) -> str:
    found = [node for node, said in rows.items() if name in {node, said}]
    found = found or [node for node in rows if len(name) >= 4 and node.startswith(name)]
    if len(found) != 1:
        what = f"{len(found)} devices are" if found else "no device is"
        raise BadRequest(f"{what} called {name[:60]!r}", hint="wos nodes lists them")
    return found[0]


@contextlib.contextmanager
def _agent_stores(home: Home) -> Iterator[Stores]:
    """Lend the stores that the agent of this home knows."""
    from worldos.files.session import Agent  # noqa: PLC0415 - a test with depots alone does without an agent

    agent = Agent(home)
    stores = Stores(lambda: agent.stores(others=True))  # those of others may be all that is left
    try:
        yield stores
    finally:
        stores.close()
        agent.close()


# -- guardians' help ------------------------------------------------------------------------------------------------------


def plead(home: Home, stores: Stores, *, name: str = "") -> list[Plea]:
    """Return a text for each guardian: send it to them, in whatever way, and give what they answer to ``unlock``."""
    here = belonging_of(home)
    ring, _ = _all_that_stores_know(here, links_of(stores))
    newest = ring.newest
    wraps = [wrap for wrap in newest.wraps if isinstance(wrap, GuardianWrap)] if newest is not None else []
    if newest is None or not wraps:
        raise BadRequest("this account has no guardians", hint="with your 24 words: wos storage unlock --words")
    return [
        Plea(
            name=wrap.name,
            text=_written(_PLEA, _Asked(root_id=newest.id, wrap=wrap, device=here.key.public, device_name=name)),
        )
        for wrap in wraps
    ]


def asker_of(text: str) -> str:
    """Say who asks in a plea, for the guardian to compare with who they talk to: a name and six digits of its key."""
    asked = _read(_PLEA, text, _Asked)
    digits = int.from_bytes(blake3.blake3(asked.device).digest(8), "big") % 1_000_000
    return f"{asked.device_name or 'a device'}, {digits:06d}"


def give(home: Home, text: str) -> str:
    """Answer a plea as the guardian that it is for: the part, sealed to the device that asks."""
    asked = _read(_PLEA, text, _Asked)
    try:
        part = keyring.part_of(asked.wrap, asked.root_id, open_key(home))
    except Damaged as cause:
        raise BadRequest(
            "this is not for this device: another one keeps that part", hint="try your other devices"
        ) from cause
    box = seal_to_key(asked.device, msgspec.msgpack.encode(part), os.urandom(32), about=b"guardian" + asked.root_id)
    return _written(_GIFT, _Given(root_id=asked.root_id, box=box))


def _opened_by_guardians(here: Belonging, answers: Sequence[str]) -> dict[bytes, bytes]:
    parts: dict[bytes, list[Part]] = {}
    for text in answers:
        given = _read(_GIFT, text, _Given)
        try:
            plain = open_with_key(here.key, given.box, about=b"guardian" + given.root_id)
        except Damaged as cause:
            raise BadRequest("this answer is not for this device", hint="ask again from this one") from cause
        parts.setdefault(given.root_id, []).append(keyring.decoded(_part_decoder, plain))
    return {root_id: keyring.root_of_parts(found, root_id) for root_id, found in parts.items()}


_part_decoder = msgspec.msgpack.Decoder(Part)
_T = TypeVar("_T", _Asked, _Given)


def _written(prefix: str, value: _Asked | _Given) -> str:
    data = msgspec.msgpack.encode(value)
    data += blake3.blake3(data).digest(_CHECK_BYTES)
    return prefix + base64.b32encode(data).decode("ascii").lower().rstrip("=")


def _read(prefix: str, text: str, kind: type[_T]) -> _T:
    said = "".join(text[:_TEXT_CHARS_MAX].split()).lower()
    if not said.startswith(prefix):
        raise BadRequest(f"such a text begins with {prefix}")
    letters = said.removeprefix(prefix).upper()
    try:
        data = base64.b32decode(letters + "=" * (-len(letters) % 8))
        if blake3.blake3(data[:-_CHECK_BYTES]).digest(_CHECK_BYTES) != data[-_CHECK_BYTES:]:
            raise ValueError("the check does not fit")
        return msgspec.msgpack.decode(data[:-_CHECK_BYTES], type=kind)
    except (ValueError, msgspec.DecodeError, RecursionError) as cause:
        raise BadRequest("this text is cut off, or a character is wrong", hint="copy the whole of it") from cause
