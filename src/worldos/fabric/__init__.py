"""Bytes between authenticated nodes: links, sessions above changing links, relays, beacons. Nothing of leases."""
