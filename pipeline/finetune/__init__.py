"""The stage that trains networks end to end, on the same folds as the heads."""
