"""Inputs of every kind to Chunks, Chunks to messages, and messages to recordings."""
