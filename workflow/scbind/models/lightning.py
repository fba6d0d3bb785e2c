"""The LightningModule: loss, optimiser and the facts stored with it."""

from __future__ import annotations

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor

from scbind.dataset.codes import AMBIGUOUS, BOUND, NOT_ASSAYED
from scbind.models.base import build_network
from scbind.models.extension import Base, Extension
from scbind.models.metrics import ranking_metrics
from scbind.models.trainer import AUPRC, AUPRC_ERROR

CHECK_EVERY = 50  # on a GPU, the loss is checked once in this many steps


def masked_loss(logits: Tensor, labels: Tensor, weight: Tensor | None = None) -> Tensor:
    """Binary cross-entropy over entries that are assayed and not ambiguous.

    ``logits`` is float (batch, TFs) or (members, batch, TFs). ``labels`` is int8 (batch, TFs) with the codes of
    :mod:`scbind.dataset.codes`. Returns the mean over these entries; each is multiplied by the ``weight`` (batch,) of
    its example. If there is no such entry, the loss is 0 and has a gradient.
    """
    labels = labels.expand(logits.shape)
    known = (labels != AMBIGUOUS) & (labels != NOT_ASSAYED)
    each = torch.nn.functional.binary_cross_entropy_with_logits(
        logits.float(), (labels == BOUND).float(), reduction="none"
    )
    if weight is not None:
        each = each * weight[:, None]
    return (each * known).sum() / known.sum().clamp_min(1)


