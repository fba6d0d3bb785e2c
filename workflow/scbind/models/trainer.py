"""The Lightning trainer of every training, and what it keeps: one epoch, and figures of each."""

from __future__ import annotations

import math
import time
from pathlib import Path

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback, EMAWeightAveraging, ModelCheckpoint
from pytorch_lightning.plugins.environments import LightningEnvironment

from scbind.core.runlog import say

# Decay of the moving average of the weights, about 100 steps. Validation and the model file use the averaged weights.
# Without this, a few hundred bound validation windows make an early epoch look best by chance, before the learning rate
# has come down.
AVERAGING = 0.99
AUPRC, AUPRC_ERROR = "valid_auprc", "valid_auprc_se"  # that the module logs after each epoch
KEPT = "highest", "error", "epoch"


def keep_states(state: Path, patience: int) -> tuple[Kept, ModelCheckpoint]:
    """Make the callbacks that save the state of the epoch that is kept and of the last one in the folder ``state``.

    They must be in this order, so that the state of the last epoch knows which one is kept. The last one has a callback
    of its own: with ``save_last``, the other one saves ``last.ckpt`` only in epochs that it keeps (Lightning 2.6), so a
    killed training would lose all epochs after these.
    """
    each_epoch = {"enable_version_counter": False, "save_on_train_epoch_end": True}
    return Kept(state, patience, **each_epoch), _Moved(state, "last", **each_epoch)


class _Moved(ModelCheckpoint):
    """A checkpoint that can be continued in another folder."""

    def load_state_dict(self, state_dict: dict) -> None:
        """Continue with the state of a checkpoint, whose paths may be those of another place."""

        def here(path: str) -> str:
            return str(Path(self.dirpath, Path(path).name)) if path else path

        paths = {name: here(value) for name, value in state_dict.items() if name.endswith("_path")}
        scores = {here(path): score for path, score in state_dict["best_k_models"].items()}
        super().load_state_dict({**state_dict, **paths, "dirpath": self.dirpath, "best_k_models": scores})


class Kept(_Moved):
    """Keeps the last epoch whose validation AUPRC is at most one standard error below the highest.

    Where few validation windows are bound, the highest AUPRC is a matter of chance, and of epochs that cannot be told
    apart, the last is the best guess: the learning rate has come down (docs/notebooks/network.md). This is the
    one-standard-error rule (Breiman et al. 1984, Classification and Regression Trees, section 3.4.3). Training ends
    ``patience`` epochs after the one that is kept.

    Attributes
    ----------
    highest, error
        Highest validation AUPRC so far, and its standard error.
    epoch
        Number of the epoch that is kept. Its validation AUPRC is ``best_model_score``.
    """

    def __init__(self, state: Path, patience: int, **options):
        super().__init__(state, "best", monitor=AUPRC, mode="max", **options)
        self.patience = patience
        self.highest, self.error, self.epoch = -math.inf, 0.0, -1

    def check_monitor_top_k(self, trainer, current=None) -> bool:
        """Whether the epoch that has ended is kept."""
        auprc = float(current)
        if auprc > self.highest:
            self.highest, self.error = auprc, float(trainer.callback_metrics[AUPRC_ERROR])
        if auprc < self.highest - self.error:
            return False
        self.epoch = trainer.current_epoch
        return True

    def on_train_epoch_end(self, trainer, module) -> None:
        """Save the epoch if it is kept, and end the training after enough others."""
        super().on_train_epoch_end(trainer, module)
        self._end_after(trainer, trainer.current_epoch)

    def on_train_start(self, trainer, module) -> None:
        """End a resumed training that had ended before it was killed, which Lightning does not save."""
        super().on_train_start(trainer, module)
        self._end_after(trainer, trainer.current_epoch - 1)

    def _end_after(self, trainer, epoch: int) -> None:
        if self.epoch >= 0 and epoch - self.epoch >= self.patience:
            trainer.should_stop = True

    def state_dict(self) -> dict:
        """Return the state of the checkpoint, and what it is compared with."""
        return super().state_dict() | {name: getattr(self, name) for name in KEPT}

    def load_state_dict(self, state_dict: dict) -> None:
        """Continue with the state of a checkpoint."""
        super().load_state_dict(state_dict)
        for name in KEPT:
            setattr(self, name, state_dict[name])


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
            **{name: metrics.get(name) for name in ("train_loss", "valid_loss", AUPRC)},
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
