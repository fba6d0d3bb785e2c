from scbind.runlog import logged

with logged(snakemake.log[0]):
    from scbind.devices import torch_device
    from scbind.inference import sequence_readout

    sequence_readout(
        snakemake.input.checkpoint,
        snakemake.input.windows,
        snakemake.params.reference,
        snakemake.output.readout,
        device=torch_device(snakemake.resources.gpu),
    )
