# One self-contained page from the results of this run, and the warnings at its top, which also end the run.
rule write_report:
    input:
        activity=per_sample("results/activity/{sample}.h5ad", PLAN.binding_samples),
        cells=per_sample("results/cells/{sample}/cells.h5ad", PLAN.binding_samples),
        lenders=per_sample("results/cells/{sample}/lenders.h5ad", PLAN.binding_samples),
        profiles=per_sample("results/cells/{sample}/profile.tsv", PLAN.binding_samples),
        windows="results/binding/windows.npz",
        metrics=(
            "results/evaluation/metrics.tsv"
            if HAS_DATASET
            else f"results/models/{INFER_MODEL}/stated_evaluation.tsv"
        ),
        curves=expand("results/models/{model}/curves.npz", model=TESTED),
        baseline_curves=expand("results/evaluation/baselines/{name}.npz", name=BASELINES),
        oracle_curves=expand("results/evaluation/{name}.npz", name=ORACLE),
        depth=optional("results/evaluation/depth.tsv" if HAS_DATASET else None),
        methods=optional(ACTIVITY_TABLE),
        separation=optional(SEPARATION_TABLE),
        left_out=optional(LEFT_OUT_TABLE),
        needed=optional("results/evaluation/fragments_needed.tsv" if HAS_DATASET else None),
        bundle=optional(f"results/models/{INFER_MODEL}/bundle.json" if INFER_MODEL in GIVEN else None),
        extends=optional(EXTENDED.get(INFER_MODEL)),
        training=expand("results/models/{model}/training.csv", model=MODELS),
        differential="results/analysis/differential_tfs.tsv",
        differential_sites=optional(DIFFERENTIAL_SITES),
        site_counts=optional(DIFFERENTIAL_COUNTS),
        populations="results/analysis/populations.tsv",
        population_cells="results/analysis/population_cells.tsv",
        abundance="results/analysis/abundance.tsv",
        targets=optional(TARGET_TABLE),
        links=optional(LINK_TABLE),
        expression=optional(EXPRESSION_TABLE),
        motifs=optional(MOTIF_TABLE),
        sites=optional(SITE_TABLE),
        variants=optional(STRONGEST_TABLE),
        explain=optional(EXPLAIN_TABLE),
        matrices=known_motifs(INFER_MODEL),
        found=optional("results/motifs/found.tsv" if INFER_MODEL in STARTS_FROM_MOTIFS else None),
        found_matrices=optional("results/motifs/found.npz" if INFER_MODEL in STARTS_FROM_MOTIFS else None),
        learned=optional(
            f"results/models/{INFER_MODEL}/learned_motifs.tsv"
            if INFER_MODEL in [*GIVEN, *STARTS_FROM_MOTIFS]
            else None
        ),
        weights=f"results/models/{INFER_MODEL}/model.safetensors",
        types="results/cells/cell_types.tsv",
        peaks=per_type("results/pseudobulk/{slug}/peaks.json"),
        tracks=expand("results/bulk/{cell_line}/track.json", cell_line=PLAN.tracks),
        truth=[*TRUTH_TABLES, *COHORT_TABLES],
        genes=optional(SETTINGS["genome"]["genes"]),
        sizes=f"{REFERENCE}/chrom.sizes",
        cards=expand("results/models/{model}/card.md", model=MODELS),
        provenance=["results/provenance/config.yaml", "results/provenance/sheets.tsv"],
    output:
        page=report("results/report.html", caption="../report/page.rst", category="Report"),
        figures=report(
            directory("results/figures"),
            patterns=["{figure}.png"],
            caption="../report/figure.rst",
            category="Figures",
            labels={"figure": "{figure}"},
        ),
        warnings="results/warnings.tsv",
    log:
        "logs/write_report/report.log",
    benchmark:
        "logs/write_report/report.benchmark.tsv"
    conda:
        "../../envs/train.yaml"
    resources:
        mem_mb=memory(4000, 1),
        runtime=runtime(60),
    params:
        samples=PLAN.binding_samples,
        models=MODELS,
        tested=TESTED,
        applied_to={"genome": SETTINGS["genome"]["name"], "species": SETTINGS["genome"]["species"]},
        baselines=[*BASELINES, *ORACLE],
        cell_types=lambda wildcards: [row["cell_type"] for row in pooled_types()],
        cell_lines=list(PLAN.tracks),
        borrow_fragments=lookup("infer/borrow_fragments", within=SETTINGS),
        min_cells=lookup("analysis/min_cells", within=SETTINGS),
        assay=lookup("cells/assay", within=SETTINGS),
        looser=settings.looser_thresholds(SETTINGS["cells"]),
        files=key_states("genome/genes") + states(EXTENDED.get(INFER_MODEL)),
        template=[
            template_digest(name) for name in ("report.html.j2", "report.css", "shared.js", "report.js")
        ],
        code=source_digest("report.page", script="write_report"),
    script:
        "../scripts/write_report.py"


