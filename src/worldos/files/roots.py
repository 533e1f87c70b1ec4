"""The root of an account on one of its devices: made once, kept in the home, wrapped for all others.

The keyring (``store.keyring``) lies in ``files/keyring`` of the home, so that a program has its root without asking anybody: the
device's own wrap of it, which the device key opens. What this device knows of it stands in a register of its own in all
stores; what the others know is read from theirs and united with it. Whoever has the root wraps it for active devices and for
the recovery key that lack it: a device that joins has its root as soon as one of the others is on.
Invariant: a root is on this disk, sealed, before it is in any store, and in a store before anything is written under it;
only what active devices say is believed without the owner. Times in seconds, moments in ns.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, wait
from contextlib import contextmanager

import msgspec

from worldos.agent.home import make_folder, open_key, read_keylog, write_durably
from worldos.depot.link import StoreLink
from worldos.errors import CorruptFile, DiskFull, NotAllowed, Unreachable, WorldError
from worldos.files.limits import ANSWER_S, FIRST_ROOT_S, KEYRING_EVERY_S, KEYRING_FAR_STEPS, ROOT_LOOK_S, ROOT_WAIT_S
from worldos.files.renewing import RENEW_TURN_STEPS, ROOTS_RENEWED_MAX, is_over, renewed
from worldos.files.stores import Stores
from worldos.home import Home
from worldos.store import keyring
from worldos.store.entry import NONCE_BYTES, Entry, check_entry, sign_entry
from worldos.store.keyring import Bequest, Keyring
from worldos.trust.actors import ActorKind, who_can_act
from worldos.trust.entries import AddDevice, Genesis, Rekey, SignedEntry, read_entry
from worldos.trust.keylog import KeyLog
from worldos.trust.keys import DeviceKey, public_of

_MAGIC = b"wos-keyring-1\n"
_SECOND_NS = 1_000_000_000


class Roots(msgspec.Struct, frozen=True, kw_only=True):
    """The roots that this device can open, the one that new things are written under first. Shows no secret."""

    account: str
    secrets: tuple[bytes, ...]

    @property
    def directory_keys(self) -> tuple[bytes, ...]:
        """The keys of the account's directory logs: nearly always one; what is new is written under the first."""
        return tuple(keyring.directory_key(secret) for secret in self.secrets)

    @property
    def chunk_key(self) -> bytes:
        """The key of chunk ids."""
        return keyring.chunk_key(self.secrets[0])

    def __repr__(self) -> str:
        """Say how many there are."""
        return f"Roots({self.account[:8]}, {len(self.secrets)})"


class Belonging(msgspec.Struct, frozen=True, kw_only=True):
    """What the key log of this home says: whose device this is, and which others there are (public keys)."""

    key: DeviceKey
    account: str
    recovery: bytes
    active: tuple[bytes, ...]
    ever: tuple[bytes, ...]
    out: tuple[bytes, ...]  # devices and words of whom the log knows, and which count no more
    pairs: tuple[tuple[bytes, bytes], ...]

    @property
    def entitled(self) -> tuple[bytes, ...]:
        """The keys that roots are wrapped for: of active devices, and the words (an account of holders has none)."""
        return (*self.active, self.recovery) if self.recovery else self.active


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """What lies in the home: the keyring, and the number of the last entry that this device wrote of it."""

    ring: Keyring = Keyring()
    seq: int = 0


class _Stored(msgspec.Struct, frozen=True, kw_only=True):
    seq: int
    body: bytes


def find_roots(home: Home, stores: Stores, *, wait_s: float = ROOT_WAIT_S) -> Roots:
    """Return the account's roots: from the home, from what other devices wrapped for this one, or made now.

    Made only where no store knows of any. Raise NotAllowed where there is one and nobody has wrapped it for this device in time.
    """
    begun_s = time.monotonic()
    here = belonging_of(home)
    while True:
        with turn(home):
            held = read_held(home, here.account)
            roots = roots_in(held.ring, here)
            if roots is not None:
                return roots
            told, answered = _read_rings(here, links_of(stores), here.active)
            ring = keyring.united(held.ring, *told.values())
            if ring != held.ring:
                held = Held(ring=ring, seq=held.seq)
                write_held(home, here.account, held.ring, held.seq)
            roots = roots_in(ring, here)
            waited_s = time.monotonic() - begun_s
            nobody = not ring.roots and (answered >= len(here.active) or waited_s > min(FIRST_ROOT_S, wait_s))
            if roots is None and nobody:
                return _make_first(home, here, links_of(stores))
        if roots is not None:
            publish(home, here, links_of(stores))
            return roots
        if waited_s > wait_s:
            raise NotAllowed(
                "this device has not got the key of your files yet",
                hint="switch on another of your devices for a moment; or, with your 24 words: wos storage unlock --words",
            )
        time.sleep(ROOT_LOOK_S)


