rule choose_windows:
    input:
        REFERENCE_FILES,
        mappability=MAPPABILITY,
        peaks="results/peaks/consensus.bed",
        exclude=f"{REFERENCE}/exclude.bed",
    output:
        windows="results/binding/windows.npz",
    log:
        "logs/choose_windows/windows.log",
    benchmark:
        "logs/choose_windows/windows.benchmark.tsv"
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=memory(4000),
        runtime=runtime(60),
    params:
        reference=subpath(input[0], parent=True),
        geometry=GEOMETRY,
        code=source_digest("binding.choice", script="choose_windows"),
    script:
        "../scripts/choose_windows.py"


# Computes the sequence part of the network, which is the expensive part, once per window instead of once per cell.
rule sequence_readout:
    input:
        REFERENCE_FILES,
        mappability=MAPPABILITY,
        weights=f"results/models/{INFER_MODEL}/model.safetensors",
        windows="results/binding/windows.npz",
    output:
        readout="results/binding/readout.npy",
        key="results/binding/readout.json",
    log:
        "logs/sequence_readout/readout.log",
    benchmark:
        "logs/sequence_readout/readout.benchmark.tsv"
    # All results of the cells wait for it.
    priority: 1
    conda:
        "../../envs/train.yaml"
    threads: 8
    resources:
        gpu=GPU,
        mem_mb=memory(4000),
        runtime=runtime(240),
    params:
        reference=subpath(input[0], parent=True),
        code=source_digest("binding.readout", script="sequence_readout"),
    script:
        "../scripts/sequence_readout.py"


# The reference for TF activity: the mean predicted binding of cells thinned to several depths, the openness of each
# window, and background windows of similar GC content and accessibility.
rule reference_profile:
    input:
        REFERENCE_FILES,
        weights=f"results/models/{INFER_MODEL}/model.safetensors",
        calibration=f"results/models/{INFER_MODEL}/calibration.json",
        readout="results/binding/readout.npy",
        key="results/binding/readout.json",
        windows="results/binding/windows.npz",
        position=per_sample("results/cells/{sample}/position.npy", PLAN.binding_samples),
        cell=per_sample("results/cells/{sample}/cell.npy", PLAN.binding_samples),
        lenders=per_sample("results/cells/{sample}/lenders.h5ad", PLAN.binding_samples),
    output:
        profile="results/binding/reference.npz",
    log:
        "logs/reference_profile/reference.log",
    benchmark:
        "logs/reference_profile/reference.benchmark.tsv"
    # All results of the cells wait for it.
    priority: 1
    conda:
        "../../envs/train.yaml"
    threads: 8
    resources:
        gpu=GPU,
        mem_mb=memory(6000, readout=2),
        runtime=runtime(240),
    params:
        reference=subpath(input[0], parent=True),
        samples=PLAN.binding_samples,
        options={key: SETTINGS["infer"][key] for key in ("background_draws", "seed", "precision")},
        code=source_digest("binding.referenceprofile", script="reference_profile"),
    script:
        "../scripts/reference_profile.py"


# Predicts binding in one part of the cells of a sample. The number of parts (--set-scatter cells=8) does not change the
# results.
rule infer_binding:
    input:
        REFERENCE_FILES,
        weights=f"results/models/{INFER_MODEL}/model.safetensors",
        calibration=f"results/models/{INFER_MODEL}/calibration.json",
        readout="results/binding/readout.npy",
        key="results/binding/readout.json",
        windows="results/binding/windows.npz",
        profile="results/binding/reference.npz",
        position="results/cells/{sample}/position.npy",
        cell="results/cells/{sample}/cell.npy",
        lenders="results/cells/{sample}/lenders.h5ad",
    output:
        shard=PART("results/binding/{sample}/shards/{scatteritem}.npz"),
    log:
        "logs/infer_binding/{sample}.{scatteritem}.log",
    benchmark:
        "logs/infer_binding/{sample}.{scatteritem}.benchmark.tsv"
    # All results of the cells wait for it.
    priority: 1
    conda:
        "../../envs/train.yaml"
    threads: 8
    resources:
        gpu=GPU,
        mem_mb=memory(6000, profile=3, readout=1),
        runtime=runtime(720, profile=0.2),
    params:
        reference=subpath(input[0], parent=True),
        shard=lambda wildcards: [int(part) for part in wildcards.scatteritem.split("-of-")],
        options={key: SETTINGS["infer"][key] for key in ("floor", "max_error", "precision")}
        | {"sites": KEEP_SITES},
        code=source_digest("binding.inference", script="infer_binding"),
    script:
        "../scripts/infer_binding.py"
