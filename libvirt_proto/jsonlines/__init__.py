"""JSON lines: messages and values to JSON and back, and the JSON Schema of payloads."""