class BindingModule(pl.LightningModule):
    """Trains one network. Its hyper-parameters hold all facts that inference needs.

    Parameters
    ----------
    architecture, options
        See :func:`scbind.models.base.build_network`.
    facts
        Plain types only, so that they can be written as JSON: ``tfs``, ``cell_lines``,
        ``assayed``, ``window``, ``context``, ``genome``, ``chromosomes``, ``splits``, ``version``.
    motifs
        TF -> log-odds, (4, length); the motif matrices start from these. ``None`` starts all at random.
    seed
        Random seed of dropout.
    learning_rate, weight_decay, total_steps
        The optimiser is AdamW with a one-cycle schedule over ``total_steps``, or plain Adam if ``total_steps`` is
        ``None``.
    released
        See :func:`scbind.models.base.build_network`.
    """

    def __init__(
        self,
        architecture: str,
        options: dict,
        facts: dict,
        motifs: dict[str, np.ndarray] | None,
        seed: int,
        learning_rate: float,
        weight_decay: float,
        total_steps: int | None = None,
        released: dict[str, np.ndarray] | None = None,
    ):
        super().__init__()
        self.save_hyperparameters(ignore=["motifs", "released"])
        self.network = build_network(architecture, facts, options, motifs, released)
        self.extension: Extension | None = None
        self._valid: list[tuple[Tensor, Tensor, Tensor]] = []

    def extend(self, base: Base) -> None:
        """Let the network extend ``base``; its facts are of :func:`scbind.models.extension.extended_facts`."""
        self.extension = Extension(self.network, base, self.hparams.facts)

    def whole_network(self, state: dict) -> dict[str, Tensor]:
        """The state of the network, as a model file holds it, from the state of the module in a checkpoint."""
        self.load_state_dict(state)
        return self.extension.state() if self.extension else self.network.state_dict()

    def _of_data(self, logits: Tensor) -> Tensor:
        """Logits of the TFs of the dataset, (..., TFs)."""
        return logits if self.extension is None else logits[..., self.extension.columns.to(logits.device)]

    def on_train_batch_start(self, *_) -> None:
        """Seed dropout from seed, step and process, so that a resumed training gives the same result."""
        example = self.global_step * self.trainer.world_size + self.global_rank
        torch.manual_seed(self.hparams.seed * 1_000_003 + example)

    @staticmethod
    def _arguments(batch: dict) -> list[Tensor | None]:
        return [batch.get(name) for name in ("codes", "counts", "depth", "line", "mappability")]

    def training_step(self, batch: dict, number: int) -> Tensor:
        """Masked loss plus the network's penalty.

        Raises :class:`FloatingPointError` if the loss is not finite, before the weights of the epoch are saved.
        """
        logits = self._of_data(self.network.training_logits(*self._arguments(batch)))
        loss = masked_loss(logits, batch["labels"]) + (self.extension or self.network).penalty()
        if self._looks_at(loss, number) and not torch.isfinite(loss):
            raise FloatingPointError(
                f"the loss is {loss.item()} in epoch {self.current_epoch}; lower models.*.learning_rate "
                "(the last good state is kept)"
            )
        self.log(
            "train_loss",
            loss.detach(),
            on_step=False,
            on_epoch=True,
            batch_size=len(batch["labels"]),
            sync_dist=True,
        )
        return loss

    def _looks_at(self, loss: Tensor, number: int) -> bool:
        """Whether the loss of this batch is checked.

        On a GPU most batches are not checked, because the GPU is idle while the CPU waits for the value. NaN stays in
        the weights, so the check of the last batch of an epoch finds it before the weights are saved.
        """
        return not loss.is_cuda or number % CHECK_EVERY == 0 or self.trainer.is_last_batch

    def validation_step(self, batch: dict, _: int) -> None:
        """Collect logits; the metrics are computed over the whole validation set at the end of the epoch."""
        logits = self._of_data(self.network(*self._arguments(batch)))
        self.log(
            "valid_loss",
            masked_loss(logits, batch["labels"], batch["weight"]),
            on_epoch=True,
            batch_size=len(logits),
            sync_dist=True,
        )
        self._valid.append((logits.float().cpu(), batch["labels"].cpu(), batch["weight"].cpu()))

    def on_validation_epoch_end(self) -> None:
        """Log the mean AUPRC over the TFs with a bound and an unbound validation window, and its standard error."""
        seen = self._valid
        if self.trainer.world_size > 1:  # each process has a part of the windows; parts differ in length
            everyone = [None] * self.trainer.world_size
            torch.distributed.all_gather_object(everyone, seen)
            seen = [batch for part in everyone for batch in part]
        logits, labels, weight = (torch.cat(parts).numpy() for parts in zip(*seen, strict=True))
        self._valid.clear()
        for name, value in zip((AUPRC, AUPRC_ERROR), mean_auprc(labels, logits, weight), strict=True):
            self.log(name, value, sync_dist=True)

    def configure_optimizers(self):
        """AdamW with warm-up and decay of the learning rate, or plain Adam as published for scFAN."""
        rate, steps = self.hparams.learning_rate, self.hparams.total_steps
        if steps is None:
            return torch.optim.Adam(self.parameters(), lr=rate)
        # Not `fused`: Lightning cannot clip gradients before a fused step. `foreach` is the default on a GPU only.
        # What extends a model is held by its own penalty, near the start and not near 0.
        decay = 0.0 if self.extension else self.hparams.weight_decay
        optimiser = torch.optim.AdamW(self.parameters(), lr=rate, weight_decay=decay, foreach=True)
        warm_up = 0.3 if steps == 5 else 0.2  # a warm-up of exactly one step divides by zero
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=steps, pct_start=warm_up)
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def mean_auprc(labels: np.ndarray, score: np.ndarray, weight: np.ndarray) -> tuple[float, float]:
    """Mean AUPRC over the TFs with a bound and an unbound window, and its standard error; zeros if there is none.

    The error of the AUPRC of a TF is that of a proportion of its bound windows (Boyd, Eng, Page 2013, ECML PKDD,
    section 3). The proportion has two windows of either kind added, so that the error is not 0 (Agresti, Coull 1998, Am
    Stat 52:119).

    ``labels`` is int8 (windows, TFs); ambiguous and unassayed entries are left out. ``score`` is float (windows, TFs).
    ``weight`` (windows,) is the number of windows that each one represents.
    """
    values, variances = [], []
    for column in range(labels.shape[1]):
        known = labels[:, column] >= 0
        truth = labels[known, column] == BOUND
        value = ranking_metrics(truth, score[known, column], weight[known])["auprc"]
        if np.isfinite(value):
            bound = truth.sum()
            share = (value * bound + 2) / (bound + 4)
            values.append(value)
            variances.append(share * (1 - share) / bound)
    if not values:
        return 0.0, 0.0
    return float(np.mean(values)), float(np.sqrt(np.sum(variances)) / len(values))
