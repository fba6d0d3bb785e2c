# Settings of the section `cells` that the embedding does not use.
NOT_OF_EMBEDDING = ("assay", "barcode_tag", "harmony", "min_barcode")


# Quality control, embedding, clusters and cell types of all samples of a group together.
rule embed_cells:
    input:
        barcodes=lambda wildcards: per_sample(
            "results/cells/{sample}/barcodes.tsv", group_samples(wildcards.group)
        ),
        position=lambda wildcards: per_sample(
            "results/cells/{sample}/position.npy", group_samples(wildcards.group)
        ),
        cell=lambda wildcards: per_sample("results/cells/{sample}/cell.npy", group_samples(wildcards.group)),
        peaks=lambda wildcards: per_sample(
            "results/cells/{sample}/peaks.narrowPeak", group_samples(wildcards.group)
        ),
        profile=lambda wildcards: per_sample(
            "results/cells/{sample}/profile.tsv", group_samples(wildcards.group)
        ),
        labels=lambda wildcards: [
            PLAN.samples[sample]["labels"] for sample in labelled_samples(wildcards.group)
        ],
        sizes=f"{REFERENCE}/chrom.sizes",
        exclude=f"{REFERENCE}/exclude.bed",
    output:
        embedding="results/embedding/{group}.h5ad",
    log:
        "logs/embed_cells/{group}.log",
    benchmark:
        "logs/embed_cells/{group}.benchmark.tsv"
    conda:
        "../../envs/core.yaml"
    threads: threads_by_size(4, 100)
    resources:
        mem_mb=memory(4000, 0.1, barcodes=150),
        runtime=runtime(480),
    params:
        samples=lambda wildcards: group_samples(wildcards.group),
        labelled=lambda wildcards: labelled_samples(wildcards.group),
        options={key: value for key, value in SETTINGS["cells"].items() if key not in NOT_OF_EMBEDDING},
        batches=lambda wildcards: harmony_batches(group_samples(wildcards.group)),
        files=lambda wildcards: [
            state for sample in group_samples(wildcards.group) for state in sample_states(sample, "labels")
        ],
        code=source_digest("cells.embedding", script="embed_cells"),
    script:
        "../scripts/embed_cells.py"


# Where figures place the cells of a group. Nothing that is computed from cells depends on it.
rule embed_umap:
    input:
        embedding="results/embedding/{group}.h5ad",
    output:
        umap="results/embedding/umap/{group}.h5ad",
    log:
        "logs/embed_umap/{group}.log",
    benchmark:
        "logs/embed_umap/{group}.benchmark.tsv"
    conda:
        "../../envs/core.yaml"
    threads: 4
    resources:
        mem_mb=memory(4000, 4),
        runtime=runtime(240),
    params:
        seed=lookup("cells/seed", within=SETTINGS),
        code=source_digest("cells.umap", script="embed_umap"),
    script:
        "../scripts/embed_umap.py"


# The embedding of the cells of one sample.
rule sample_cells:
    input:
        embedding=lambda wildcards: f"results/embedding/{sample_row(wildcards.sample)['group']}.h5ad",
    output:
        embedding="results/cells/{sample}/embedding.h5ad",
    log:
        "logs/sample_cells/{sample}.log",
    benchmark:
        "logs/sample_cells/{sample}.benchmark.tsv"
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=memory(4000, 4),
        runtime=runtime(60),
    params:
        code=source_digest("cells.lenders", script="sample_cells"),
    script:
        "../scripts/sample_cells.py"


# The cells of one sample with their donor, condition and UMAP. What is inferred from cells does not read this file.
rule describe_cells:
    input:
        embedding="results/cells/{sample}/embedding.h5ad",
        umap=lambda wildcards: f"results/embedding/umap/{sample_row(wildcards.sample)['group']}.h5ad",
    output:
        cells="results/cells/{sample}/cells.h5ad",
    log:
        "logs/describe_cells/{sample}.log",
    benchmark:
        "logs/describe_cells/{sample}.benchmark.tsv"
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=memory(4000, 4),
        runtime=runtime(60),
    params:
        metadata=lambda wildcards: {key: sample_row(wildcards.sample)[key] for key in ("donor", "condition")},
        code=source_digest("cells.described", script="describe_cells"),
    script:
        "../scripts/describe_cells.py"


# The cells that each cell borrows from. Only what predicts binding reads this file: cell types and peaks do not depend on
# what cells borrow.
rule find_lenders:
    input:
        cells="results/cells/{sample}/embedding.h5ad",
    output:
        lenders="results/cells/{sample}/lenders.h5ad",
    log:
        "logs/find_lenders/{sample}.log",
    benchmark:
        "logs/find_lenders/{sample}.benchmark.tsv"
    conda:
        "../../envs/core.yaml"
    threads: 4
    resources:
        mem_mb=memory(4000, 4),
        runtime=runtime(240),
    params:
        borrow_fragments=lookup("infer/borrow_fragments", within=SETTINGS),
        max_neighbours=lookup("infer/max_neighbours", within=SETTINGS),
        weights=lookup("infer/weights", within=SETTINGS),
        code=source_digest("cells.lenders", script="find_lenders"),
    script:
        "../scripts/find_lenders.py"
