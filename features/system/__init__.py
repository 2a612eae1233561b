"""Locks, retries on network folders, signals, file permissions and memory allocation."""
