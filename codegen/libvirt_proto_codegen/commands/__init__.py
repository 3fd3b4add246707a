"""Commands that need the generator; the command line loads them when they are called."""
