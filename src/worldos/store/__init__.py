"""Storage as decisions: codes, formats, names, health. Pure: bytes and numbers in, bytes and numbers out."""
