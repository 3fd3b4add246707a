"""The generator: from definitions to code. Its public API is `pipeline`."""
