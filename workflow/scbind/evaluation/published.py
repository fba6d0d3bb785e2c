"""Published figures of another method, for the windows that were held out in the same way."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from scbind.core.files import read_result, write_table
from scbind.core.runlog import say
from scbind.dataset.splits import TEST, kinds_of_holdout
from scbind.dataset.trainingset import TrainingSet
from scbind.evaluation.merge import METRIC_COLUMNS
from scbind.evaluation.registry import MAXATAC

TABLES = Path(__file__).with_name("tables")
ASSEMBLIES = ("hg38", "grch38")
CHROMOSOME, WINDOW = "chr1", 200  # of the published figures
SPLIT = "both"  # line and chromosome held out


def match_published(published: str, dataset: str | Path, reference: str | Path, output: str | Path) -> None:
    """Write the published figures of the pairs of cell line and TF that the dataset holds out in the same way.

    maxATAC's authors evaluated chr1 of a line that was held out of training. A row is written where no window of the
    line trains, the windows of the split ``both`` of this line are those of chr1 and no others, and the TF was assayed
    in the line.

    Parameters
    ----------
    published
        Name of a table in ``evaluation/tables``: ``cell_line, tf, n_windows, n_bound, prevalence, auprc`` of windows of
        200 bp on chr1, and the number of lines that were trained on.
    dataset, reference
        ``results/dataset`` and ``results/reference/{genome}``.
    output
        Table with the columns of ``metrics.tsv``; only a header if nothing matches. The columns that nobody published
        are empty.

    Raises
    ------
    InputError
        If a file is missing or damaged.
    """
    table = read_result(TABLES / f"{published}.tsv", "restore the file of the repository")
    data = TrainingSet.open(dataset, reference)
    lines, why = comparable_lines(data)
    assayed = {
        (line, tf)
        for line in lines
        for tf, known in zip(data.tfs, data.manifest["assayed"][data.lines.index(line)], strict=True)
        if known
    }
    spelt = {(line, tf.upper()): tf for line, tf in assayed}
    found = [
        {
            "model": MAXATAC,
            "cell_line": row.cell_line,
            "tf": spelt[row.cell_line, row.tf.upper()],
            "split": SPLIT,
            "n_windows": row.n_windows,
            "n_bound": row.n_bound,
            "prevalence": row.prevalence,
            "auprc": row.auprc,
            "log2_gain": np.log2(row.auprc / row.prevalence),
        }
        for row in table.itertuples()
        if (row.cell_line, row.tf.upper()) in spelt
    ]
    write_table(output, pd.DataFrame(found, columns=METRIC_COLUMNS))
    say(
        f"{MAXATAC}: {len(found)} of {len(table)} published figures have a counterpart here{why if not found else ''}"
    )


def comparable_lines(data: TrainingSet) -> tuple[list[str], str]:
    """Return the lines whose windows of the split ``both`` are chr1 of hg38, and else why there are none, as text."""
    if data.genome.name.lower() not in ASSEMBLIES:
        return [], f": the genome is called {data.genome.name}, not {ASSEMBLIES[0]}"
    if data.manifest["window"] != WINDOW:
        return [], f": windows have {data.manifest['window']} bp, not {WINDOW}"
    lines = []
    for number, line in enumerate(data.lines):
        window = np.flatnonzero(np.asarray(data.splits[number]) == TEST)
        both = kinds_of_holdout(np.asarray(data.splits), number, window).get(SPLIT)
        if both is not None:
            names = {data.genome.sizes.names[index] for index in np.unique(data.chrom[window[both]])}
            if names == {CHROMOSOME}:
                lines.append(line)
    return lines, f": no line is held out whose only chromosome held out of all lines is {CHROMOSOME}"
