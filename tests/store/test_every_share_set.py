"""Every set of k shares of every code that is used, decoded by ISA-L and by the tables: the same bytes, no set singular."""

import itertools
import math

import pytest
from tests.store.test_erasure import CODECS, CODES, coded, decoded

from worldos.store.erasure import Code, TableCodec


@pytest.mark.parametrize("code", CODES, ids=str)
def test_every_set_of_k_shares_gives_all_shares_by_every_codec(code: Code) -> None:
    shares = coded(TableCodec(numpy=False), code, bytes((place * 131 + 17) % 256 for place in range(40 * code.k)))
    tried = 0
    for have in itertools.combinations(range(code.n), code.k):
        missing = [index for index in range(code.n) if index not in have]
        right = [shares[index] for index in missing]
        kept = {index: shares[index] for index in have}
        for codec in CODECS:
            assert decoded(codec, code, kept, missing) == right, (codec.name, have)
        tried += 1
    assert tried == math.comb(code.n, code.k)
