"""Renders the page, its charts and the other files of the report."""
