"""The generator: definitions in, code out (the public API is `pipeline`)."""
