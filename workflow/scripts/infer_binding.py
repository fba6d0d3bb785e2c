from scbind.core.runlog import logged

with logged(snakemake.log[0], snakemake.threads):
    from scbind.binding.inference import ShardOptions, infer_shard
    from scbind.binding.network import NetworkFiles
    from scbind.core.devices import prediction_device

    given = snakemake.input
    number, of = snakemake.params.shard
    infer_shard(
        NetworkFiles(
            given.weights, given.calibration, given.readout, given.windows, snakemake.params.reference
        ),
        {"position": given.position, "cell": given.cell, "cells": given.lenders},
        given.profile,
        snakemake.output.shard,
        ShardOptions(**snakemake.params.options),
        shard=number - 1,
        n_shards=of,
        device=prediction_device(snakemake.resources.gpu),
    )
