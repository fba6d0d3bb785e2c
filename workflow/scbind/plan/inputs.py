"""What a run reads: the content of the sheets and the input keys of the configuration."""

from __future__ import annotations

from dataclasses import dataclass, field

from scbind.core.errors import redacted

# Keys of the configuration that name an input file: section, key, whether it may be a folder.
CONFIG_PATHS = (
    ("genome", "fasta", False),
    ("genome", "chrom_sizes", False),
    ("genome", "exclude", False),
    ("genome", "mappability", False),
    ("genome", "genes", False),
    ("motifs", "path", False),
    ("variants", "path", False),
    ("evaluate", "truth", True),
    ("evaluate", "cohort_truth", True),
)


@dataclass
class Plan:
    """The content of the sheets and of the input keys of the configuration, with every path resolved.

    Attributes
    ----------
    config
        The checked configuration, with resolved input paths.
    sources
        Name -> ``{"url", "sha256", "md5", "size", "licence", "place"}``. The file becomes ``resources/{name}``.
    tracks
        Cell line -> list of ``{"path", "format", "region", "note"}``.
    chip
        One ``{"cell_line", "tf", "path", "relaxed", "source"}`` per experiment.
    samples
        Sample -> ``{"path", "format", "group", "binding", "barcodes", "labels", "rna", "donor", "condition"}``.
    sheets
        Name -> path of each sheet in use.
    notes
        Sentences for the user: what the panel keeps, and how TFs are spelt.
    """

    config: dict
    sources: dict[str, dict] = field(default_factory=dict)
    tracks: dict[str, list[dict]] = field(default_factory=dict)
    chip: list[dict] = field(default_factory=list)
    samples: dict[str, dict] = field(default_factory=dict)
    sheets: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def given(self) -> dict[str, str]:
        """Model -> its bundle, of the models that are not trained here."""
        return {name: each["bundle"] for name, each in self.config["models"].items() if each["bundle"]}

    @property
    def trained(self) -> list[str]:
        """Models that are trained here."""
        return [name for name, each in self.config["models"].items() if not each["bundle"]]

    @property
    def extended(self) -> dict[str, str]:
        """Model -> the bundle that it extends, of the models that are trained here and extend one."""
        models = self.config["models"]
        return {name: models[name]["extends"] for name in self.trained if models[name]["extends"]}

    @property
    def shared(self) -> list[str]:
        """Models that are trained here so that TFs without ChIP-seq can be added to them."""
        models = self.config["models"]
        able = {name for name in self.trained if models[name]["options"].get("strangers")}
        return [name for name in self.trained if name in able | self.extended.keys()]

    @property
    def has_dataset(self) -> bool:
        """Whether there are cell lines to train or test models on."""
        return bool(self.config["sheets"]["chip"])

    @property
    def tfs(self) -> list[str]:
        """All TFs of the ChIP-seq sheet, sorted."""
        return sorted({row["tf"] for row in self.chip})

    @property
    def groups(self) -> dict[str, list[str]]:
        """Group -> its samples, which are embedded together."""
        groups: dict[str, list[str]] = {}
        for name, row in self.samples.items():
            groups.setdefault(row["group"], []).append(name)
        return groups

    @property
    def binding_samples(self) -> list[str]:
        """Samples for which binding is predicted."""
        return [name for name, row in self.samples.items() if row["binding"]]

    def training_data(self) -> list[dict]:
        """What the dataset is made from: one entry per file of tracks and ChIP-seq peaks, for the record in a bundle.

        Each has ``cell_line``, ``tf`` (``None`` for a track), ``file`` (its name), and, if known, ``source``,
        ``licence``, ``url``, ``sha256`` and ``md5``.
        """
        rows = [(line, None, row["path"], row["note"]) for line, rows in self.tracks.items() for row in rows]
        rows += [(row["cell_line"], row["tf"], row["path"], row["source"]) for row in self.chip]
        listed = []
        for line, tf, path, source in sorted(rows, key=lambda row: (bool(row[1]), str(row[:3]))):
            name = path.rpartition("/")[2]
            entry = {"cell_line": line, "tf": tf, "file": name, "source": source}
            fetched = self.sources.get(name, {}) if path == f"resources/{name}" else {}
            entry |= {key: fetched.get(key) for key in ("licence", "url", "sha256", "md5")}
            listed.append({key: redacted(value) for key, value in entry.items() if value})
        return listed

    def inputs(self) -> list[str]:
        """Every input file, sorted."""
        paths = [t["path"] for rows in self.tracks.values() for t in rows]
        paths += [row[key] for row in self.chip for key in ("path", "relaxed")]
        paths += [row[key] for row in self.samples.values() for key in ("path", "barcodes", "labels", "rna")]
        paths += [*self.given.values(), *self.extended.values()]
        paths += [self.config[section][key] for section, key, _ in CONFIG_PATHS]
        return sorted({path for path in paths if path})

    def downloads(self) -> list[str]:
        """Input files that are fetched, sorted. Sources that nothing names are not among them."""
        fetched = {f"resources/{name}" for name in self.sources}
        return [path for path in self.inputs() if path in fetched]