def own_roots(home: Home) -> Roots | None:
    """Return the roots that lie in this home, without asking anybody."""
    here = belonging_of(home)
    return roots_in(read_held(home, here.account).ring, here)


def make_first(home: Home) -> None:
    """Make the root of a new account, whose only device this is: so that there is never a second one."""
    here = belonging_of(home)
    with turn(home):
        if not read_held(home, here.account).ring.roots:
            _make(home, here)


class KeyringLoop:
    """The keeper's part: takes in what other devices wrote, and wraps each root for the devices that lack it."""

    def __init__(self, home: Home, stores: Stores, renewed: Callable[[], None] = lambda: None) -> None:
        """``renewed`` is told when new things are to be written under another root than when the keeper began."""
        self._home = home
        self._stores = stores
        self._renewed = renewed
        self._began: bytes | None = None
        self._seen: tuple[object, ...] = ()
        self._steps = 0
        self._over = 0
        self._out: frozenset[bytes] = frozenset()
        self._doubted = b""

    def step(self, now_ns: int) -> int:
        """Look once; return when to look again. Mostly in this machine's own store, which has what the others have."""
        due_ns = now_ns + KEYRING_EVERY_S * _SECOND_NS
        here = belonging_of(self._home)
        links = links_of(self._stores)
        near = links_of(self._stores, here=True) if self._steps % KEYRING_FAR_STEPS else []
        self._steps += 1
        told, _ = _read_rings(here, near or links, here.active)
        with turn(self._home):
            held = read_held(self._home, here.account)
            ring = wrapped_for_all(keyring.united(held.ring, *told.values()), here)
            ring = self._with_next(ring, held.ring, here)
            if ring != held.ring:
                held = Held(ring=ring, seq=held.seq)
                write_held(self._home, here.account, held.ring, held.seq)
        nodes = tuple(store.at.node for store in self._stores.reachable() if not store.doubted)
        state = (ring, here.pairs, told.get(here.key.public) == ring, nodes)
        if ring.roots and (state != self._seen or not state[2]):
            with contextlib.suppress(Unreachable):  # it comes again
                publish(self._home, here, links)
            self._seen = state
        self._tell_if_another(ring, here)
        return due_ns

    def _with_next(self, ring: Keyring, before: Keyring, here: Belonging) -> Keyring:
        """Add the next root, when it is this device's turn, to a keyring whose newest somebody outside knows.

        Besides who it is wrapped for, whoever was put out just now may have made it: then it names only the others.
        """
        if self._out and before.newest is not None and not self._out.issuperset(here.out):
            self._doubted = before.newest.id
        self._out = frozenset((*here.out, b""))  # never empty again: the first look only learns
        newest = ring.newest
        is_known = is_over(newest, here) or (newest is not None and newest.id == self._doubted)
        self._over = self._over + 1 if is_known and len(ring.roots) < ROOTS_RENEWED_MAX else 0
        if (
            self._over <= here.active.index(here.key.public) * RENEW_TURN_STEPS
        ):  # one after the other, the first at once
            return ring
        self._over = 0
        return renewed(ring, here)

    def _tell_if_another(self, ring: Keyring, here: Belonging) -> None:
        newest = ring.newest
        if newest is None or newest.id not in keyring.open_by_key(ring, here.key):
            return
        if self._began is not None and newest.id != self._began:
            self._renewed()
        self._began = newest.id


def wrapped_for_all(ring: Keyring, here: Belonging) -> Keyring:
    """Add the wraps that active devices and the recovery key lack, of the roots that this device can open."""
    opened = keyring.open_by_key(ring, here.key)
    for root in ring.roots:
        secret = opened.get(root.id)
        if secret is None:
            continue
        missing = keyring.lacking(root, here.entitled)
        wraps = [keyring.wrap_for_key(secret, public, os.urandom(32)) for public in missing]
        ring = keyring.with_wraps(ring, secret, wraps)
    return ring


def roots_in(ring: Keyring, here: Belonging) -> Roots | None:
    """Return what this device can open of a keyring, the newest first."""
    opened = keyring.open_by_key(ring, here.key)
    ordered = sorted(ring.roots, key=lambda root: (-root.generation, root.id))
    secrets = tuple(opened[root.id] for root in ordered if root.id in opened)
    return Roots(account=here.account, secrets=secrets) if secrets else None


# -- the home -------------------------------------------------------------------------------------------------------------


