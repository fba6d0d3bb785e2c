"""Published results of another method, for windows that were held out in the same way.

maxATAC's authors tested every TF on chr1 of hg38 in a cell line that was held out of training, in windows of 200 bp.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from scbind.core.files import read_result, write_table
from scbind.core.runlog import say
from scbind.dataset.splits import CHR1_PROTOCOL
from scbind.evaluation.merge import METRIC_COLUMNS, stack_tables
from scbind.evaluation.registry import MAXATAC

TABLES = Path(__file__).with_name("tables")


def match_published(published: str, metrics: Sequence[str | Path], output: str | Path) -> None:
    """Write the published results for the pairs of cell line and TF that this run evaluated in the same way.

    Parameters
    ----------
    published
        Name of a table in ``evaluation/tables``: ``cell_line, tf, n_windows, n_bound, prevalence, auprc``, and the
        number of lines that were trained on.
    metrics
        Tables of the models and baselines. Pairs that have an AUPRC in the split ``CHR1_PROTOCOL`` are looked up; case
        does not matter in symbols of TFs.
    output
        Table with the columns of ``metrics.tsv``; only a header if nothing matches. Columns that were not published are
        empty.

    Raises
    ------
    InputError
        If a table is missing or damaged.
    """
    table = read_result(TABLES / f"{published}.tsv", "restore the file of the repository")
    ours = stack_tables(metrics, METRIC_COLUMNS)
    ours = ours[(ours["split"] == CHR1_PROTOCOL) & ours["auprc"].notna()]
    spelt = {(row.cell_line, row.tf.upper()): row.tf for row in ours.itertuples()}
    found = [
        {
            "model": MAXATAC,
            "cell_line": row.cell_line,
            "tf": spelt[row.cell_line, row.tf.upper()],
            "split": CHR1_PROTOCOL,
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
    say(f"{MAXATAC}: {len(found)} of {len(table)} published figures have a counterpart in this run")
    if ours.empty:
        say(
            f"no figure in the split {CHR1_PROTOCOL}: it needs hg38, and a line and chr1 held out of training"
        )
