"""Queues: messages that wait for a consumer, each until one has said that it is done (pure)."""
