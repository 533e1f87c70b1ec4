"""How things stand: what a name takes, how safe it is, where its bytes lie, and what the stores have.

Nothing of this is remembered anywhere: it is what stores answer now. A file that lies in the directory itself is as safe as the
entry that names it, which every device of the site keeps.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from concurrent.futures import wait

from msgspec.structs import replace

from worldos.depot.wire import UsageTold
from worldos.errors import WorldError
from worldos.files.about import Standing, StorageStatus, StoreRow, Usage
from worldos.files.fetching import Holders, holders_of
from worldos.files.limits import ANSWER_S, HOLDERS_AHEAD, STANDING_S
from worldos.files.reader import Opened
from worldos.files.session import Session
from worldos.files.stores import Store, answers
from worldos.home import Home
from worldos.store import keys
from worldos.store.directory import Named
from worldos.store.durability import below_policy, survives
from worldos.store.erasure import Code, share_bytes
from worldos.store.ops import FileRef

SHARE_KIND = "share"


def usage(session: Session, path: str) -> Usage:
    """Count what is below a name. Stored bytes are those of shares as the code has them, names not counted."""
    files = folders = plain = 0
    caps: dict[bytes, FileRef] = {}
    for row in _rows(session, path):
        if row.file is None:
            folders += row.path != path
            continue
        files += 1
        plain += row.file.size_bytes
        if row.file.cap and row.file.size_bytes:
            caps[row.file.cap] = row.file
    stored = sum(_stored_bytes(opened) for opened in _opened(session, caps.values()))
    return Usage(files=files, folders=folders, plain_bytes=plain, stored_bytes=stored)


def status(session: Session, path: str) -> list[Standing]:
    """Say for each file below a name how many devices may be lost."""
    stores = _awake(session)
    names = {store.at.node: store.at.name or store.at.node[:8] for store in session.stores.known()}
    known: dict[bytes, Standing] = {}
    mended = _being_mended(session)
    found = []
    for row in _rows(session, path):
        ref = row.file
        if ref is None or ref.target:
            continue
        if not ref.cap or not ref.size_bytes:
            found.append(_of_entry(row.path, ref, stores, names))
            continue
        if ref.cap not in known:
            known[ref.cap] = _of_file(session, row.path, ref, stores, names)
            if mended and _locator(ref) in mended:
                known[ref.cap] = replace(known[ref.cap], repairing=True)
        standing = known[ref.cap]
        found.append(replace(standing, name=row.path, size_bytes=ref.size_bytes))
    return found


def storage(session: Session) -> StorageStatus:
    """Say which stores there are, and what a file that is put now gets."""
    told = _usages(session)
    rows = []
    for store in session.stores.known():
        at = store.at
        told_here = told.get(at.node)
        mine = [each for each in told_here.owned if each.owner == session.owner] if told_here else []
        rows.append(
            StoreRow(
                node=at.node,
                name=at.name,
                place=at.place,
                here=at.here,
                linked=bool(at.path) and at.node in told,
                capacity_bytes=told_here.capacity_bytes if told_here else at.capacity,
                free_bytes=told_here.free_bytes if told_here else at.free,
                used_bytes=sum(each.size_bytes for each in mine),
                shares=sum(each.count for each in mine if each.kind == SHARE_KIND),
                rtt_us=at.rtt_us,
            )
        )
    code = session.code()
    reachable = sum(row.linked for row in rows)
    files = folders = plain = 0
    for row in _rows(session, ""):
        if row.file is None:
            folders += bool(row.path)
        else:
            files += 1
            plain += row.file.size_bytes
    losses = min(code.n, reachable) - code.k if reachable > code.k else max(0, reachable - 1)
    return StorageStatus(
        stores=tuple(rows),
        k=code.k,
        n=code.n,
        below_policy=below_policy(losses),
        survives=losses,
        files=files,
        folders=folders,
        plain_bytes=plain,
        debt=session.uploads.debt(),
    )


def data_at(session: Session, path: str) -> dict[str, int]:
    """Say how many bytes of the files below a name lie on which node."""
    at: dict[str, int] = defaultdict(int)
    stores = _awake(session)
    caps = {row.file.cap: row.file for row in _rows(session, path) if row.file is not None and row.file.cap}
    for opened in _opened(session, caps.values()):
        for segment, holders in _holders(opened, stores):
            size = share_bytes(segment, opened.made.segments[0].k)
            for each in holders.values():
                for store in each:
                    at[store.at.node] += size
    return dict(at)


def _awake(session: Session) -> list[Store]:
    """Return the stores that answer now, those too that were late a moment ago: to be slow is not to have lost something."""
    stores = session.stores.reachable()
    asked = [store.ask(lambda link: link.have(())) for store in stores]
    wait(asked, STANDING_S)
    return [store for store, told in zip(stores, asked, strict=True) if told.done() and told.exception() is None]


def _being_mended(session: Session) -> set[bytes]:
    """Return the locators of the files that the carer of this machine says it mends now."""
    from worldos.files.attending import care_standing  # noqa: PLC0415 - the carer's side, which most questions do without

    told = care_standing(Home(session.folder.parent))
    return {each.locator for each in told.ailing if each.repairing} if told is not None else set()


def _locator(ref: FileRef) -> bytes:
    return keys.locator_of(keys.verify_of(keys.read_of(ref.write) if ref.write else ref.read))


def _rows(session: Session, path: str) -> list[Named]:
    with session.catalog.look() as directory:
        there = directory.get(path)
        if there is not None and there.file is not None:
            return [there]
        return list(directory.walk(path))


def _opened(session: Session, refs: Iterable[FileRef]) -> Iterator[Opened]:
    for ref in refs:
        try:
            yield session.shelf.opened(ref)
        except WorldError:
            continue  # what cannot be opened now cannot be counted


def _stored_bytes(opened: Opened) -> int:
    return sum(share_bytes(segment.size_bytes, segment.k) * segment.n for segment in opened.made.segments)


def _holders(opened: Opened, stores: list[Store]) -> Iterator[tuple[int, Holders]]:
    segments = opened.made.segments
    for first in range(0, len(segments), HOLDERS_AHEAD):
        some = segments[first : first + HOLDERS_AHEAD]
        for segment, holders in zip(some, holders_of(stores, some, opened.verify, patience_s=STANDING_S), strict=True):
            yield segment.size_bytes, holders


def _of_file(session: Session, path: str, ref: FileRef, stores: list[Store], names: dict[str, str]) -> Standing:
    try:
        opened = session.shelf.opened(ref)
    except WorldError:
        code = session.code()
        return Standing(name=path, k=code.k, n=code.n, devices=0, survives=-1, below_policy=True)
    if not opened.made.segments:
        return _of_entry(path, ref, stores, names)
    first = opened.made.segments[0]
    code = Code(k=first.k, n=first.n)
    least, debt, nodes = len(stores), 0, set[str]()
    memory, uses = session.shelf.memory, session.shelf.uses
    near = memory is not None and memory.are_here(opened.made.segments, opened.verify)
    for _, holders in _holders(opened, stores):
        at = {index: [store.at.node for store in each] for index, each in holders.items()}
        least = min(least, survives(at, code))
        debt += code.n - sum(1 for each in at.values() if each)
        nodes.update(node for each in at.values() for node in each)
    return Standing(
        name=path,
        k=code.k,
        n=code.n,
        devices=len(nodes),
        survives=least,
        debt=debt,
        below_policy=below_policy(least),
        size_bytes=ref.size_bytes,
        nodes=tuple(sorted(names.get(node, node[:8]) for node in nodes)),
        near=near,
        heat=uses.heat(opened.verify) if uses is not None else 0,
    )


def _of_entry(path: str, ref: FileRef, stores: list[Store], names: dict[str, str]) -> Standing:
    """A file that lies in the directory: on every device that keeps the log, a copy each."""
    here = [names.get(store.at.node, store.at.node[:8]) for store in stores]
    return Standing(
        name=path,
        k=1,
        n=max(1, len(here)),
        devices=len(here),
        survives=len(here) - 1,
        below_policy=below_policy(len(here) - 1),
        size_bytes=ref.size_bytes,
        nodes=tuple(sorted(here)),
    )


def _usages(session: Session) -> dict[str, UsageTold]:
    return answers(_awake(session), lambda link: link.usage(), within_s=ANSWER_S, patience_s=STANDING_S)
