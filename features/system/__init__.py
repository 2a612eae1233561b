"""Locks, retries on network folders, signals, atomic writing, file permissions and memory allocation."""
