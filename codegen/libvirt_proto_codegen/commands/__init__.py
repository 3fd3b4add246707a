"""Commands that need the generator, loaded by the command line on demand."""
