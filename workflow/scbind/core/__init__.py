"""What all rooms use: one-line errors, files that are written whole or not at all, the log of a job, devices."""
