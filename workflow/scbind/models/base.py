"""The interface of every network to the rest of scbind."""

from __future__ import annotations

from inspect import signature

from torch import Tensor, nn

from scbind.core.errors import InputError

FORMAT = 3  # format of model files; raise it when weights or facts change meaning


class BindingNetwork(nn.Module):
    """Maps the sequence and the insertions of a window to one logit per TF.

    A network works in two steps, so that the sequence of a window is read once for all cells. :meth:`readout` reads
    the sequence alone. :meth:`respond` combines the readout with the signal of one cell.

    The readout consists of two steps, too. :meth:`trunk` is slow, and its result is small enough to be stored for all
    windows. :meth:`unfold` computes the readout from it.

    Attributes
    ----------
    bin_bp
        Width in bp of the bins in which insertions are counted.
    pairs
        Number of rows in every call of :meth:`respond` during prediction. It is fixed, so that no result depends on
        how the caller cuts its data into blocks.
    tile
        Number of windows and of cells in every call of :meth:`respond_grid`. It is fixed for the same reason.
    tile_cuda
        The same on a GPU, which needs larger tiles to be busy. ``None`` means ``tile``.
    n_members
        Number of networks whose logits are averaged.
    reads_mappability
        Whether :meth:`trunk` uses the mappability of the genome. If not, the model can be used with any
        genome.
    """

    bin_bp: int
    pairs: int = 1024
    tile: tuple[int, int] = (64, 1)
    tile_cuda: tuple[int, int] | None = None
    n_members: int = 1
    reads_mappability: bool = False

    def trunk(self, codes: Tensor, mappability: Tensor | None = None) -> Tensor:
        """Compute what is stored of windows: base codes, uint8 (windows, context), to (windows, ...).

        ``mappability`` is uint8 (windows, context), times 255; ``None`` if the genome has none.
        """
        raise NotImplementedError

    def unfold(self, trunk: Tensor) -> Tensor:
        """Compute the sequence readout, (windows, ...), from the result of :meth:`trunk`. Here they are the same."""
        return trunk

    def readout(self, codes: Tensor, mappability: Tensor | None = None) -> Tensor:
        """Compute the sequence readout of windows; arguments of :meth:`trunk`, result of :meth:`unfold`."""
        return self.unfold(self.trunk(codes, mappability))

    def respond(self, readout: Tensor, counts: Tensor, depth: Tensor, line: Tensor | None = None) -> Tensor:
        """Predict logits, (batch, TFs), from readout and signal.

        Parameters
        ----------
        readout
            (batch, ...), from :meth:`readout`.
        counts
            Insertions per bin, float32 (batch, context / bin_bp).
        depth
            Insertions per base of the whole track, or of the cell including what it borrows; float32 (batch,).
        line
            Training line, int64 (batch,), for networks with one set of weights per line; ``None`` for a new cell type.
        """
        raise NotImplementedError

    def respond_each(
        self, readout: Tensor, counts: Tensor, depth: Tensor, line: Tensor | None = None
    ) -> Tensor:
        """Logits of every member, (members, batch, TFs); same arguments as :meth:`respond`."""
        return self.respond(readout, counts, depth, line)[None]

    def respond_unseen(self, depth: Tensor) -> tuple[Tensor, ...] | None:
        """Compute what :meth:`respond_grid` needs for windows without insertions, once for many windows.

        ``depth`` is float32 (cells,), in insertions per base. ``None`` if the network has no use for it.
        """
        return None

    def respond_grid(
        self, readout: Tensor, counts: Tensor, depth: Tensor, unseen: tuple[Tensor, ...] | None = None
    ) -> Tensor:
        """Predict logits of every cell in every window, (windows, cells, TFs).

        ``readout`` is (windows, ...), ``counts`` float32 (windows, cells, context / bin_bp), ``depth`` float32 (cells,)
        in insertions per base, ``unseen`` the result of :meth:`respond_unseen` for these cells. This version computes
        each pair on its own. A network that can share work between cells or windows overrides it.
        """
        windows, cells, bins = counts.shape
        each = readout.repeat_interleave(cells, dim=0)
        logits = self.respond(each, counts.reshape(-1, bins), depth.repeat(windows))
        return logits.view(windows, cells, -1)

    def forward(
        self,
        codes: Tensor,
        counts: Tensor,
        depth: Tensor,
        line: Tensor | None = None,
        mappability: Tensor | None = None,
    ) -> Tensor:
        """Logits (batch, TFs); see :meth:`readout` and :meth:`respond`."""
        return self.respond(self.readout(codes, mappability), counts, depth, line)

    def training_logits(
        self, codes: Tensor, counts: Tensor, depth: Tensor, line: Tensor, mappability: Tensor | None = None
    ) -> Tensor:
        """Logits for the loss: (batch, TFs), or (members, batch, TFs) if each member learns from its own."""
        return self(codes, counts, depth, line, mappability)

    def penalty(self) -> Tensor | float:
        """Regularisation term added to the loss."""
        return 0.0


def build_network(
    architecture: str, facts: dict, options: dict, motifs=None, released=None
) -> BindingNetwork:
    """Make an untrained network.

    Parameters
    ----------
    architecture
        ``scbind`` or ``scfan``.
    facts
        Result of :func:`scbind.models.training.data_facts`.
    options
        Settings of this architecture.
    motifs
        TF -> log-odds, (4, length); the motif matrices start from these.
    released
        TF -> log-odds, (4, length): those that TFs would have without ChIP-seq, for networks with ``strangers``. Motifs
        found in the ChIP-seq of a TF are not among them. ``None``: those in ``motifs``.

    Raises
    ------
    InputError
        If the architecture or an option is unknown, or if ``facts`` have another format than this version reads.
    """
    from scbind.models.scfan import ScfanNetwork
    from scbind.models.towers import TowerNetwork

    known = {"scbind": TowerNetwork, "scfan": ScfanNetwork}
    if (found := facts.get("format", FORMAT)) != FORMAT:
        raise InputError(
            "model",
            f"written by scbind {facts.get('version', '?')} in format {found}, but this version reads format {FORMAT}",
            "train the model again",
        )
    if architecture not in known:
        raise InputError("model", f"unknown architecture {architecture!r}", f"use one of {', '.join(known)}")
    network = known[architecture]
    if strange := sorted(
        set(options) - (set(signature(network).parameters) - {"facts", "motifs", "released"})
    ):
        raise InputError(
            "model",
            f"{architecture} has no option {strange[0]!r}",
            "see docs/reference/configuration.md",
            "options",
        )
    more = {"released": released} if released is not None else {}
    return network(facts, motifs=motifs, **more, **options)
