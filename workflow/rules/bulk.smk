# One insertion track per training cell line, from input files of any supported format.
rule bulk_track:
    input:
        tracks=lambda wildcards: [track["path"] for track in PLAN.tracks[wildcards.cell_line]],
        sizes=f"{REFERENCE}/chrom.sizes",
    output:
        bigwig="results/bulk/{cell_line}/insertions.bw",
        facts="results/bulk/{cell_line}/track.json",
        fragments="results/bulk/{cell_line}/fragments.npy",
    log:
        "logs/bulk_track/{cell_line}.log",
    benchmark:
        "logs/bulk_track/{cell_line}.benchmark.tsv"
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=memory(4000, 0.5),
        runtime=runtime(240),
    params:
        tracks=lambda wildcards: [
            {"format": track["format"], "region": track["region"]}
            for track in PLAN.tracks[wildcards.cell_line]
        ],
        files=lambda wildcards: track_states(wildcards.cell_line),
        code=source_digest("bulk.tracks", script="bulk_track"),
    script:
        "../scripts/bulk_track.py"


# Open chromatin of each line. Hard negatives (unbound windows in open chromatin) come from these peaks.
rule bulk_peaks:
    input:
        bigwig="results/bulk/{cell_line}/insertions.bw",
        facts="results/bulk/{cell_line}/track.json",
        sizes=f"{REFERENCE}/chrom.sizes",
    output:
        peaks="results/bulk/{cell_line}/peaks.narrowPeak",
    log:
        "logs/bulk_peaks/{cell_line}.log",
    benchmark:
        "logs/bulk_peaks/{cell_line}.benchmark.tsv"
    conda:
        "../../envs/peaks.yaml"
    resources:
        mem_mb=memory(4000, 20),
        runtime=runtime(240),
    params:
        qvalue=lookup("peaks/qvalue", within=SETTINGS),
        extsize=lookup("peaks/extsize", within=SETTINGS),
        code=source_digest("peaks.macs3", script="bulk_peaks"),
    script:
        "../scripts/bulk_peaks.py"
