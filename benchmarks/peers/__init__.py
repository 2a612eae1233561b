"""Code of other programs that the benchmarks compare with, and processes that it runs in."""
