"""Readers of every kind of input: inputs to Chunks, Chunks to messages, messages to recordings."""
