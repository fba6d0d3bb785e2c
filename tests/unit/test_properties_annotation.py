"""Properties of genes, motifs, names of types and strays: neither the format nor the name of a thing changes it."""

import gzip
from urllib.parse import quote

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scbind.core.errors import InputError
from scbind.formats.genes import read_genes
from scbind.formats.genome import ChromSizes
from scbind.formats.motiffiles import read_profiles
from scbind.formats.motifs import log_odds
from scbind.formats.strays import Rule, Strays
from scbind.peaks.pseudobulk import slugs


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("annotation")


LINE_ENDS = ("\n", "\r\n", "\r")
# --- genes ------------------------------------------------------------------------------------------------------------

LETTERS = st.characters(exclude_categories=("Cc", "Cs"), exclude_characters='"')
GENE_NAMES = st.text(LETTERS, min_size=1, max_size=8).filter(lambda text: text == text.strip())
SIZES = ChromSizes(("1", "HLA-A*01:01:01:01", "NC_000001.11"), np.array([1000, 400, 3_000_000_000]))
SPANS = st.integers(0, 2).flatmap(
    lambda chrom: st.tuples(
        st.just(chrom),
        *2 * (st.integers(0, int(SIZES.lengths[chrom]) - 1),),
    )
)
GENE_NAMES |= st.sampled_from(["NA", "nan", "1e5", "gene:x", "a;b=c", "%41", "#1", "123", "gene_id y"])
GENES = st.lists(st.tuples(GENE_NAMES, SPANS, st.sampled_from("+-")), min_size=1, max_size=6)


def gtf(row: int, name: str, feature: str) -> str:
    return f'gene_id "G{row}"; transcript_id "T{row}"; gene_type "x; gene_name y"; gene_name "{name}";'


def gff3(row: int, name: str, feature: str) -> str:
    return f"ID={feature}:{row};Parent=T{row};Name={quote(name, safe=' :#@()')};biotype=x"


@given(GENES, st.sampled_from(["gene", "transcript", "exon"]), st.integers(1, 3), st.booleans())
def test_the_same_genes_in_any_format_give_the_same_table(folder, genes, feature, parts, packed):
    spans = [(name, chrom, *sorted(ends), strand) for name, (chrom, *ends), strand in genes]
    expected = sorted(
        (name, chrom, low, high + 1, low if strand == "+" else high, strand)
        for name, chrom, low, high, strand in spans
    )
    texts = ["".join(f"{SIZES.names[chrom]}\t{low}\t{high + 1}\t{name}\t0\t{strand}\n"
                     for name, chrom, low, high, strand in spans)]  # fmt: skip
    for attributes in (gtf, gff3):
        text = "##a header\n"
        for row, (name, chrom, low, high, strand) in enumerate(spans):
            cuts = (
                np.unique(np.linspace(low, high + 1, parts + 1).astype(int))
                if feature == "exon"
                else [low, high + 1]
            )
            exons = list(zip(cuts, cuts[1:], strict=False))
            for begin, end in exons if strand == "+" else exons[::-1]:
                text += f"{SIZES.names[chrom]}\tx\t{feature}\t{begin + 1}\t{end}\t.\t{strand}\t.\t"
                text += attributes(row, name, feature) + "\n"
        texts.append(text)
    for text in texts:
        path = folder / "genes"
        path.write_bytes(gzip.compress(text.encode()) if packed else text.encode())
        table = read_genes(path, SIZES)
        assert sorted(table.itertuples(index=False, name=None)) == expected
        places = table[["chrom", "tss"]].to_numpy().tolist()
        assert places == sorted(places)


# --- motifs -----------------------------------------------------------------------------------------------------------

SITES = 1000


@st.composite
def matrices(draw):
    cuts = st.tuples(*3 * (st.integers(0, SITES),)).map(sorted)
    columns = [np.diff([0, *each, SITES]) for each in draw(st.lists(cuts, min_size=1, max_size=6))]
    return np.array(columns).T


