"""What a carer remembers: the last answer of each depot, through restarts and damage."""

from __future__ import annotations

from pathlib import Path

from worldos.files.holders import Holders

SEGMENT = b"s" * 16


def test_of_who_answered_the_last_answer_counts_and_of_who_did_not_the_one_before(tmp_path: Path) -> None:
    holders = Holders(tmp_path / "holders")
    assert holders.held(SEGMENT) == {}
    assert holders.told(SEGMENT, {"a": {0}, "b": {1, 2}}) == {0: ("a",), 1: ("b",), 2: ("b",)}
    assert holders.told(SEGMENT, {"a": set(), "c": {0}}) == {0: ("c",), 1: ("b",), 2: ("b",)}
    holders.close()
    again = Holders(tmp_path / "holders")
    assert again.held(SEGMENT) == {0: ("c",), 1: ("b",), 2: ("b",)}
    again.close()


def test_another_carers_word_is_believed_until_the_depot_answers(tmp_path: Path) -> None:
    holders = Holders(tmp_path / "holders")
    holders.noted(SEGMENT, 3, "x")
    holders.noted(SEGMENT, 3, "x")
    assert holders.held(SEGMENT) == {3: ("x",)}
    assert holders.told(SEGMENT, {"x": set()}) == {}
    holders.close()


def test_a_moment_is_kept_until_it_is_over(tmp_path: Path) -> None:
    holders = Holders(tmp_path / "holders")
    assert holders.since("care", b"l", 5) == 5
    assert holders.since("care", b"l", 9) == 5
    assert holders.since("other", b"l", 9) == 9
    holders.over("care", b"l")
    assert holders.since("care", b"l", 11) == 11
    holders.close()


def test_a_damaged_memory_is_begun_anew(tmp_path: Path) -> None:
    holders = Holders(tmp_path / "holders")
    holders.told(SEGMENT, {"a": {0}})
    holders.close()
    (tmp_path / "holders").write_bytes(b"not a database at all" * 300)
    again = Holders(tmp_path / "holders")
    assert again.held(SEGMENT) == {}
    again.told(SEGMENT, {"a": {0}})
    again.forget([SEGMENT])
    assert again.held(SEGMENT) == {}
    again.close()
