"""Readers and writers of the files that several stages share, and what is computed from their records."""