def belonging_of(home: Home) -> Belonging:
    """Read whose device this is from the key log in the home; raise NotAllowed on a machine of no account."""
    try:
        about = home.keylog_file.stat()
    except OSError:
        return _belonging_at(home, ())
    return _belonging_at(home, (about.st_ino, about.st_mtime_ns, about.st_size))


@functools.lru_cache(maxsize=8)
def _belonging_at(home: Home, stamp: tuple[int, ...]) -> Belonging:
    """Check every signature of the key log once, as long as the file stays the same."""
    del stamp
    pairs = tuple((bytes(body), bytes(signature)) for body, signature in read_keylog(home))
    return _belonging(open_key(home), pairs)


def _belonging(key: DeviceKey, pairs: tuple[tuple[bytes, bytes], ...]) -> Belonging:
    log = KeyLog()
    signed = [SignedEntry(body=body, signature=signature) for body, signature in pairs]
    log.merge(signed)
    members = log.members()
    words = next((actor for actor in who_can_act(log) if actor.kind is ActorKind.RECOVERY), None)
    recovery = public_of(words.key) if words is not None else b""
    active = tuple(public_of(device.node) for device in members.active)
    return Belonging(
        key=key,
        account=log.account,
        recovery=recovery,
        active=active,
        ever=tuple(public_of(device.node) for device in members.devices),
        out=tuple(sorted(_ever_named(signed) - {*active, recovery})),
        pairs=pairs,
    )


def _ever_named(signed: Sequence[SignedEntry]) -> set[bytes]:
    """Return the keys of all devices that anybody ever admitted, rightly or not, and of all recovery words."""
    named = set()
    for entry in map(read_entry, signed):
        if isinstance(entry, AddDevice):
            named.add(public_of(entry.device))
        elif isinstance(entry, Genesis | Rekey):
            named.add(entry.recovery)
    return named


def read_held(home: Home, account: str) -> Held:
    """Read the keyring of this home; one of another account counts as none. Raise CorruptFile."""
    file = home.path / "files" / "keyring"
    try:
        data = file.read_bytes()
    except FileNotFoundError:
        return Held()
    except OSError as cause:
        raise NotAllowed(f"{file} cannot be read", hint=f"it must be a file of yours: ls -l {file}") from cause
    try:
        if not data.startswith(_MAGIC):
            raise msgspec.DecodeError("it does not begin as it should")
        stored = msgspec.msgpack.decode(data[len(_MAGIC) :], type=_Stored)
        return Held(ring=keyring.decode_keyring(stored.body, account), seq=stored.seq)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, WorldError) as cause:
        hint = f"move it away: mv {file} {file}.damaged; another of your devices, or wos storage unlock, brings it back"
        raise CorruptFile(f"{file} is damaged", hint=hint) from cause


def write_held(home: Home, account: str, ring: Keyring, seq: int) -> None:
    """Write the keyring of this home durably."""
    body = keyring.encode_keyring(ring, account, os.urandom(NONCE_BYTES))
    make_folder(home.path / "files")
    write_durably(home.path / "files" / "keyring", _MAGIC + msgspec.msgpack.encode(_Stored(seq=seq, body=body)))


