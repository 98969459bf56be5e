"""Figures of generated images against scipy's matrix root, scikit-learn's neighbours, and counts by hand."""

from __future__ import annotations

import warnings
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.linalg import sqrtm
from scipy.stats import entropy
from sklearn.neighbors import NearestNeighbors
from torch import Tensor, nn

from workers.datasets import source_of
from workers.errors import DamagedError, UserError
from workers.generation import classifier, inception
from workers.generation.classifier import classifier_of
from workers.generation.collapse import variance
from workers.generation.extractor import seen
from workers.generation.fidelity import frechet_distance, inception_score
from workers.generation.inception import Inception
from workers.generation.latent import Latent
from workers.generation.neighbours import nearest_rows, precision_and_recall
from workers.generation.reference import levelled, reference_of, yardstick_of
from workers.image_data import Division, load
from workers.light import Light


def features(count: int, width: int, seed: int, scale: float = 1.0) -> Tensor:
    drawn = torch.randn(count, width, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    mixing = torch.randn(width, width, dtype=torch.float64, generator=torch.Generator().manual_seed(seed + 100))
    return scale * drawn @ mixing + seed


def closed_form(real: NDArray[np.float64], fake: NDArray[np.float64]) -> float:
    """Heusel et al. 2017, equation 6, with scipy's root of the product of the covariances."""
    root = sqrtm(np.cov(real, rowvar=False) @ np.cov(fake, rowvar=False)).real
    apart = real.mean(0) - fake.mean(0)
    return float(apart @ apart + np.trace(np.cov(real, rowvar=False) + np.cov(fake, rowvar=False) - 2 * root))


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_distance_is_that_of_gaussians(seed: int) -> None:
    real, fake = features(200, 12, 0), features(150, 12, seed, 0.7)
    assert frechet_distance(real, fake) == pytest.approx(closed_form(real.numpy(), fake.numpy()), rel=1e-8)
    assert frechet_distance(real, real) == pytest.approx(0.0, abs=1e-6)


def test_the_distance_of_known_gaussians_is_known() -> None:
    """Between N(0, I) and N(m, s^2 I) it is |m|^2 + d (s - 1)^2; samples are made to have these moments exactly."""
    drawn = features(500, 6, 0)
    drawn = drawn - drawn.mean(0)
    white = drawn @ torch.linalg.inv(torch.linalg.cholesky(torch.cov(drawn.T))).T
    move = torch.arange(6, dtype=torch.float64)
    assert frechet_distance(white, 3 * white + move) == pytest.approx(float(move @ move) + 6 * 4, rel=1e-9)


def test_the_inception_score_is_the_exponential_of_the_mean_information() -> None:
    logits = features(80, 5, 1)
    chances = torch.softmax(logits, 1).numpy()
    information = np.mean([entropy(row, chances.mean(0)) for row in chances])
    before = torch.random.get_rng_state()
    assert inception_score(logits) == pytest.approx(float(np.exp(information)), rel=1e-9)
    assert torch.equal(before, torch.random.get_rng_state())
    sure = 100 * torch.eye(7).repeat(3, 1)
    assert inception_score(sure) == pytest.approx(7.0)
    assert inception_score(torch.zeros(9, 7)) == pytest.approx(1.0)


def test_precision_and_recall_count_whom_neighbourhoods_reach() -> None:
    real, fake = features(60, 3, 0), features(50, 3, 0, 1.4)[:, [1, 0, 2]]

    def share(rows: NDArray[np.float64], manifold: NDArray[np.float64]) -> float:
        reach = NearestNeighbors(n_neighbors=4).fit(manifold).kneighbors(manifold)[0][:, 3]  # itself is the first
        return float((np.linalg.norm(rows[:, None] - manifold[None], axis=2) <= reach).any(1).mean())

    expected = share(fake.numpy(), real.numpy()), share(real.numpy(), fake.numpy())
    assert min(expected) > 0
    assert max(expected) < 1
    assert precision_and_recall(real, fake) == pytest.approx(expected)
    assert precision_and_recall(real, real) == (1.0, 1.0)
    assert precision_and_recall(real, real + 1000) == (0.0, 0.0)
    precision, recall = precision_and_recall(real, real[:1].repeat(40, 1))  # one image, copied
    assert precision == 1.0
    assert recall == pytest.approx(1 / 60)
    assert precision_and_recall(real[:2], fake[:3]) is not None


def test_the_nearest_rows_come_first() -> None:
    rows = features(20, 3, 0)
    expected = NearestNeighbors(n_neighbors=3).fit(rows.numpy()).kneighbors(rows[:5].numpy() + 0.1)[1]
    assert nearest_rows(rows[:5] + 0.1, rows, 3).tolist() == expected.tolist()


def test_variance_is_numpys_within_classes() -> None:
    images = features(30, 8, 2).view(30, 2, 2, 2)
    assert variance(images, None) == pytest.approx(images.flatten(1).numpy().var(0, ddof=1).mean())
    labels = torch.arange(30) % 2
    moved = images + 50.0 * labels.view(-1, 1, 1, 1)
    halves = [images[labels == label].flatten(1).numpy().var(0, ddof=1).mean() for label in (0, 1)]
    assert variance(moved, labels) == pytest.approx(np.mean(halves))
    assert variance(images[:1].expand(9, -1, -1, -1), None) == pytest.approx(0.0)


def test_noise_goes_along_a_circle_and_even_noise_along_a_line() -> None:
    start, end = Latent(50).noise(2, torch.Generator().manual_seed(0))
    start, end = start / start.norm(), end / end.norm()
    way = Latent(50).between(start, end, 5)
    torch.testing.assert_close(way.norm(dim=1), torch.ones(5))
    torch.testing.assert_close(way[[0, -1]], torch.stack([start, end]))
    angles = [torch.dot(one, other) for one, other in pairwise(way)]
    torch.testing.assert_close(torch.stack(angles), angles[0].expand(4))
    torch.testing.assert_close(Latent(50).between(start, start, 3), start.expand(3, -1))
    even = Latent(50, even=True)
    torch.testing.assert_close(even.between(start, end, 3)[1], (start + end) / 2)
    drawn = even.noise(200, torch.Generator().manual_seed(1))
    assert -1 <= float(drawn.min()) < -0.99
    assert float(drawn.var()) == pytest.approx(1 / 3, abs=0.02)


def test_images_have_256_levels() -> None:
    levels = torch.arange(256) / 127.5 - 1
    torch.testing.assert_close(levelled(levels), levels)
    assert len(set(levelled(torch.linspace(-1.5, 1.5, 5000)).tolist())) == 256


def test_the_classifier_is_made_once_and_alike(prepared_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, division = source_of("digits", None, prepared_data, 8, False), Division(train_examples=50)
    monkeypatch.setattr(classifier, "SEEN", 500)
    monkeypatch.setenv("NAS_CACHE", str(prepared_data / "apart"))
    first = classifier_of(source, division)
    calls: list[int] = []
    monkeypatch.setattr(classifier, "trained", lambda data: calls.append(1))
    again = classifier_of(source, Division(validation_examples=7))
    assert not calls
    data = load(source, Division(), prepared_data / "apart")
    monkeypatch.undo()
    monkeypatch.setattr(classifier, "SEEN", 500)
    for other in (again, classifier.trained(data)):
        for mine, theirs in zip(first.state_dict().values(), other.state_dict().values(), strict=True):
            assert torch.equal(mine, theirs)
    (file,) = (prepared_data / "apart").glob("*.safetensors")
    file.write_bytes(b"torn")
    monkeypatch.setenv("NAS_CACHE", str(prepared_data / "apart"))
    with pytest.raises(DamagedError, match="delete it"):
        classifier_of(source, Division())


def test_real_images_are_near_and_noise_is_far(prepared_data: Path) -> None:
    source, cpu = source_of("digits", None, prepared_data, 8, False), torch.device("cpu")
    data, yardstick = load(source, Division(), prepared_data), yardstick_of("classifier", source, Division(), cpu)
    light = Light(data, "test", cpu)
    places = torch.arange(len(light))
    answers = yardstick.classes(light.take(places) * 2 - 1)
    assert float((answers == light.named(places)).double().mean()) > 0.97
    figures = reference_of(data, "test", yardstick, 1000).figures
    assert figures["fid_real"] < 1 < 10 < figures["fid_noise"]
    assert 9 < figures["inception_score_real"] <= 10


def test_inception_reads_small_grey_images_and_tells_who_lacks_it(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Tensor] = []

    class Small(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.transform_input, self.fc = True, nn.Linear(2048, 1000)

        def forward(self, images: Tensor) -> Tensor:
            asked.append(images)
            answer: Tensor = self.fc(images.mean((1, 2, 3))[:, None].expand(-1, 2048))
            return answer

    network = Inception(Small())
    images = torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
    found, logits = seen(network, images)
    assert (found.shape, logits.shape, asked[0].shape) == ((3, 2048), (3, 1000), (3, 3, 299, 299))
    torch.testing.assert_close(asked[0].mean((1, 2, 3)), images.mean((1, 2, 3)), atol=0.02, rtol=0)
    models = pytest.importorskip("torchvision.models")

    def refused(**_: object) -> None:
        raise OSError("no way to the server")

    monkeypatch.setattr(models, "inception_v3", refused)
    with pytest.raises(UserError, match=r"no way to the server.*features: classifier"):
        inception.inception()


@pytest.mark.slow
def test_torchvisions_inception_fits() -> None:
    models = pytest.importorskip("torchvision.models")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        network = models.inception_v3(weights=None, init_weights=False, aux_logits=True)
    found, logits = seen(Inception(network.eval()).eval(), torch.rand(2, 1, 28, 28) * 2 - 1)
    assert (found.shape, logits.shape) == ((2, 2048), (2, 1000))
