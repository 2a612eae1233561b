"""The run folder, its tables of results, and the leaderboard over runs."""
