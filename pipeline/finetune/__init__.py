"""The stage that trains networks end to end on the folds of the heads."""
