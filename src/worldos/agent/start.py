"""From a home on disk to a node that can begin its next life."""

from __future__ import annotations

import os
import platform
import secrets
import shutil
import socket
import tempfile
from pathlib import Path

import msgspec

from worldos.agent import clock
from worldos.agent import home as homes
from worldos.agent.statement_store import StatementStore
from worldos.config import Home, Settings, read_settings
from worldos.drivers.measure import measure_speed
from worldos.errors import BadRequest, CorruptFile, NotAllowed, WorldError
from worldos.kernel.belonging import log_entries
from worldos.kernel.clones import read_device
from worldos.kernel.realms import RealmsAtStart
from worldos.model.ids import AccountId, NodeId
from worldos.model.limits import NAME_CHARS_MAX
from worldos.model.resource import Fact
from worldos.model.statements import Topic
from worldos.node import Node, new_node
from worldos.trust.entries import AddDevice, ClaimAccept, SharedGenesis, body_of, hash_of
from worldos.trust.keylog import KeyLog, SignedEntry, accept_claim, add_device, new_account, remove_device
from worldos.trust.keys import DeviceKey
from worldos.trust.roots import root_certificate
from worldos.trust.sayings import approve
from worldos.trust.words import seed_from_words, words_from_entropy

SPEED_SECONDS = 0.05
SPEED_AGAIN_SECONDS = 0.01  # at each later start: the first may have been a busy moment, and the best one counts
EMBEDDED_PREFIX = "wos-embedded-"


class Started(msgspec.Struct, frozen=True, kw_only=True):
    """All that an agent needs to begin."""

    home: Home
    settings: Settings
    key: DeviceKey
    node: Node
    remembered: homes.Remembered
    facts: dict[str, Fact]
    passing: bool = False
    """Whether its home ends with it."""


def make_account(home: Home, name: str) -> str:
    """Make a new account with this device as its first; return the 24 recovery words, which are kept nowhere."""
    words = words_from_entropy(secrets.token_bytes(32))
    recover_account(home, name, words)
    return words


def recover_account(
    home: Home, name: str, words: str, *, revoke_others: bool = False, saved: KeyLog | None = None
) -> AccountId:
    """Make this device one of the account that the words name, by the right of the words alone.

    ``saved`` is a copy of the account's key log: words that took the place of others do not name the account by themselves.
    """
    seed = seed_from_words(words)
    key, recovery = homes.open_key(home), DeviceKey.from_seed(seed)
    keylog = _log_of_words(home, seed, saved)
    if revoke_others:
        for device in keylog.members().active:
            if device.node != key.node_id:
                keylog.merge([remove_device(keylog, recovery, device.node)])
    known = keylog.members().get(key.node_id)
    if known is None or not keylog.is_member(key.node_id):
        _admit(keylog, recovery, key, name)
    elif known.young:
        keylog.merge([approve(keylog, recovery, key.node_id)])
    leave_files(home, keylog.account)
    homes.write_keylog(home, log_entries(keylog, keylog.entries))
    return keylog.account


def leave_files(home: Home, account: str = "") -> None:
    """Set aside what a home has of the files of the account that it is in, before it is of another; nothing is removed.

    Its keyring and its directory say nothing to devices of another ``account``; its words still open them.
    """
    files, before = home.path / "files", stored_log(home)
    if before is None or before.account == account or not files.exists():
        return
    aside = (home.path / f"files-of-{before.account[:8]}{more}" for more in ("", *(f"-{n}" for n in range(2, 1000))))
    os.rename(files, next(path for path in aside if not path.exists()))


def read_log(file: Path) -> KeyLog:
    """Return the key log in a file that ``wos account save`` wrote, every signature checked."""
    log = KeyLog()
    try:
        log.merge(SignedEntry(body=body, signature=signature) for body, signature in homes.read_keylog_from(file))
    except WorldError as cause:
        raise BadRequest(f"{file} is no key log, or a damaged one", hint="wos account save FILE writes one") from cause
    if not log.entries:
        raise BadRequest(f"there is no key log in {file}", hint="wos account save FILE writes one")
    return log


def request_of(home: Home, account: AccountId, name: str) -> ClaimAccept:
    """Let this device ask to belong to an account."""
    key = homes.open_key(home)
    return accept_claim(key, account, name, root_certificate(key), secrets.token_bytes(32))


def first_device(genesis: SharedGenesis, key: DeviceKey, name: str) -> AddDevice:
    """Write down that the holders of a new account admit its first device, for them to sign."""
    account = AccountId(hash_of(SignedEntry(body=body_of(genesis), signature=b"")))
    claim = accept_claim(key, account, name, root_certificate(key), secrets.token_bytes(32))
    return AddDevice(
        warrant=account,
        parents=(account,),
        device=claim.device,
        name=claim.name,
        root_cert=claim.root_cert,
        nonce=claim.nonce,
        acceptance=claim.signature,
    )


def _log_of_words(home: Home, seed: bytes, saved: KeyLog | None) -> KeyLog:
    """Return the key log that these words may write in: as it is here, as it was saved, or the bare beginning."""
    words, fresh, stored = DeviceKey.from_seed(seed).node_id, KeyLog(), stored_log(home)
    fresh.merge([new_account(seed)])
    for log in (stored, saved):
        if log is not None and words in log.keys:
            return log
        if log is not None and log.account == fresh.account:
            hint = "take the newer ones; or your guardians: wos account recover --guardians"
            raise NotAllowed("these words were replaced by newer ones", hint=hint)
    if stored is not None and len(stored.members().active) > 1:
        hint = "take it out first: wos leave; or check the words"
        raise NotAllowed("this machine belongs to another account with other devices", hint=hint)
    if saved is not None:
        raise NotAllowed("these words are not those of the account in this file", hint="check the words")
    return fresh


