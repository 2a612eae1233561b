"""What grows with clips, classes and groups in stage 2, the audit and the report."""