# Opens the tracks of all cell types in IGV, or as a track hub in the browser of UCSC.
rule write_browser:
    input:
        fasta=f"{REFERENCE}/genome.fa.gz",
        tracks=type_tracks(),
        coverage=per_type("results/pseudobulk/{slug}/coverage.bw"),
        peaks=per_type("results/pseudobulk/{slug}/peaks.narrowPeak"),
        consensus="results/peaks/consensus.bed",
        genes=optional(SETTINGS["genome"]["genes"]),
        differential="results/analysis/differential_tfs.tsv",
        sites=optional(SITE_TABLE),
    output:
        session="results/browser/igv_session.xml",
        hub="results/browser/hub.txt",
    log:
        "logs/write_browser/browser.log",
    benchmark:
        "logs/write_browser/browser.benchmark.tsv"
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=memory(1000),
        runtime=runtime(30),
    params:
        genome=SETTINGS["genome"]["name"],
        samples=PLAN.binding_samples if KEEP_SITES else [],
        types=lambda wildcards: [row["cell_type"] for row in pooled_types()],
        slugs=lambda wildcards: [row["slug"] for row in pooled_types()],
        all_types=lambda wildcards: [row["cell_type"] for row in read_rows(types_file())],
        files=key_states("genome/genes"),
        code=source_digest("report.browser", script="write_browser"),
    script:
        "../scripts/write_browser.py"


# The best sites of each TF with the tracks of all cell types, in one page that needs no other file.
rule write_loci:
    input:
        fasta=f"{REFERENCE}/genome.fa.gz",
        index=multiext(f"{REFERENCE}/genome.fa.gz", ".fai", ".gzi"),
        sizes=f"{REFERENCE}/chrom.sizes",
        tracks=type_tracks(),
        coverage=per_type("results/pseudobulk/{slug}/coverage.bw"),
        consensus="results/peaks/consensus.bed",
        genes=optional(SETTINGS["genome"]["genes"]),
        differential="results/analysis/differential_tfs.tsv",
        sites=optional(SITE_TABLE),
    output:
        "results/browser/loci.html",
    log:
        "logs/write_loci/loci.log",
    benchmark:
        "logs/write_loci/loci.benchmark.tsv"
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=memory(2000),
        runtime=runtime(60),
    params:
        genome=SETTINGS["genome"]["name"],
        samples=PLAN.binding_samples if KEEP_SITES else [],
        types=lambda wildcards: [row["cell_type"] for row in pooled_types()],
        slugs=lambda wildcards: [row["slug"] for row in pooled_types()],
        all_types=lambda wildcards: [row["cell_type"] for row in read_rows(types_file())],
        template=[
            template_digest(name)
            for name in (
                "loci.html.j2",
                "report.css",
                "loci.css",
                "shared.js",
                "loci.js",
                "igv.min.js",
                "igv.LICENSE.txt",
            )
        ],
        files=key_states("genome/genes"),
        code=source_digest("report.loci", script="write_loci"),
    script:
        "../scripts/write_loci.py"
