"""The ledger: who has how much, as a pure function of a set of signed entries."""
