"""Compare methods of calibration: fit on validation windows, evaluate on test windows at many depths.

    python benchmarks/calibrations.py model.safetensors --dataset results/dataset --reference results/reference/{genome}
        [--valid-windows 20000 --test-windows 100000 --seed 1 --threads 1]

Windows are predicted once. Every method is fitted to the same logits of validation windows at the depths of
`scbind.models.calibration`. `with depth` means that the parameters depend linearly on log10 depth. The methods are:

* Temperature scaling (Guo et al. 2017), Platt scaling (Platt 1999) and beta calibration (Kull et al. 2017: logistic
  regression on log p and -log(1 - p)). They are shrunk towards a fit shared by all TFs, as in
  `scbind.models.calibration.fit_platt`.
* Isotonic regression (Zadrozny and Elkan 2002), without shrinkage. Its probabilities are limited to between
  1 / (windows + 2) and 1 minus that.

Each number is a mean over TFs with a bound test window: expected calibration error, log loss per window (nats), AUPRC.
A column is a share of the insertions. `better` counts the TFs whose log loss, averaged over shares, is below that of
the calibration that scbind uses.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from common import show
from scbind.dataset.codes import BOUND
from scbind.dataset.splits import TEST, VALID
from scbind.dataset.trainingset import TrainingSet
from scbind.models.calibration import DECADES, PRIOR, LineWindows, fit_platt, predict_pairs
from scbind.models.metrics import calibration_error, ranking_metrics
from scbind.models.predictor import SMALLEST_SLOPE, load_predictor
from sklearn.isotonic import IsotonicRegression

SHARES = {"1": 1.0, "1/3": 1 / 3, "1/10": 0.1, "1/30": 1 / 30, "1/100": 0.01, "1/1000": 0.001}
SHIPPED = "Platt with depth (shipped)"
Calibrated = Callable[[np.ndarray, np.ndarray], np.ndarray]
Form = Callable[[np.ndarray, np.ndarray, np.ndarray], Calibrated]


def linear(terms: Callable[[torch.Tensor], list[torch.Tensor]], slopes: int, with_depth: bool) -> Form:
    """A method that is linear in ``terms`` of the logits; the weights of the first ``slopes`` terms stay positive.

    A method takes logits (N, TFs), centred log10 depths (N,) and int8 labels (N, TFs). It returns a function of logits
    and depths that gives probabilities, float64 (N, TFs).
    """

    def evidence(z: torch.Tensor, x: torch.Tensor, p: torch.Tensor) -> torch.Tensor:
        each = terms(z)
        total = torch.zeros_like(z)
        for number, term in enumerate(each):
            weight = p[:, number] + (p[:, len(each) + number] * x[:, None] if with_depth else 0)
            total = total + (weight.clamp_min(SMALLEST_SLOPE) if number < slopes else weight) * term
        return total

    def fit(logits: np.ndarray, x: np.ndarray, labels: np.ndarray) -> Calibrated:
        z, depth = torch.from_numpy(logits).double(), torch.from_numpy(x)
        known, bound = torch.from_numpy(labels >= 0), torch.from_numpy(labels == BOUND).double()
        n = len(terms(z[:1]))

        def minimum(start: torch.Tensor) -> torch.Tensor:
            p = start.clone().requires_grad_(True)
            optimiser = torch.optim.LBFGS([p], max_iter=100, line_search_fn="strong_wolfe")

            def loss():
                optimiser.zero_grad()
                each = torch.nn.functional.binary_cross_entropy_with_logits(
                    evidence(z, depth, p), bound, reduction="none"
                )
                total = (each * known).sum() + PRIOR * (p - start).square().sum()
                total.backward()
                return total

            optimiser.step(loss)
            return p.detach()

        first = torch.zeros(1, n * (1 + with_depth), dtype=torch.float64)
        first[:, :slopes] = 1.0
        p = minimum(minimum(first).repeat(z.shape[1], 1))

        def calibrated(logits: np.ndarray, x: np.ndarray) -> np.ndarray:
            return torch.sigmoid(evidence(torch.from_numpy(logits).double(), torch.from_numpy(x), p)).numpy()

        return calibrated

    return fit


def shipped(logits: np.ndarray, x: np.ndarray, labels: np.ndarray) -> Calibrated:
    """The fit of :func:`scbind.models.calibration.fit_platt`, applied as ``Predictor`` applies it."""
    a, b, e, c = fit_platt(logits, x, labels, np.ones(len(x))).T
    return lambda z, x: _sigmoid(
        np.maximum(a + e * x[:, None], SMALLEST_SLOPE) * z.astype(float) + b + c * x[:, None]
    )


def isotonic(logits: np.ndarray, _: np.ndarray, labels: np.ndarray) -> Calibrated:
    """Isotonic regression per TF."""
    fits = []
    for column in range(labels.shape[1]):
        known = labels[:, column] >= 0
        least = 1 / (known.sum() + 2)
        fits.append(IsotonicRegression(y_min=least, y_max=1 - least, out_of_bounds="clip"))
        if known.any():
            fits[-1].fit(logits[known, column].astype(float), labels[known, column] == BOUND)

    def calibrated(z: np.ndarray, _: np.ndarray) -> np.ndarray:
        return np.stack(
            [
                fit.predict(row) if hasattr(fit, "f_") else np.full(len(row), np.nan)
                for fit, row in zip(fits, z.T.astype(float), strict=True)
            ],
            axis=1,
        )

    return calibrated


def _sigmoid(z: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-z))


def _platt_terms(z: torch.Tensor) -> list[torch.Tensor]:
    return [z, torch.ones_like(z)]


def _beta_terms(z: torch.Tensor) -> list[torch.Tensor]:
    log = torch.nn.functional.logsigmoid
    return [log(z), -log(-z), torch.ones_like(z)]


FORMS: dict[str, Form] = {
    "none": lambda *_: lambda z, x: _sigmoid(z.astype(float)),
    "temperature": linear(lambda z: [z], 1, False),
    "temperature with depth": linear(lambda z: [z], 1, True),
    "Platt": linear(_platt_terms, 1, False),
    SHIPPED: shipped,
    "beta": linear(_beta_terms, 2, False),
    "beta with depth": linear(_beta_terms, 2, True),
    "isotonic": isotonic,
}


def windows_of(data: TrainingSet, split: int, limit: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """At most ``limit`` (line, window) pairs of a split, sampled uniformly."""
    line, window = np.nonzero(np.asarray(data.splits) == split)
    chosen = np.sort(np.random.default_rng(seed).permutation(len(line))[:limit])
    return line[chosen], window[chosen]


def figures(labels: np.ndarray, probability: np.ndarray) -> np.ndarray:
    """Calibration error, log loss and AUPRC of each TF: float64 (3, TFs), NaN for TFs without a bound test window."""
    found = np.full((3, labels.shape[1]), np.nan)
    for column in range(labels.shape[1]):
        known = labels[:, column] >= 0
        truth, p = labels[known, column] == BOUND, probability[known, column]
        if truth.any():
            right = np.clip(np.where(truth, p, 1 - p), 1e-12, None)
            auprc = ranking_metrics(truth, p)["auprc"]
            found[:, column] = calibration_error(truth, p), -np.log(right).mean(), auprc
    return found


def main() -> None:
    """Predict, fit and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("weights", type=Path)
    for name in ("dataset", "reference"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--valid-windows", type=int, default=20_000)
    parser.add_argument("--test-windows", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    data = TrainingSet.open(args.dataset, args.reference)
    predictor = load_predictor(args.weights)
    data.check_model(predictor.facts, args.weights)

    def predict(split: int, limit: int, keeps: list[float]) -> tuple:
        where = windows_of(data, split, limit, args.seed)
        pairs = LineWindows(data, *where, keeps, args.seed)
        labels = pairs.labels(predictor)
        logits, depth = predict_pairs(predictor, pairs)
        return logits, np.log10(np.clip(depth, 1e-7, predictor.facts["deepest"])).astype(float), labels

    logits, x, labels = predict(VALID, args.valid_windows, [10.0**-decade for decade in DECADES])
    centre, every = x.mean(), (np.concatenate(logits), x.ravel() - x.mean(), np.tile(labels, (len(x), 1)))
    logits, x, labels = predict(TEST, args.test_windows, list(SHARES.values()))
    found = {}  # form -> (shares, figures, TFs)
    for name, form in FORMS.items():
        calibrated = form(*every)
        found[name] = np.stack(
            [figures(labels, calibrated(z, d - centre)) for z, d in zip(logits, x, strict=True)]
        )
    loss = {name: values[:, 1].mean(axis=0) for name, values in found.items()}
    scored = np.isfinite(loss[SHIPPED])
    print(f"{labels.shape[0]:,} test windows, {scored.sum()} TFs\n")
    for number, figure in enumerate(("calibration error", "log loss", "AUPRC")):
        print(f"{figure}\n")
        rows = []
        for name, values in found.items():
            mean = np.nanmean(values[:, number], axis=1)
            row = {"form": name} | {share: float(v) for share, v in zip(SHARES, mean, strict=True)}
            row["mean"] = float(mean.mean())
            if figure == "log loss":
                row["better"] = int((loss[name] < loss[SHIPPED]).sum())
            rows.append(row)
        show(rows)
        print()


if __name__ == "__main__":
    main()
