"""The run folder, its results tables, and the leaderboard over runs."""
