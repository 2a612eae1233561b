"""The contract of every backbone as checks that run on any machine with any weights."""
