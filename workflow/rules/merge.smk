# The results of a sample, from the parts of its cells.
rule merge_shards:
    input:
        REFERENCE_FILES,
        shards=gather.cells("results/binding/{{sample}}/shards/{scatteritem}.npz"),
        windows="results/binding/windows.npz",
        cells="results/cells/{sample}/cells.h5ad",
    output:
        binding=directory("results/binding/{sample}.zarr"),
    log:
        "logs/merge_shards/{sample}.log",
    benchmark:
        "logs/merge_shards/{sample}.benchmark.tsv"
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=memory(4000, shards=0.05),
        runtime=runtime(240, shards=0.005),
    params:
        reference=subpath(input[0], parent=True),
        provenance={
            "model": INFER_MODEL,
            "genome": SETTINGS["genome"]["name"],
            "inference": source_digest("binding.inference"),
        },
        code=source_digest("binding.merging", script="merge_shards"),
    script:
        "../scripts/merge_shards.py"


# All cell types of a sample in one job, because reading the store takes most of the time.
rule cell_type_tracks:
    input:
        binding="results/binding/{sample}.zarr",
        table="results/cells/cell_types.tsv",
        sizes=f"{REFERENCE}/chrom.sizes",
    output:
        tracks=directory("results/binding/{sample}/tracks"),
    log:
        "logs/cell_type_tracks/{sample}.log",
    benchmark:
        "logs/cell_type_tracks/{sample}.benchmark.tsv"
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=memory(4000),
        runtime=runtime(240),
    params:
        min_probability=lookup("infer/min_probability", within=SETTINGS),
        code=source_digest("binding.celltracks", script="cell_type_tracks"),
    script:
        "../scripts/cell_type_tracks.py"


rule activity_matrix:
    input:
        shards=gather.cells("results/binding/{{sample}}/shards/{scatteritem}.npz"),
        cells="results/cells/{sample}/cells.h5ad",
        metrics=ACCURACY,
        types="results/cells/cell_types.tsv",
    output:
        activity="results/activity/{sample}.h5ad",
    log:
        "logs/activity_matrix/{sample}.log",
    benchmark:
        "logs/activity_matrix/{sample}.benchmark.tsv"
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=memory(4000),
        runtime=runtime(60),
    params:
        code=source_digest("binding.activity", script="activity_matrix"),
    script:
        "../scripts/activity_matrix.py"
