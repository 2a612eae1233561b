"""What the page shows of each model's predictions, computed while they are in memory."""
