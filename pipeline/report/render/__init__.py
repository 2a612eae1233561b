"""The page, its charts and the files beside it."""
