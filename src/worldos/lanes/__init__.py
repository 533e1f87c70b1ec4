"""Running work: workers, their limits, and the direct path (the *lane*) from the holder of a lease to them."""
