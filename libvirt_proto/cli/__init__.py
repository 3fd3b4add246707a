"""The command line. This folder holds what several commands share; each command is a module of commands/."""
