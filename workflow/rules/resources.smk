# What jobs ask for: GPUs, threads, memory and time.
from snakemake.iocontainers import InputFiles

from scbind.core.gpulocks import may_have_gpu

# GPUs of one job, and at a time on this machine. `--resources gpu=0`, or the same in a profile, keeps all jobs from GPUs.
# Jobs on a cluster do not get this limit from Snakemake, so the environment tells them.
if workflow.is_main_process:
    limit = workflow.global_resources.get("gpu").value
    os.environ["SCBIND_GPU"] = "0" if limit == 0 else "1"
    # With a number of nodes, jobs run elsewhere. Without a GPU, jobs that could use one need not wait for each other.
    if limit is None and workflow.nodes is None and may_have_gpu():
        workflow.register_resource("gpu", 1)
GPU = int(os.environ.get("SCBIND_GPU", 1))


envvars:
    "SCBIND_GPU",


DAY = 24 * 60  # minutes
MOST_THREADS = 16  # of a job that trains


def memory(base, factor=0, **parts):
    """Return a function that gives memory in MB: ``base`` plus ``factor`` times the size of the input.

    ``parts`` are further factors, each for the size of a named part of the input. Memory doubles on each retry. Most
    rules stream or memory-map large files, so they need only the base.
    """
    return growing(base, factor, parts)


def training_threads(wildcards):
    """Return how many threads train a model on a CPU, and prepare its batches for a GPU.

    The layers of scbind's network are small, so a thread needs about 64 examples of a batch to be worth its cost
    (benchmarks/threads.py). The published network is large.
    """
    model = SETTINGS["models"][wildcards.model]
    if model["architecture"] == "scfan":
        return MOST_THREADS
    return min(MOST_THREADS, max(model["batch_size"] // 64, model["workers"] + 1))


def threads_by_size(most, mb):
    """Return a function that gives a job one thread per ``mb`` MB of input, ``most`` at most.

    A small job gains nothing from a second thread, and would keep a core from other jobs.
    """

    def sized(wildcards, input):
        try:
            return int(min(most, max(1, size_mb(input) / mb)))
        except OSError:  # in a plan, before the input is made
            return most

    return sized


def runtime(minutes, **parts):
    """Return a function that gives the time limit in minutes: ``minutes`` plus factors times the MB of ``parts``.

    Time doubles on each retry, but not beyond a day: many partitions allow no more, and the job would wait for ever.
    """
    return growing(minutes, 0, parts, DAY)


def growing(base, factor, parts, most=float("inf")):
    """Return the function of :func:`memory` or :func:`runtime`. Only a first attempt may ask for more than ``most``."""

    def grown(first, attempt):
        return int(max(first, min(first * 2 ** (attempt - 1), most)))

    def sized(wildcards, input, attempt):
        named = sum(times * size_mb(input[name]) for name, times in parts.items())
        return grown(base + (factor and factor * size_mb(input)) + named, attempt)

    return sized if factor or parts else lambda wildcards, attempt: grown(base, attempt)


def size_mb(paths):
    """Return the MB of a file or of files. ``input.size_mb`` does the same, but starts an event loop for each job."""
    files = [paths] if isinstance(paths, str) else paths
    if any(path.is_storage for path in files):
        return InputFiles(toclone=files).size_mb
    return sum(map(os.path.getsize, files)) / 2**20
