"""The Lightning trainer of every training, and what it keeps: the best epoch, and figures of each epoch."""

from __future__ import annotations

import time
from pathlib import Path

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback, EarlyStopping, EMAWeightAveraging, ModelCheckpoint
from pytorch_lightning.plugins.environments import LightningEnvironment

from scbind.core.runlog import say

# Decay of the moving average of the weights, about 100 steps. Validation and the model file use the averaged weights.
# Without this, a few hundred bound validation windows make an early epoch look best by chance, before the learning rate
# has come down.
AVERAGING = 0.99
TIE = 1e-6  # larger than the rounding error of an AUPRC, which is float32


def keep_states(state: Path) -> tuple[ModelCheckpoint, ModelCheckpoint]:
    """Make the callbacks that save the state of the best epoch and of the last one in the folder ``state``.

    They must be in this order, so that the state of the last epoch has the score of the best one. The last one has a
    callback of its own: with ``save_last``, that of the best epoch saves ``last.ckpt`` only in epochs that are the best
    so far (Lightning 2.6), so a killed training would lose all epochs after these.
    """
    each_epoch = {"enable_version_counter": False, "save_on_train_epoch_end": True}
    best = _Kept(state, "best", monitor="valid_auprc", mode="max", **each_epoch)
    return best, _Kept(state, "last", **each_epoch)


class _Kept(ModelCheckpoint):
    """A checkpoint of which the last of equally good epochs is the best, and that knows it in another folder, too."""

    def check_monitor_top_k(self, trainer, current=None) -> bool:
        """Whether an epoch is at least as good as the best so far.

        With one bound validation window, the AUPRC may be 1 from the first epoch on.
        """
        best = self.best_k_models.get(self.kth_best_model_path)
        return super().check_monitor_top_k(trainer, current) or (best is not None and bool(current == best))

    def load_state_dict(self, state_dict: dict) -> None:
        """Continue with the state of a checkpoint, whose paths may be those of another place."""

        def here(path: str) -> str:
            return str(Path(self.dirpath, Path(path).name)) if path else path

        paths = {name: here(value) for name, value in state_dict.items() if name.endswith("_path")}
        scores = {here(path): score for path, score in state_dict["best_k_models"].items()}
        super().load_state_dict({**state_dict, **paths, "dirpath": self.dirpath, "best_k_models": scores})


class Patience(EarlyStopping):
    """Stops a training after ``patience`` epochs without an equal or better validation AUPRC."""

    def __init__(self, patience: int):
        super().__init__("valid_auprc", mode="max", patience=patience, min_delta=-TIE)

    def on_train_start(self, trainer, module) -> None:
        """Stop a resumed training that had ended before it was killed, which Lightning does not save."""
        trainer.should_stop = trainer.should_stop or self.wait_count >= self.patience


def make_trainer(
    architecture: str, accelerator: str, devices: int, precision: str, epochs: int, callbacks: list[Callback]
) -> pl.Trainer:
    """Make the Lightning trainer that every training in scbind uses.

    ``accelerator`` and ``devices`` are the result of :func:`scbind.core.devices.choose_device`; ``precision`` is
    Lightning's name. ``scfan`` is trained as published. Other architectures get averaged weights and clipped gradients.
    """
    published = architecture == "scfan"
    strategy = "auto"
    if devices > 1:  # a batch may lack some lines, and then their networks in scfan get no gradient
        strategy = "ddp_find_unused_parameters_true" if published else "ddp"
    return pl.Trainer(
        accelerator=accelerator,
        devices=devices,
        strategy=strategy,
        use_distributed_sampler=False,  # BindingData assigns batches to processes
        precision=precision,
        max_epochs=epochs,
        deterministic=accelerator == "cpu",
        callbacks=callbacks if published else [*callbacks, EMAWeightAveraging(decay=AVERAGING)],
        plugins=[LightningEnvironment()],  # Snakemake retries jobs; Lightning must not requeue them
        reload_dataloaders_every_n_epochs=1,
        num_sanity_val_steps=0,
        gradient_clip_val=None if published else 1.0,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


class History(Callback):
    """Collect one row per epoch. The rows are part of the checkpoint, so a resumed run keeps its earlier epochs."""

    def __init__(self):
        self.rows: list[dict] = []
        self.began = time.monotonic()

    def on_train_epoch_end(self, trainer, module) -> None:
        """Add the row of an epoch, and log it."""
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        row = {
            "epoch": trainer.current_epoch,
            **{name: metrics.get(name) for name in ("train_loss", "valid_loss", "valid_auprc")},
            "learning_rate": trainer.optimizers[0].param_groups[0]["lr"],
        }
        seconds, self.began = time.monotonic() - self.began, time.monotonic()
        self.rows.append(row)
        if trainer.is_global_zero:
            say(
                f"epoch {row['epoch'] + 1}/{trainer.max_epochs}  loss {row['train_loss']:.4f}  "
                f"validation loss {row['valid_loss']:.4f}  AUPRC {row['valid_auprc']:.4f}  {seconds:.1f} s"
            )

    def state_dict(self) -> dict:
        """Return the rows, as the checkpoint holds them."""
        return {"rows": self.rows}

    def load_state_dict(self, state: dict) -> None:
        """Continue with the rows of a checkpoint."""
        self.rows = state["rows"]
