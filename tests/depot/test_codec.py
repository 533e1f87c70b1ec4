"""The native codec: found, right, safe in threads, and refusing what would write past a buffer."""

import ctypes
import threading
import tracemalloc

import pytest

from worldos.depot import codec
from worldos.depot.codec import IsalCodec, best_codec, is_right
from worldos.lanes.shm import address_of
from worldos.store.erasure import Code, TableCodec, encode, parity_rows


def native() -> IsalCodec:
    found = codec.native_codec()
    if found is None:
        pytest.skip("no ISA-L on this machine")
    return found


def test_the_best_codec_is_right_and_always_the_same() -> None:
    best = codec.best_codec()
    assert codec.is_right(best)
    assert codec.best_codec() is best


def test_the_matrix_is_the_one_of_isal() -> None:
    found = ctypes.create_string_buffer(16 * 10)
    ctypes.CDLL(native().path).gf_gen_cauchy1_matrix(found, 16, 10)
    assert found.raw[100:] == b"".join(parity_rows(10, 16))


def test_a_codec_that_answers_wrong_is_seen() -> None:
    class Wrong(TableCodec):
        def combine(self, rows, sources, targets) -> None:
            super().combine(rows, sources, targets)
            if len(targets[-1]) > 500:
                targets[-1][-1] ^= 1

    assert not codec.is_right(Wrong())


def test_without_a_library_there_are_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec, "_libraries", lambda: iter(["/nowhere/libisal.so.2", "libc.so.6"]))
    assert codec.native_codec() is None


def test_many_threads_code_at_once() -> None:
    isal, wrong = native(), []

    def work(number: int) -> None:
        code = Code(2 + number, 6 + number)
        data = [bytes([number, index] * 5000) for index in range(code.k)]
        right = [bytearray(10_000) for _ in range(4)]
        encode(TableCodec(), code, data, right)
        for _ in range(200):
            out = [bytearray(10_000) for _ in range(4)]
            encode(isal, code, data, out)
            if out != right:
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_buffers_are_let_go_after_each_call_and_after_a_refusal() -> None:
    isal, source, target = native(), bytearray(100), bytearray(100)
    isal.combine([b"\x05"], [source], [target])
    with pytest.raises(BufferError):
        isal.combine([b"\x05"], [source], [bytes(100)])  # type: ignore[list-item]
    with pytest.raises(BufferError):
        isal.combine([b"\x05"], [memoryview(bytearray(200))[::2]], [target])
    source.extend(b"x")  # impossible while anyone holds its memory
    target.extend(b"x")


def test_a_call_leaves_no_memory_behind() -> None:
    isal = native()
    rows, source, target = parity_rows(3, 6), [bytes(100)] * 3, [bytearray(100) for _ in range(3)]
    isal.combine(rows, source, target)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(1000):
        isal.combine(rows, source, target)
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert grown < 10_000


def test_a_cipher_is_chosen_for_this_machine() -> None:
    assert codec.best_format() in (0x10, 0x11)
    assert codec.has_aes("flags\t\t: fpu aes avx2\n")
    assert codec.has_aes("Features\t: fp asimd aes pmull\n")
    assert not codec.has_aes("flags\t\t: fpu vaes2 avx2\n")


def test_a_program_may_have_files_and_shared_memory_at_once() -> None:
    best_codec()
    assert address_of(memoryview(bytearray(8))) > 0
    assert is_right(best_codec())
