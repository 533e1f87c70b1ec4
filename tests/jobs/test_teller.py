"""What a runner says to the line arrives, once and in order."""

from __future__ import annotations

import threading
import time

from worldos.errors import Unreachable
from worldos.jobs.teller import Teller
from worldos.kernel.work.words import decode_command, encode_answers
from worldos.model.ids import NodeId
from worldos.model.work import Applied, Attempt, Began, Finished, Outcome, Refused, WorkAnswer

DONE = Applied()
HERE = NodeId("n" * 52)


class Line:
    """Takes in commands; ``fails`` times it is not reached. ``gate`` holds it up."""

    def __init__(self, fails: int = 0, answer: WorkAnswer = DONE) -> None:
        self.fails = fails
        self.answer = answer
        self.said: list[object] = []
        self.commands = 0
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self, data: bytes) -> bytes:
        self.gate.wait(15)
        if self.fails:
            self.fails -= 1
            raise Unreachable("no majority")
        command = decode_command(data)
        self.commands += 1
        self.said += command.said
        return encode_answers((self.answer,) * len(command.said))


def end(index: int, result: bytes = b"") -> Finished:
    return Finished(attempt=Attempt("job1", index, 1), outcome=Outcome(code=0, result=result))


def wait_for(line: Line, count: int) -> None:
    deadline_s = time.monotonic() + 30
    while len(line.said) < count:
        assert time.monotonic() < deadline_s, line.said
        time.sleep(0.002)


def test_words_arrive_in_order_though_the_line_is_not_reached_at_once() -> None:
    line = Line(fails=2)
    teller = Teller(line)
    words = [end(index) for index in range(600)]
    for word in words:
        teller.say(word)
    wait_for(line, 600)
    teller.close()
    assert line.said == words
    assert line.commands < 20, "many go in one command"


def test_who_ended_already_need_not_say_that_it_began() -> None:
    line = Line()
    line.gate.clear()
    teller = Teller(line)
    teller.say(end(0))  # holds the line up
    teller.say(Began(attempt=Attempt("job1", 1, 1), at=HERE))
    teller.say(Began(attempt=Attempt("job1", 2, 1), at=HERE))
    teller.say(end(1))
    line.gate.set()
    wait_for(line, 3)
    teller.close()
    began = [word.attempt.index for word in line.said if isinstance(word, Began)]
    assert began in ([2], [1, 2])  # [1, 2] where it was said before its end was known
    assert line.said[-1] == end(1)


def test_large_words_are_said_in_several_commands() -> None:
    line = Line()
    line.gate.clear()
    teller = Teller(line)
    for index in range(40):
        teller.say(end(index, bytes(30_000)))
    line.gate.set()
    wait_for(line, 40)
    teller.close()
    assert line.commands >= 4


def test_who_says_something_hears_what_became_of_it() -> None:
    heard: list[WorkAnswer] = []
    done = threading.Event()
    line = Line(answer=Refused(why="another attempt was first"))
    teller = Teller(line)
    teller.say(end(0), lambda answer: (heard.append(answer), done.set())[0])
    assert done.wait(15)
    teller.close()
    assert isinstance(heard[0], Refused)
