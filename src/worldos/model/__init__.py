"""Values: what the floors above speak of. No behaviour beyond arithmetic, no I/O."""
