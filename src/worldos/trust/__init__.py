"""Trust: keys, key logs, certificates and pairing, as pure functions of bytes.

Nothing here reads a clock, a file or dice: keys and randomness come in as bytes, time as integers. Every Ed25519
signature is made and checked by PyNaCl, because two verifiers that disagree about one forged signature would split a
merged log in two.
"""
