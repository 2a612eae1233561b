"""Checks of a corpus before anything is computed: files, duplicates, leaks between folds."""