def motif_text(kind: str, counts: np.ndarray) -> str:
    def rows(values) -> str:
        return "".join(" ".join(f"{value:g}" for value in row) + "\n" for row in values)

    if kind == "JASPAR":
        body = "".join(
            f"{base} [ {' '.join(map(str, row))} ]\n" for base, row in zip("ACGT", counts, strict=True)
        )
        return f">MA0139.1\tCTCF\n{body}"
    if kind == "HOCOMOCO rows":
        return ">CTCF_HUMAN.H11MO.0.A\n" + rows(counts)
    if kind == "HOMER":
        return ">CCASYAG\tCTCF(Zf)/CD4+-CTCF/Homer\t6.5\t-1.2\t0\n" + rows(counts.T / SITES)
    if kind == "MEME":
        head = f"letter-probability matrix: alength= 4 w= {counts.shape[1]} nsites= {SITES} E= 0\n"
        return f"MEME version 4\n\nALPHABET= ACGT\n\nMOTIF MA0139.1 CTCF\n{head}{rows(counts.T / SITES)}\nURL x\n"
    body = "".join(f"{row:02d} {' '.join(map(str, column))} N\n" for row, column in enumerate(counts.T, 1))
    return f"AC MA0139.1\nXX\nID CTCF\nXX\nP0 A C G T\n{body}XX\n//\n"


@given(st.lists(matrices(), min_size=1, max_size=2), st.sampled_from(LINE_ENDS))
@example(
    [np.array([[400, 100, 200, 300], [300, 400, 100, 200], [200, 300, 400, 100], [100, 200, 300, 400]])], "\n"
)
def test_the_same_matrix_in_any_format_gives_the_same_log_odds(folder, counts, end):
    path = folder / "motifs"
    for kind in ("JASPAR", "HOCOMOCO rows", "HOMER", "MEME", "TRANSFAC"):
        path.write_text("".join(motif_text(kind, each) for each in counts).replace("\n", end))
        if kind == "MEME":
            texts = [motif_text(kind, each) for each in counts]
            path.write_text(texts[0] + "".join(text.partition("ACGT\n\n")[2] for text in texts[1:]))
        try:
            found = read_profiles(path)
        except InputError as error:  # in four rows of four, positions may be rows or columns
            assert "of 4 x 4 may have" in str(error) and kind in ("HOCOMOCO rows", "HOMER")
            continue
        assert [profile.name for profile in found] == ["CTCF"] * len(counts)
        for profile, each in zip(found, counts, strict=True):
            np.testing.assert_allclose(log_odds(profile.counts), log_odds(each), atol=1e-4, err_msg=kind)


# --- names and strays -------------------------------------------------------------------------------------------------


@given(
    st.lists(
        st.text(max_size=100) | st.sampled_from(["a", "A", "a_2", "..", "CON", "ß", "Ⅸ", "K"]), unique=True
    )
)
def test_slugs_are_unique_and_safe_names(names):
    made = slugs(names)
    assert len({slug.casefold() for slug in made}) == len(names)
    assert slugs(names) == made
    for name, slug in zip(names, made, strict=True):
        assert (
            slug.isascii()
            and slug[0].isalnum()
            and not set(slug)
            - set(name)
            - set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")
        )


@given(st.integers(1, 2000), st.integers(-1, 2), st.integers(1, 4), st.randoms(use_true_random=False))
def test_one_in_a_hundred_may_stray(total, more, parts, random):
    bad = min(max(0, total // 100 + more), total)
    broken = np.zeros(total, dtype=bool)
    broken[random.sample(range(total), bad)] = True
    rules = Rule("it is odd", "mend it"), Rule("it is worse", "drop it")
    strays, dropped = Strays("file", "records"), []
    for part in np.array_split(np.arange(total), parts):
        both = {rules[0]: broken[part], rules[1]: broken[part] & (part % 2 == 0)}
        dropped += strays.drop(both, lambda row, part=part: f"line {part[row] + 1}").tolist()
    assert dropped == broken.tolist() and strays.n == bad
    if bad > max(1, total / 100) or bad == total:
        with pytest.raises(
            InputError, match=f"file, line {int(np.argmax(broken)) + 1}: it is odd.*; mend it"
        ):
            strays.settle(total)
    else:
        strays.settle(total)
