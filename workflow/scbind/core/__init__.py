"""What everything uses: one-line refusals, whole files or none, the log of a job, devices."""
