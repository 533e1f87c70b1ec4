"""The teller: what a runner has to say to the line is said, in order, however long nobody answers.

The first word goes at once; those that follow within a moment go together in one command. A word that was not answered is said
again: the line takes each in once. That an attempt began is left out where its end is said in the same breath. Who says
something may hear the answer.
"""

from __future__ import annotations

import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final

import msgspec

from worldos.errors import BadRequest, NoAgent, WorldError
from worldos.jobs.limits import SAY_AGAIN_S_MAX, SAY_AGAIN_S_MIN, SAY_APART_S, SAY_BYTES, SAY_MANY
from worldos.kernel.work.words import decode_answers, encode_command
from worldos.model.work import Began, Finished, Lost, WorkAnswer, WorkCommand, Yielded

Word = Began | Finished | Yielded | Lost
Heard = Callable[[WorkAnswer], None]
Said = Callable[[bytes], bytes]
_ENDS: Final = (Finished, Yielded, Lost)
_encode = msgspec.msgpack.Encoder().encode


def nobody(answer: WorkAnswer) -> None:
    """Hear no answer."""
    del answer


class Teller:
    """A thread that says words. ``work`` carries a command to the line and returns its answers."""

    def __init__(self, work: Said) -> None:
        self._work = work
        self._words: deque[tuple[Word, int, Heard]] = deque()
        self._changed = threading.Condition()
        self._stopped = False
        self._again_s = 0.0  # before that the next command waits, to take more along
        self.heard_s = time.monotonic()  # when the line answered last
        self._thread = threading.Thread(target=self._speak, name="teller", daemon=True)
        self._thread.start()

    def say(self, word: Word, heard: Heard = nobody) -> None:
        """Say a word soon."""
        with self._changed:
            self._words.append((word, len(_encode(word)), heard))
            if len(self._words) in {1, SAY_MANY}:  # for those between them the thread need not wake
                self._changed.notify()

    def close(self) -> None:
        """Say no more."""
        with self._changed:
            self._stopped = True
            self._changed.notify()

    def _speak(self) -> None:
        while True:
            with self._changed:
                while not self._words and not self._stopped:
                    self._changed.wait()
                while not self._stopped and len(self._words) < SAY_MANY and time.monotonic() < self._again_s:
                    self._changed.wait(self._again_s - time.monotonic())
                if self._stopped:
                    return
                batch = self._batch()
            self._again_s = time.monotonic() + SAY_APART_S
            answers = self._insist(WorkCommand(said=tuple(word for word, _ in batch)))
            for (_, heard), answer in zip(batch, answers, strict=False):
                heard(answer)

    def _batch(self) -> list[tuple[Word, Heard]]:
        """Take as many words as go in one command."""
        taken: list[tuple[Word, Heard]] = []
        size = 0
        while self._words and len(taken) < SAY_MANY and (not taken or size + self._words[0][1] <= SAY_BYTES):
            word, word_bytes, heard = self._words.popleft()
            taken.append((word, heard))
            size += word_bytes
        ended = {word.attempt for word, _ in taken if isinstance(word, _ENDS)}
        return [(word, heard) for word, heard in taken if not (isinstance(word, Began) and word.attempt in ended)]

    def _insist(self, command: WorkCommand) -> tuple[WorkAnswer, ...]:
        """Say it until it is answered."""
        data = encode_command(command)
        wait_s = SAY_AGAIN_S_MIN
        while not self._stopped:
            try:
                answers = decode_answers(self._work(data))
            except NoAgent:
                return ()  # this runner ends with its agent
            except BadRequest as error:  # a mistake of ours: what cannot be said holds up nothing else
                sys.stderr.write(f"the line does not take in what a runner says: {error}\n")
                return ()
            except WorldError:
                time.sleep(wait_s)
                wait_s = min(SAY_AGAIN_S_MAX, wait_s * 2)
            else:
                self.heard_s = time.monotonic()
                return answers
        return ()
