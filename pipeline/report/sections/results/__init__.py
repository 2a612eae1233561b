"""Sections about the scores of the models: the answer, the table, and the differences of pairs."""
