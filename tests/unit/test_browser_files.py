"""The session of IGV and the track hub: every track that they name is there, and nothing on which scbind abstains."""

import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pandas as pd
import pytest
from scbind.core.errors import InputError
from scbind.formats.colours import colours_of
from scbind.report.browser import BrowserFiles, write_browser

TYPES = {"B cell": "b_cell", "T+": "t"}


@pytest.fixture
def files(tmp_path):
    results = tmp_path / "results"

    def touch(name, text="x"):
        path = results / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    for slug in TYPES.values():
        for sample in ("s1", "s2"):
            for tf in ("SPI1", "PAX5", "EBF1", "TCF7", "GATA1.abstained"):
                touch(f"binding/{sample}/tracks/{slug}/{tf}.bw")
        touch(
            f"binding/s1/tracks/{slug}/levels.tsv",
            "tf\tlevel\tevidence\nSPI1\thigh\tchip\nTCF7\thigh\tmotif\n",
        )
    rows = [
        ("cell_type", name, tf, 0.01, 1.0, effect, tf == "GATA1")
        for name in TYPES
        for effect, tf in enumerate(("SPI1", "PAX5", "EBF1", "TCF7", "GATA1"), 1)
    ]
    rows.append(("cell_type", "T+", "CTCF", 0.9, 1.0, 9.0, False))  # not significant
    columns = [
        "contrast",
        "cell_type",
        "tf",
        "p_adjusted",
        "difference",
        "effect_size",
        "reliability_abstained",
    ]
    table = pd.DataFrame(rows, columns=columns).to_csv(sep="\t", index=False)
    sites = "cell_type\ttf\tchrom\tstart\tend\tbinding\n"
    sites += "T+\tSPI1\tchr2\t8000\t8200\t0.7\nT+\tSPI1\tchr1\t900\t1100\t0.9\n"
    return BrowserFiles(
        genome="hg38",
        fasta=touch("reference/hg38/genome.fa.gz"),
        tracks={sample: results / f"binding/{sample}/tracks" for sample in ("s1", "s2")},
        types=TYPES,
        all_types=list(TYPES),
        coverage={name: touch(f"pseudobulk/{slug}/coverage.bw") for name, slug in TYPES.items()},
        peaks={name: touch(f"pseudobulk/{slug}/peaks.narrowPeak") for name, slug in TYPES.items()}
        | {"B cell": touch("pseudobulk/b_cell/peaks.narrowPeak", "")},
        consensus=touch("peaks/consensus.bed"),
        genes=touch("genes.bed"),
        differential=touch("analysis/differential_tfs.tsv", table),
        sites=touch("analysis/best_sites.tsv", sites),
    )


@pytest.fixture
def written(files, tmp_path):
    session, hub = tmp_path / "results/browser/igv_session.xml", tmp_path / "results/browser/hub.txt"
    write_browser(files, session, hub)
    return session, hub


def test_every_path_leads_to_a_file_from_the_folder_of_the_session(written):
    session, hub = written
    root = ElementTree.parse(session).getroot()
    paths = [each.get("path") for each in root.iter("Resource")] + [root.get("genome")]
    paths += re.findall(r"^bigDataUrl (.*)$", hub.read_text(), re.M)
    for path in paths:
        assert not Path(path).is_absolute() and (session.parent / path).is_file(), path


def test_the_session_shows_the_strongest_tfs_of_each_type_and_opens_at_the_best_site(written):
    root = ElementTree.parse(written[0]).getroot()
    assert root.get("locus") == "chr1:1-6100"
    names = [track.get("name") for track in root.iter("Track")]
    assert [name for name in names if name.startswith("B cell: ") and "peaks" not in name] == [
        f"B cell: {tf} ({sample})" for tf in ("TCF7 (motif)", "EBF1", "PAX5") for sample in ("s1", "s2")
    ]
    assert "T+: peaks" in names and "B cell: peaks" not in names  # that file is empty
    assert "genes" in names and "consensus peaks" in names
    assert len(names) == len(set(names)) == len(list(root.iter("Resource")))


def test_the_hub_has_all_tfs_but_those_that_scbind_abstains_on(written):
    stanzas = [
        dict(line.split(" ", 1) for line in stanza.splitlines())
        for stanza in written[1].read_text().split("\n\n")
    ]
    assert stanzas[0]["useOneFile"] == "on" and stanzas[1] == {"genome": "hg38"}
    tracks = stanzas[2:]
    assert len({each["track"] for each in tracks}) == len(tracks)
    assert all(re.fullmatch(r"[A-Za-z]\w*", each["track"]) for each in tracks)
    with_data = [each for each in tracks if "bigDataUrl" in each]
    assert len(with_data) == 2 + 2 * 2 * 4
    assert {each["parent"] for each in with_data} == {
        each["track"] for each in tracks if "superTrack" in each
    }
    assert not any("abstained" in each["bigDataUrl"] for each in with_data)
    for each in with_data:  # no ChIP-seq stands behind this one
        by_motif = "TCF7" in each["bigDataUrl"]
        assert ("TCF7 (motif)" in each["longLabel"]) == ("(motif)" in each["shortLabel"]) == by_motif
    assert stanzas[0].keys() >= {"hub", "shortLabel", "longLabel", "email"} and " " not in stanzas[0]["hub"]
    seen = set()
    for each in tracks:  # what UCSC asks for
        assert each["shortLabel"] and len(each["shortLabel"]) <= 17 and len(each["longLabel"]) <= 80
        assert "parent" not in each or each["parent"] in seen, "a parent comes before its tracks"
        assert each.get("type", "bigWig") == "bigWig" and ("bigDataUrl" in each) == ("type" in each)
        seen.add(each["track"])
    coverage = {each["longLabel"] for each in with_data if each["bigDataUrl"].endswith("coverage.bw")}
    assert coverage == {"B cell: fragments per million", "T+: fragments per million"}


def test_a_track_that_is_gone_is_one_line(files, tmp_path):
    Path(files.coverage["T+"]).unlink()
    with pytest.raises(InputError, match=r"t/coverage\.bw"):
        write_browser(files, tmp_path / "s.xml", tmp_path / "hub.txt")
    assert not (tmp_path / "s.xml").exists() and not (tmp_path / "hub.txt").exists()


def test_a_type_has_the_colour_of_the_report_even_if_another_type_has_no_tracks(files, tmp_path):
    session, hub = tmp_path / "results/browser/igv_session.xml", tmp_path / "results/browser/hub.txt"
    write_browser(replace(files, all_types=["A without peaks", *TYPES]), session, hub)
    wanted = colours_of(["A without peaks", *TYPES])["T+"]
    expected = ",".join(str(int(wanted[i : i + 2], 16)) for i in (1, 3, 5))
    tracks = [
        each for each in ElementTree.parse(session).iter("Track") if each.get("name", "").startswith("T+")
    ]
    assert tracks and {each.get("color") for each in tracks} == {expected}