@contextmanager
def turn(home: Home) -> Iterator[None]:
    """Take turns with the other programs of this home that change the keyring."""
    make_folder(home.path / "files")
    try:
        lock = os.open(home.path / "files" / "keyring.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as cause:
        raise DiskFull(f"{home.path}/files cannot be written") from cause
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


# -- stores ---------------------------------------------------------------------------------------------------------------


def links_of(stores: Stores, *, here: bool = False) -> list[StoreLink]:
    """Return the links to those stores that answer, or to all that can be reached where none is known to.

    ``here``: to that of this machine alone.
    """
    found = [store for store in stores.reachable() if store.at.here or not here]
    links = []
    for store in [store for store in found if not store.doubted] or found:
        with contextlib.suppress(WorldError):  # it hung up just now
            links.append(store.link())
    return links


def last_entries(links: Sequence[StoreLink], logs: Sequence[bytes]) -> tuple[list[Entry], int]:
    """Return what stores have as the last of these registers, every signature right, and how many stores answered."""
    asked: list[Future[tuple[Entry, ...]]] = [link.last(logs) for link in links]
    done, late = wait(asked, ANSWER_S if len(asked) == 1 else ANSWER_S / 4)
    for future in late:
        future.cancel()
    entries, answered = [], 0
    for future in asked:
        if future not in done or future.cancelled() or future.exception() is not None:
            continue
        answered += 1
        for entry in future.result():
            with contextlib.suppress(WorldError):  # a store that lies is one store less
                check_entry(entry)
                entries.append(entry)
    return entries, answered


def append_everywhere(links: Sequence[StoreLink], entry: Entry, *, needed: int = 2) -> int:
    """Append to all of these stores; return on how many it is, and raise what one said if it is on none."""
    asked = [link.append((entry,)) for link in links]
    until_s = time.monotonic() + ANSWER_S
    while True:
        kept = sum(1 for future in asked if future.done() and future.exception() is None)
        if kept >= min(needed, len(asked)) or all(future.done() for future in asked) or time.monotonic() > until_s:
            break
        wait([future for future in asked if not future.done()], 0.05)
    if not kept:
        failures = [future.exception() for future in asked if future.done()]
        raise failures[0] if failures and failures[0] is not None else Unreachable("no store can be reached")
    return kept


def _read_rings(
    here: Belonging, links: Sequence[StoreLink], publics: Sequence[bytes]
) -> tuple[dict[bytes, Keyring], int]:
    """Read what these devices wrote, by their public keys; and how many stores answered."""
    by_log = {keyring.keyring_log(here.account, public): public for public in publics}
    entries, answered = last_entries(links, tuple(by_log))
    rings: dict[bytes, Keyring] = {}
    for entry in entries:
        if by_log.get(entry.log) != entry.public or not entry.register:
            continue
        with contextlib.suppress(WorldError):  # what a device wrote in error, or newer than this one reads
            ring = keyring.decode_keyring(entry.body, here.account)
            rings[entry.public] = keyring.united(rings.get(entry.public, Keyring()), ring)
    return rings, answered


def _make(home: Home, here: Belonging) -> Held:
    held = read_held(home, here.account)
    root = os.urandom(32)
    wraps = [keyring.wrap_for_key(root, public, os.urandom(32)) for public in sorted(set(here.entitled))]
    held = Held(ring=keyring.with_wraps(held.ring, root, wraps), seq=held.seq)
    write_held(home, here.account, held.ring, held.seq)
    return held


def _make_first(home: Home, here: Belonging, links: Sequence[StoreLink]) -> Roots:
    """Make a root: on this disk first, then in stores; under the lock of the caller."""
    held = _make(home, here)
    _write_registers(home, here, held, links)
    roots = roots_in(held.ring, here)
    assert roots is not None, "a root that was wrapped for this device opens with its key"
    return roots


def publish(home: Home, here: Belonging, links: Sequence[StoreLink]) -> None:
    """Write what this home knows of the keyring into all of these stores that do not have it."""
    with turn(home):
        _write_registers(home, here, read_held(home, here.account), links)


def _write_registers(home: Home, here: Belonging, held: Held, links: Sequence[StoreLink]) -> None:
    """Write what this device knows into its register, and what a bare machine would need into the bequest."""
    if not links:
        return
    log = keyring.keyring_log(here.account, here.key.public)
    entries, _ = last_entries(links, (log, *keyring.bequest_logs(here.account)))
    own = [entry for entry in entries if entry.log == log and entry.public == here.key.public]
    if len(own) < len(links) or any(_ring_of(entry, here.account) != held.ring for entry in own):
        seq = max([held.seq, *(entry.seq for entry in own)]) + 1
        body = keyring.encode_keyring(held.ring, here.account, os.urandom(NONCE_BYTES))
        write_held(home, here.account, held.ring, seq)
        append_everywhere(links, sign_entry(here.key, log, seq, body, register=True))
    _write_bequests(here, held.ring, entries, links)


def _write_bequests(here: Belonging, ring: Keyring, entries: Sequence[Entry], links: Sequence[StoreLink]) -> None:
    logs = keyring.bequest_logs(here.account)
    wanted = Bequest(ring=ring, keylog=tuple(sorted(here.pairs)))
    for root_id, secret in sorted(keyring.open_by_key(ring, here.key).items()):
        log, signer = logs[keyring.bequest_slot(root_id)], keyring.bequest_signer(secret)
        there = [entry for entry in entries if entry.log == log and entry.public == signer.public]
        found = []
        for entry in there:
            with contextlib.suppress(WorldError):  # what cannot be read is written anew
                found.append(keyring.decode_bequest(entry.body, here.account))
        whole = Bequest(
            ring=keyring.united(wanted.ring, *(left.ring for left in found)),
            keylog=tuple(sorted({*wanted.keylog, *(pair for left in found for pair in left.keylog)})),
        )
        if len(found) == len(links) and all(left == whole for left in found):
            continue
        seq = max([0, *(entry.seq for entry in there)]) + 1
        body = keyring.encode_bequest(whole, here.account)
        with contextlib.suppress(NotAllowed):  # the register is that of another root, which has all of this as well
            append_everywhere(links, sign_entry(signer, log, seq, body, register=True))


def _ring_of(entry: Entry, account: str) -> Keyring | None:
    try:
        return keyring.decode_keyring(entry.body, account)
    except WorldError:
        return None
