import gzip
import subprocess

import numpy as np
import pytest
from scbind.core.errors import InputError
from scbind.formats.fragments import iter_fragments
from scbind.formats.genome import ChromSizes

SIZES = ChromSizes(("chr1", "chr2"), np.array([1_000_000, 500_000]))


def save(path, number):
    lines = [
        f"{name}\t{10 * row}\t{10 * row + 9}\tA-1\t1\n" for name, n in number.items() for row in range(n)
    ]
    path.write_bytes(gzip.compress(("# made here\n" + "".join(lines)).encode()))
    return path


def read(path):
    return sum(len(frame) for frame in iter_fragments(path, SIZES))


@pytest.mark.parametrize(
    ("number", "kept"),
    [
        ({"1": 30, "2": 5}, 35),
        ({"1": 30, "chr2": 30}, 60),  # those that fit already keep their names
        ({"GRCh38_chr1": 40, "GRCh38_chr2": 1, "mm10_chr1": 20, "mm10_chr2": 19}, 41),  # not the mouse
        ({"GRCh38_1": 40, "mm10_1": 40}, 40),
    ],
)
def test_the_remedy_works_for_the_very_file(tmp_path, number, kept):
    path = save(tmp_path / "my file's.tsv.gz", number)
    with pytest.raises(InputError) as caught:
        read(path)
    command = "zcat" + str(caught.value).split(": zcat", 1)[1]
    subprocess.run(command, shell=True, cwd=tmp_path, check=True)
    assert read(tmp_path / "RENAMED.gz") == kept


def test_another_species_is_never_renamed_onto_this_one(tmp_path, capsys):
    assert read(save(tmp_path / "f.tsv.gz", {"chr1": 20, "mm10_chr1": 30})) == 20
    assert "WARNING" in (said := capsys.readouterr().err) and "left out 30 of 50 fragments (60.0%)" in said
