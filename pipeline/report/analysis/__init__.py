"""The numbers of the report, without any drawing."""
