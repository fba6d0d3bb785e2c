# Snakemake looks here first; the workflow itself is in workflow/.
include: "workflow/Snakefile"


# An included file cannot set the default target itself.
workflow.default_target = "all"
