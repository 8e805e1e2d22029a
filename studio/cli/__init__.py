"""The command line: the only room that sees all others, and only the ones that a verb needs."""
