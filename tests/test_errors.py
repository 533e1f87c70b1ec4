"""The tree of errors: each says what happened in a sentence, and survives a trip between processes."""

from __future__ import annotations

import pickle

import pytest

from worldos import errors
from worldos.errors import BadRequest, NoCapacity, Refused, Unreachable, WorldError

TREE = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, WorldError)]


@pytest.mark.parametrize("kind", TREE)
def test_each_error_has_a_sentence_for_the_user(kind: type[WorldError]) -> None:
    assert kind.__doc__
    assert kind.__doc__.splitlines()[0].endswith(".")


@pytest.mark.parametrize("kind", TREE)
def test_each_error_crosses_a_process_with_message_hint_and_kind(kind: type[WorldError]) -> None:
    sent = kind("three cores are busy", hint="ask for two")
    got = pickle.loads(pickle.dumps(sent))
    assert type(got) is kind
    assert (str(got), got.hint) == ("three cores are busy", "ask for two")


def test_an_error_without_words_says_the_sentence_of_its_class() -> None:
    assert str(NoCapacity()) == "No node can give this now."


def test_a_refusal_is_not_a_mistake_of_the_caller_and_not_worth_a_retry() -> None:
    assert issubclass(NoCapacity, Refused)
    assert not issubclass(NoCapacity, BadRequest)
    assert not NoCapacity.retryable
    assert Unreachable.retryable


def test_exit_codes_tell_the_branches_apart() -> None:
    assert (WorldError.exit_code, BadRequest.exit_code, Refused.exit_code, Unreachable.exit_code) == (1, 2, 3, 4)
