"""Conditions on facts: ``arch == 'arm64' and memory >= 8GB and not battery``, parsed to a tree, never run as code.

Grammar, loosest first: ``or``, ``and``, ``not``, parentheses, and comparisons ``fact op value`` with one of
``== != < <= > >= in has``. A fact alone (``battery``) means ``battery == true``. Values are integers with units
(``8GB``, ``100Mbps``, ``3.5GHz``, ``50%``), strings in quotes, single words without, ``true`` and ``false``.
``tags has avx2``: one of the words of the fact is ``avx2``; ``os in 'linux darwin'``: the fact is one of the words;
``cores in (2, 4)`` likewise.

A comparison is false if the fact is missing or of another type. So ``not battery`` holds on a machine that has no
battery at all, and ``battery == false`` does not. Integers outside ``+-2**62`` count as missing on both sides: they fit
no column of the index.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Final, NamedTuple, NoReturn

from worldos.errors import BadRequest
from worldos.model import units
from worldos.model.limits import WHERE_CHARS_MAX, WHERE_DEPTH_MAX
from worldos.model.need import All, AnyOf, Compare, Condition, Not
from worldos.model.resource import Fact

COMPARISONS_MAX: Final = 256

OPERATORS: Final = ("==", "!=", "<", "<=", ">", ">=", "in", "has")

KNOWN_FACTS: Final[Mapping[str, str]] = {
    "arch": "text, as in 'x86_64', 'arm64'",
    "avx2": "true where the processor has these instructions; likewise avx512, neon, sve",
    "battery": "true while the machine runs on its battery",
    "battery_percent": "how full the battery is, 0 to 100",
    "capacity": "what the resource has in all, in its base unit",
    "carbon_g_kwh": "grams of CO2 per kWh of the machine's power",
    "cores": "number of cores",
    "distribution": "text, as in 'debian 12'",
    "free": "what the resource has free, in its base unit",
    "frequency_mhz": "clock of the processor",
    "isolation": "how code of others is kept apart there, as words: isolation has sandbox",
    "kernel": "text, the kernel's release",
    "kind": "kind of the resource",
    "load_percent": "how busy the machine or the GPU is, 0 to 100",
    "memory": "memory of the machine in bytes",
    "memory_free": "what the machine says is free of it, in bytes",
    "model": "text, the processor's or device's name",
    "name": "name of the node",
    "node": "id of the node",
    "os": "text, as in 'linux'",
    "place": "where the node is",
    "price": "micro-WOSCoin for one unit and hour",
    "private_net": "true where leases can be joined to a private network",
    "python": "text, as in '3.11.7'",
    "speed_mips": "measured speed of one core",
    "tags": "the resource's tags, as words: tags has avx2",
    "virtual": "true on a virtual machine",
    "vram": "memory of the GPU in bytes",
    "write_bytes_s": "measured speed of the disk",
}
_SIZES: Final = frozenset({"memory", "memory_free", "free", "capacity", "vram", "vram_free", "write_bytes_s"})

_TOKEN: Final = re.compile(
    r"""\s*(?:
      (?P<string>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")
    | (?P<number>-?[0-9][0-9_]*(?:\.[0-9]+)?)(?P<unit>[A-Za-zµ%][A-Za-z/]*)?
    | (?P<name>[A-Za-z_][A-Za-z0-9_.-]*)
    | (?P<op>==|!=|<=|>=|<|>|\(|\)|,)
    )""",
    re.VERBOSE,
)
_HABITS: Final = {"=": "==", "&&": "and", "||": "or", "!": "not", "<>": "!=", "&": "and", "|": "or"}


class _Token(NamedTuple):
    what: str
    text: str
    column: int
    unit: str = ""


def parse_where(text: str) -> Condition:
    """Turn text into a condition; BadRequest shows the column that was not understood."""
    if len(text) > WHERE_CHARS_MAX:
        raise BadRequest(f"a condition may have {WHERE_CHARS_MAX} characters, this has {len(text)}")
    condition = _Parser(text).parse()
    check(condition)
    return condition


def check(condition: Condition) -> None:
    """Refuse a condition that came from outside and breaks a bound: depth, size, operators, strings."""
    left = COMPARISONS_MAX
    stack: list[tuple[Condition, int]] = [(condition, 1)]
    while stack:
        part, depth = stack.pop()
        if depth > WHERE_DEPTH_MAX:
            raise BadRequest(f"a condition may nest {WHERE_DEPTH_MAX} deep, this nests deeper")
        match part:
            case Compare():
                left -= 1
                _check_compare(part)
            case Not(part=inner):
                stack.append((inner, depth + 1))
            case All(parts=parts) | AnyOf(parts=parts):
                if not parts:
                    raise BadRequest("a condition has an empty group")
                if len(parts) > left:
                    left = -1
                else:
                    stack.extend((inner, depth + 1) for inner in parts)
        if left < 0:
            raise BadRequest(f"a condition may make {COMPARISONS_MAX} comparisons, this makes more")


def _check_compare(part: Compare) -> None:
    if part.op not in OPERATORS:
        raise BadRequest(f"{part.op[:16]!r} is not a comparison", hint=f"there are: {' '.join(OPERATORS)}")
    if not _NAME.fullmatch(part.fact) or part.fact in _RESERVED:
        raise BadRequest(f"{part.fact[:32]!r} cannot be the name of a fact")
    if isinstance(part.value, str):
        if len(part.value) > WHERE_CHARS_MAX or not part.value.isprintable():
            raise BadRequest("a string in a condition is too long or has unprintable characters")
    elif not -units.AMOUNT_MAX <= part.value <= units.AMOUNT_MAX:
        raise BadRequest("a number in a condition is larger than World OS can count")


_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}", re.ASCII)
_RESERVED: Final = frozenset({"and", "or", "not", "in", "has", "true", "false", "True", "False"})


def holds(condition: Condition, facts: Mapping[str, Fact]) -> bool:
    """Say whether the facts fulfil the condition."""
    match condition:
        case Compare(fact=fact, op=op, value=value):
            found = facts.get(fact)
            return found is not None and compare(found, op, value)
        case Not(part=part):
            return not holds(part, facts)
        case All(parts=parts):
            return all(holds(part, facts) for part in parts)
        case AnyOf(parts=parts):
            return any(holds(part, facts) for part in parts)


def compare(fact: Fact, op: str, value: Fact) -> bool:
    """Compare one fact with one value; different types, and numbers that no column holds, compare false."""
    if type(fact) is not type(value):
        return False
    if isinstance(fact, str) and isinstance(value, str):
        return _compare_words(fact, op, value)
    if isinstance(fact, str) or isinstance(value, str) or abs(fact) > units.AMOUNT_MAX or abs(value) > units.AMOUNT_MAX:
        return False
    return _ordered(fact, op, value)


def _ordered(fact: int, op: str, value: int) -> bool:
    match op:
        case "==":
            return fact == value
        case "!=":
            return fact != value
        case "<":
            return fact < value
        case "<=":
            return fact <= value
        case ">":
            return fact > value
        case ">=":
            return fact >= value
        case _:
            return False


def _compare_words(fact: str, op: str, value: str) -> bool:
    match op:
        case "==":
            return fact == value
        case "!=":
            return fact != value
        case "<":
            return fact < value
        case "<=":
            return fact <= value
        case ">":
            return fact > value
        case ">=":
            return fact >= value
        case "in":
            return fact in _words(value)
        case "has":
            return value in _words(fact)
        case _:
            return False


def _words(text: str) -> list[str]:
    return text.replace(",", " ").split()


def parts_of(condition: Condition | None) -> tuple[Condition, ...]:
    """Return the conditions that must all hold, so that a refusal can name the one that did not."""
    match condition:
        case None:
            return ()
        case All(parts=parts):
            return tuple(inner for part in parts for inner in parts_of(part))
        case _:
            return (condition,)


def facts_in(condition: Condition) -> tuple[str, ...]:
    """Return the facts that a condition asks for, each once, in order of appearance."""
    match condition:
        case Compare(fact=fact):
            return (fact,)
        case Not(part=part):
            return facts_in(part)
        case All(parts=parts) | AnyOf(parts=parts):
            return tuple(dict.fromkeys(name for part in parts for name in facts_in(part)))


def hint_for(condition: Condition, known: Iterable[str] = ()) -> str:
    """Say which facts of a condition nobody has heard of, with a near miss; empty if all are known.

    Drivers may bring facts of their own, so an unknown one is no error; pass those that nodes really tell as ``known``.
    """
    names = sorted({*KNOWN_FACTS, *known})
    for fact in facts_in(condition):
        if fact not in names:
            close = get_close_matches(fact, names, n=1)
            guess = f"did you mean {close[0]!r}? " if close else ""
            return f"no node tells {fact!r}; {guess}known facts: {', '.join(names)}"
    return ""


def show_where(condition: Condition) -> str:
    """Say a condition so that parse_where reads the same back (nested groups of one kind come back as one group)."""
    match condition:
        case Compare():
            return _show_compare(condition)
        case Not(part=part):
            return f"not {_bracketed(part)}"
        case All(parts=parts):
            return " and ".join(_bracketed(part) for part in parts) or "anything"
        case AnyOf(parts=parts):
            return " or ".join(_bracketed(part) for part in parts) or "nothing"


def _bracketed(condition: Condition) -> str:
    said = show_where(condition)
    return said if isinstance(condition, Compare | Not) else f"({said})"


def _show_compare(part: Compare) -> str:
    value = part.value
    if value is True and part.op == "==":
        return part.fact
    if isinstance(value, bool):
        said = "true" if value else "false"
    elif isinstance(value, int):
        said = _show_number(part.fact, value)
    else:
        said = "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
    return f"{part.fact} {part.op} {said}"


def _show_number(fact: str, value: int) -> str:
    if fact in _SIZES and value > 0:
        for unit in ("TB", "TiB", "GB", "GiB", "MB", "MiB"):
            if value % units.BYTES[unit] == 0:
                return f"{value // units.BYTES[unit]}{unit}"
    return str(value)


class _Parser:
    """One pass over one text, by recursive descent; depth is bounded, since each level is a bracket or a ``not``."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = self._tokenize()
        self._at = 0
        self._depth = 0

    def parse(self) -> Condition:
        if self._peek().what == "end":
            self._fail("the condition is empty", self._peek())
        condition = self._either()
        rest = self._peek()
        if rest.what != "end":
            self._fail(f"did not expect {rest.text!r} here; join conditions with 'and' or 'or'", rest)
        return condition

    def _tokenize(self) -> list[_Token]:
        tokens: list[_Token] = []
        at, text = 0, self._text
        while text[at:].strip():
            found = _TOKEN.match(text, at)
            if found is None or found.lastgroup is None:
                self._bad_character(at + len(text[at:]) - len(text[at:].lstrip()))
            what = "number" if found["number"] is not None else found.lastgroup
            tokens.append(_Token(what, found[what], found.start(what), found["unit"] or ""))
            at = found.end()
        tokens.append(_Token("end", "the end", len(text)))
        return tokens

    def _bad_character(self, column: int) -> NoReturn:
        rest = self._text[column:]
        token = _Token("bad", rest[:1], column)
        for habit in sorted(_HABITS, key=len, reverse=True):
            if rest.startswith(habit):
                self._fail(f"{habit!r} is not an operator here, write {_HABITS[habit]!r}", token)
        if rest[0] in "'\"":
            self._fail("the string is not closed", token)
        self._fail(f"did not expect {rest[0]!r} here", token)

    def _peek(self) -> _Token:
        return self._tokens[self._at]

    def _next(self) -> _Token:
        token = self._tokens[self._at]
        self._at = min(self._at + 1, len(self._tokens) - 1)
        return token

    def _accept(self, text: str) -> bool:
        token = self._peek()
        if token.what in ("name", "op") and token.text == text:
            self._at += 1
            return True
        return False

    def _either(self) -> Condition:
        parts = [self._both()]
        while self._accept("or"):
            parts.append(self._both())
        return join(AnyOf, parts)

    def _both(self) -> Condition:
        parts = [self._one()]
        while self._accept("and"):
            parts.append(self._one())
        return join(All, parts)

    def _one(self) -> Condition:
        token = self._peek()
        self._depth += 1
        if self._depth > WHERE_DEPTH_MAX:
            self._fail(f"a condition may nest {WHERE_DEPTH_MAX} deep", token)
        if self._accept("not"):
            condition: Condition = Not(self._one())
        elif self._accept("("):
            condition = self._either()
            if not self._accept(")"):
                self._fail("expected ')'", self._peek())
        else:
            condition = self._comparison()
        self._depth -= 1
        return condition

    def _comparison(self) -> Condition:
        token = self._next()
        if token.what != "name" or token.text in _RESERVED:
            self._fail(f"expected a fact, found {token.text!r}", token)
        if not _NAME.fullmatch(token.text):
            self._fail("the name of a fact is too long", token)
        operator = self._peek()
        if operator.text not in OPERATORS or operator.what not in ("op", "name"):
            return Compare(token.text, "==", value=True)
        self._next()
        if operator.text == "in" and self._accept("("):
            return self._one_of(token.text)
        return Compare(token.text, operator.text, self._value())

    def _one_of(self, fact: str) -> Condition:
        parts: list[Condition] = [Compare(fact, "==", self._value())]
        while self._accept(","):
            parts.append(Compare(fact, "==", self._value()))
        if not self._accept(")"):
            self._fail("expected ',' or ')'", self._peek())
        return join(AnyOf, parts)

    def _value(self) -> Fact:
        token = self._next()
        match token.what:
            case "number":
                return self._number(token)
            case "string":
                return re.sub(r"\\(.)", r"\1", token.text[1:-1], flags=re.DOTALL)
            case "name" if token.text.lower() in ("true", "false"):
                return token.text.lower() == "true"
            case "name" if token.text not in _RESERVED:
                return token.text
        return self._fail(f"expected a value, found {token.text!r}", token)

    def _number(self, token: _Token) -> int:
        negative = token.text.startswith("-")
        try:
            value = units.parse_quantity(token.text.lstrip("-"), token.unit)
        except BadRequest as error:
            self._fail(str(error), token)
        return -value if negative else value

    def _fail(self, why: str, token: _Token) -> NoReturn:
        line = "".join(char if char.isprintable() else "?" for char in self._text)
        known = ", ".join(KNOWN_FACTS)
        raise BadRequest(
            f"{why} (column {token.column + 1})\n  {line}\n  {' ' * token.column}^",
            hint=f"write for example: arch == 'arm64' and memory >= 8GB and not battery; facts: {known}",
        )


def join(group: type[All] | type[AnyOf], parts: Iterable[Condition]) -> Condition:
    """Return the group of these parts; parts of the same group are taken in, and a group of one is that one."""
    flat: list[Condition] = []
    for part in parts:
        if isinstance(part, group):
            flat.extend(part.parts)
        else:
            flat.append(part)
    return flat[0] if len(flat) == 1 else group(tuple(flat))
