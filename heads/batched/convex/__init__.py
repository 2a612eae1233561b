"""Solvers of linear models: convex problems that have one solution, which is found to a stated precision."""
