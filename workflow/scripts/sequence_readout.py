from scbind.core.runlog import logged

with logged(snakemake.log[0], snakemake.threads):
    from scbind.binding.readout import sequence_readout
    from scbind.core.devices import prediction_device

    sequence_readout(
        snakemake.input.weights,
        snakemake.input.windows,
        snakemake.params.reference,
        snakemake.output.readout,
        device=prediction_device(snakemake.resources.gpu),
    )
