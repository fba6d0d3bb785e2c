"""What every network promises to the rest of scbind."""

from __future__ import annotations

from inspect import signature

from torch import Tensor, nn

from scbind.core.errors import InputError

FORMAT = 2  # of checkpoints; raise when weights or facts change meaning


class BindingNetwork(nn.Module):
    """Sequence and insertions of a window to one logit per TF.

    A network splits its work in two, so that a window's sequence is read once however many cells there are:
    :meth:`readout` sees the sequence alone, :meth:`respond` combines it with one cell's signal.

    Attributes
    ----------
    bin_bp
        Width in bp of the bins in which it wants insertions counted.
    pairs
        Rows that it is always given at once in prediction, so that no number depends on the caller's blocks.
    tile
        Windows and cells that it is always given at once in a grid, for the same reason.
    tile_cuda
        The same on a GPU, where larger tiles keep more of it busy; ``None``: as ``tile``.
    n_members
        Networks of which it is the mean.
    """

    bin_bp: int
    pairs: int = 1024
    tile: tuple[int, int] = (64, 1)
    tile_cuda: tuple[int, int] | None = None
    n_members: int = 1

    def readout(self, codes: Tensor, mappability: Tensor | None = None) -> Tensor:
        """Sequence readout: uint8 (windows, context) to (windows, ...).

        ``mappability`` uint8 (windows, context), times 255; ``None`` where the genome has none.
        """
        raise NotImplementedError

    def respond(self, readout: Tensor, counts: Tensor, depth: Tensor, line: Tensor | None = None) -> Tensor:
        """Logits (batch, TFs) of windows given signal.

        ``readout`` (batch, ...); ``counts`` float32 (batch, context / bin_bp), insertions; ``depth`` float32
        (batch,), insertions per base of the whole track or (borrowed) cell; ``line`` int64 (batch,) the
        training line, for networks that keep one set of weights per line; ``None`` for a new cell type.
        """
        raise NotImplementedError

    def respond_each(
        self, readout: Tensor, counts: Tensor, depth: Tensor, line: Tensor | None = None
    ) -> Tensor:
        """Logits of every member, (members, batch, TFs); arguments as of :meth:`respond`."""
        return self.respond(readout, counts, depth, line)[None]

    def respond_grid(self, readout: Tensor, counts: Tensor, depth: Tensor) -> Tensor:
        """Logits (windows, cells, TFs) of every cell in every window.

        ``readout`` (windows, ...); ``counts`` float32 (windows, cells, context / bin_bp); ``depth`` float32 (cells,).
        Here pair by pair; a network that can share work between the cells of a window does so.
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
        """Logits that the loss is taken of, (batch, TFs), or (members, batch, TFs) if several networks learn."""
        return self(codes, counts, depth, line, mappability)

    def penalty(self) -> Tensor | float:
        """Regularisation term added to the loss."""
        return 0.0


def build_network(architecture: str, facts: dict, options: dict, motifs=None) -> BindingNetwork:
    """Make an untrained network.

    ``facts`` are those of :func:`scbind.models.training.data_facts`; ``options`` the architecture's own
    settings; ``motifs`` (TF -> log-odds) are what matrices start from.

    Raises
    ------
    InputError
        On an unknown name or setting, and on facts of another format, which name the version that wrote them.
    """
    from scbind.models.scfan import ScfanNetwork
    from scbind.models.towers import TowerNetwork

    known = {"scbind": TowerNetwork, "scfan": ScfanNetwork}
    if (found := facts.get("format", FORMAT)) != FORMAT:
        raise InputError(
            "checkpoint",
            f"of scbind {facts.get('version', '?')}, in format {found}; this version reads format {FORMAT}",
            "train the model again",
        )
    if architecture not in known:
        raise InputError("model", f"no architecture {architecture!r}", f"use one of {', '.join(known)}")
    network = known[architecture]
    if strange := sorted(set(options) - (set(signature(network).parameters) - {"facts", "motifs"})):
        raise InputError(
            "model",
            f"{architecture} has no option {strange[0]!r}",
            "see docs/reference/configuration.md",
            "options",
        )
    return network(facts, motifs=motifs, **options)
