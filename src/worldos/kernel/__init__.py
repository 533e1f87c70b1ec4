"""Decisions: events in, effects out. One noun a file; nothing here touches the world."""
