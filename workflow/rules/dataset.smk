# Windows, labels, splits and signal of all lines. All models are trained and tested on this dataset.
rule build_dataset:
    input:
        REFERENCE_FILES,
        mappability=MAPPABILITY,
        chip=[row["path"] for row in PLAN.chip],
        relaxed=[row["relaxed"] for row in PLAN.chip if row["relaxed"]],
        tracks=expand("results/bulk/{cell_line}/insertions.bw", cell_line=PLAN.tracks),
        facts=expand("results/bulk/{cell_line}/track.json", cell_line=PLAN.tracks),
        fragments=expand("results/bulk/{cell_line}/fragments.npy", cell_line=PLAN.tracks),
        peaks=expand("results/bulk/{cell_line}/peaks.narrowPeak", cell_line=PLAN.tracks),
        given=expand("results/models/{model}/bundle.json", model=GIVEN),
        extends=sorted(set(EXTENDED.values())),
    output:
        folder=directory("results/dataset"),
    log:
        "logs/build_dataset/dataset.log",
    benchmark:
        "logs/build_dataset/dataset.benchmark.tsv"
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=memory(8000, 1),
        runtime=runtime(240),
    params:
        reference=subpath(input[0], parent=True),
        cell_lines=list(PLAN.tracks),
        chip=[(row["cell_line"], row["tf"], bool(row["relaxed"])) for row in PLAN.chip],
        splits=SETTINGS["splits"],
        given=list(GIVEN),
        training=bool(TRAINED),
        geometry=GEOMETRY,
        experiments=EXPERIMENTS,
        files=lambda wildcards: states(
            *(row[key] for row in PLAN.chip for key in ("path", "relaxed")), *sorted(set(EXTENDED.values()))
        ),
        code=source_digest("dataset.build", script="build_dataset"),
    script:
        "../scripts/build_dataset.py"
