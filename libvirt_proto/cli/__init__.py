"""The command line: code shared by several commands; each command is a module of commands/."""
