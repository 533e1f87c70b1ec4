"""Witnessing: a log that goes on is cosigned; one that was rewritten, cut or shown in two ways convicts itself or is refused."""

from __future__ import annotations

import pytest

from worldos.errors import Damaged, PeerBroke, WorldError
from worldos.model.audit import ForkTold
from worldos.model.ids import NodeId
from worldos.trust.keys import DeviceKey
from worldos.trust.merkle import Tree, prove_consistency
from worldos.trust.note import sign_checkpoint
from worldos.trust.witness import Behind, GoesOn, Known, check_fork, compare, fork, fork_by_tiles, judge

KEY, OTHER = DeviceKey.from_seed(b"k" * 32), DeviceKey.from_seed(b"o" * 32)
LOG = NodeId(KEY.node_id)
SIZES = 20


def tree(changed: int = -1) -> Tree:
    grown = Tree()
    for number in range(SIZES):
        grown.append(b"changed" if number == changed else bytes([number]))
    return grown


HONEST, FORKED = tree(), tree(changed=3)


def note(of: Tree, size: int) -> bytes:
    return sign_checkpoint(KEY, size, of.root(size))


def known(size: int) -> Known:
    return Known(size, HONEST.root(size), note(HONEST, size))


def test_a_log_that_goes_on_is_cosigned_from_every_size_to_every_size() -> None:
    first = judge(None, LOG, note(HONEST, 5), 0, ())
    assert isinstance(first, GoesOn)
    assert first.known == known(5)
    for old in range(1, SIZES):
        for new in range(old, SIZES):
            proof = prove_consistency(HONEST.hash_at, old, new)
            said = judge(known(old), LOG, note(HONEST, new), old, proof)
            assert isinstance(said, GoesOn)
            assert said.known.size == new


def test_who_tells_from_another_size_is_told_from_where() -> None:
    for old in (0, 3, 9):
        assert judge(known(7), LOG, note(HONEST, 12), old, ()) == Behind(7)
    assert judge(known(12), LOG, note(HONEST, 7), 12, ()) == Behind(12)


def test_two_histories_told_to_one_witness_convict_the_log_by_its_own_proof_or_are_refused() -> None:
    convicted = 0
    for old in range(4, SIZES):
        for new in range(old, SIZES):
            proof = prove_consistency(FORKED.hash_at, old, new)
            try:
                said = judge(known(old), LOG, note(FORKED, new), old, proof)
            except Damaged:
                continue  # where the proof leaves the old root out
            assert isinstance(said, ForkTold)
            assert check_fork(said) == LOG
            convicted += 1
    assert convicted > 100


def test_one_size_with_two_roots_is_a_fork_and_one_root_is_none() -> None:
    said = judge(known(8), LOG, note(FORKED, 8), 8, ())
    assert isinstance(said, ForkTold)
    assert check_fork(said) == LOG
    told = compare(LOG, note(HONEST, 8), note(FORKED, 8))
    assert told is not None
    assert check_fork(told) == LOG
    assert compare(LOG, note(HONEST, 8), note(HONEST, 8)) is None
    assert compare(LOG, note(HONEST, 8), note(FORKED, 9)) is None


@pytest.mark.parametrize("small", [4, 5, 7, 8, 16])
def test_tiles_of_the_larger_convict_by_any_smaller_note(small: int) -> None:
    assert check_fork(fork_by_tiles(LOG, note(HONEST, small), note(FORKED, 19), FORKED.hash_at)) == LOG
    with pytest.raises(Damaged, match="goes on"):
        check_fork(fork_by_tiles(LOG, note(HONEST, small), note(HONEST, 19), HONEST.hash_at))


def test_nobody_can_convict_an_honest_log() -> None:
    honest = [fork(LOG, note(HONEST, 8), note(HONEST, 8)), fork(LOG, note(HONEST, 7), note(HONEST, 12))]
    forged = fork(LOG, note(HONEST, 8), sign_checkpoint(OTHER, 8, bytes(32)))
    garbage = fork(LOG, note(HONEST, 7), note(HONEST, 12), [bytes(32)] * 4)
    backwards = fork(LOG, note(HONEST, 12), note(HONEST, 7), [bytes(32)] * 4)
    for each in (*honest, forged, garbage, backwards):
        with pytest.raises(WorldError):
            check_fork(each)


def test_a_first_note_needs_no_proof_and_takes_none() -> None:
    with pytest.raises(PeerBroke):
        judge(None, LOG, note(HONEST, 5), 0, (bytes(32),))
    assert judge(None, LOG, note(HONEST, 5), 3, ()) == Behind(0)
