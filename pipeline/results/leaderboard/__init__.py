"""Results of several runs in one table, and its printed form."""
