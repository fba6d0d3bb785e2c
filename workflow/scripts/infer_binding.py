from scbind.core.runlog import logged

with logged(snakemake.log[0]):
    from scbind.binding.inference import infer_shard
    from scbind.core.devices import prediction_device

    number, of = snakemake.params.shard
    infer_shard(
        snakemake.input.position,
        snakemake.input.cell,
        snakemake.input.cells,
        snakemake.input.checkpoint,
        snakemake.input.calibration,
        snakemake.input.readout,
        snakemake.input.windows,
        snakemake.params.reference,
        snakemake.input.profile,
        snakemake.output.shard,
        shard=number - 1,
        n_shards=of,
        floor=snakemake.params.floor,
        max_error=snakemake.params.max_error,
        sites=snakemake.params.sites,
        device=prediction_device(snakemake.resources.gpu),
        precision=snakemake.params.precision,
    )