def embedded(home: Home) -> Started:
    """Begin a node that lives as long as one program: an account of its own, nothing stored that outlives it."""
    key = DeviceKey.from_seed(secrets.token_bytes(32))
    keylog = KeyLog()
    keylog.merge([new_account(secrets.token_bytes(32))])
    started = _started(home, Settings(), key, keylog, homes.Remembered(boot=1), {}, lasting=False)
    return msgspec.structs.replace(started, passing=True)


def open_home(home: Home) -> Started:
    """Read everything that is on disk, and count a new life before it begins."""
    settings = read_settings(home)
    key = homes.open_key(home)
    keylog = stored_log(home)
    if keylog is None:
        raise NotAllowed("this machine belongs to no account yet", hint="wos up makes one, wos join TICKET joins one")
    if not keylog.is_member(key.node_id):
        hint = "claim it again: wos leave, then wos join TICKET with a ticket from another device (wos invite)"
        if keylog.members().get(key.node_id) is None:
            hint = "was device.key lost? bring it back from a backup; or: wos recover, with your 24 words"
            raise NotAllowed("this machine's key is none of its account's devices", hint=hint)
        raise NotAllowed("this device was revoked by its account", hint=hint)
    remembered = homes.read_remembered(home)
    remembered.boot = 1 + (remembered.boot or _last_life_told(home, NodeId(key.node_id)))
    processor = platform.processor() + platform.release()
    before = remembered.speed_mips if remembered.speed_of == processor else 0
    again = measure_speed(SPEED_AGAIN_SECONDS if before else SPEED_SECONDS)
    remembered.speed_mips, remembered.speed_of = max(before, again), processor
    homes.write_remembered(home, remembered)
    return _started(home, settings, key, keylog, remembered, {"speed_mips": remembered.speed_mips})


def _last_life_told(home: Home, node: NodeId) -> int:
    """Return the last life that this device told of, where its own count was lost: to count anew is to look like a copy."""
    if not home.statements_file.exists():
        return 0
    store = StatementStore(home.statements_file, lambda _: None)
    try:
        told = [statement for statement in store.read() if statement.topic is Topic.DEVICE and statement.signer == node]
        return max((read_device(statement.body).boot for statement in told), default=0)
    except WorldError:  # the agent says so when it begins
        return 0
    finally:
        store.close()


def stored_log(home: Home) -> KeyLog | None:
    """Return the account's key log as it is on disk, every signature checked; None on a machine of no account."""
    entries = homes.read_keylog(home)
    if not entries:
        return None
    log = KeyLog()
    try:
        log.merge(SignedEntry(body=body, signature=signature) for body, signature in entries)
    except WorldError as cause:
        file = home.keylog_file
        raise CorruptFile(f"the key log {file} is damaged", hint=f"move it away: mv {file} {file}.damaged") from cause
    return log


def device_name(settings: Settings) -> str:
    """Return the name that people know this machine by."""
    name = settings.name or socket.gethostname() or "node"
    clean = "".join(c for c in name if c.isprintable()).strip()
    return clean[:NAME_CHARS_MAX] or "node"


def _started(
    home: Home,
    settings: Settings,
    key: DeviceKey,
    keylog: KeyLog,
    remembered: homes.Remembered,
    facts: dict[str, Fact],
    *,
    lasting: bool = True,
) -> Started:
    known = keylog.members().get(key.node_id)
    name = settings.name or (known.name if known is not None else device_name(settings))
    first = len(keylog.members().devices) == 1  # what its disk has of a council counts more (Realms.recover)
    node = new_node(
        node=NodeId(key.node_id),
        account=keylog.account,
        boot=remembered.boot,
        name=name,
        place=settings.place,
        keylog=keylog,
        seed=secrets.randbits(63),
        now_ns=clock.now_ns(),
        realms=RealmsAtStart(name=settings.realm or name, founding=first) if lasting else None,
    )
    node.registry.prices = dict(settings.prices_uwos)
    node.registry.not_on_battery = settings.not_on_battery
    node.lend.lend = settings.lend
    node.registry.history = dict(remembered.history)
    return Started(home=home, settings=settings, key=key, node=node, remembered=remembered, facts=facts)


def _admit(keylog: KeyLog, signer: DeviceKey, device: DeviceKey, name: str) -> None:
    claim = accept_claim(device, keylog.account, name, root_certificate(device), secrets.token_bytes(32))
    keylog.merge([add_device(keylog, signer, claim)])


def temporary_home() -> Home:
    """Make a home for an embedded node; remove those of embedded nodes that were killed."""
    base = Path(tempfile.gettempdir())
    for left in base.glob(f"{EMBEDDED_PREFIX}*"):
        pid = left.name.removeprefix(EMBEDDED_PREFIX).split("-")[0]
        if pid.isdigit() and left.stat().st_uid == os.getuid() and not Path(f"/proc/{pid}").exists():
            shutil.rmtree(left, ignore_errors=True)
    path = base / f"{EMBEDDED_PREFIX}{os.getpid()}-{secrets.token_hex(4)}"
    path.mkdir(mode=0o700)
    return Home(path)
