"""The methods' losses against numpy, cycles that close, gradients by finite differences, the buffer's rule."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from search_spaces.gan.translation_network import TranslationNetwork
from workers.errors import UserError
from workers.translation.adversaries import Adversary
from workers.translation.image_buffer import ImageBuffer
from workers.translation.methods import Cyclic, Method, Paired, Sides, Star, method_of
from workers.translation.recipe import TranslationRecipe

UNET = {"image": [1, 8, 8], "outputs": 1, "widths": [2, 3], "norm": "none", "skips": True, "dropout": 0.0}
JUDGE = {"width": 2, "layers": 1, "norm": "none"}


def sides(count: int = 3, domains: int = 2) -> Sides:
    generator = torch.Generator().manual_seed(0)
    source, target = (2 * torch.rand(2, count, 1, 8, 8, generator=generator) - 1).double()
    domain, goal = torch.randint(domains, (2, count), generator=generator)
    return Sides(source, target, domain, goal)


def network(pairs: int = 1, conditional: bool = False, domains: int = 0) -> TranslationNetwork:
    torch.manual_seed(1)
    generator: dict[str, Any] = {**UNET, "domains": domains}
    if domains:
        judge: dict[str, Any] = {"inputs": 1, "width": 2, "layers": 2, "domains": domains, "size": [8, 8]}
        return TranslationNetwork("unet", generator, judge).double()
    judge = {**JUDGE, "inputs": 2 if conditional else 1}
    back = {"back": generator, "back_discriminator": {**JUDGE, "inputs": 1}} if pairs == 2 else {}
    return TranslationNetwork("unet", generator, judge, **back).double()


def made(method: str, **settings: Any) -> tuple[Method, TranslationNetwork]:
    built = {
        "pix2pix": {"conditional": True},
        "cyclegan": {"pairs": 2},
        "discogan": {"pairs": 2},
        "stargan": {"domains": 2},
    }
    model = network(**built[method])  # type: ignore[arg-type]
    return method_of(TranslationRecipe(method=method, **settings), model), model


def array(tensor: Tensor) -> Any:
    return tensor.detach().numpy()


def sigmoid(scores: Any) -> Any:
    return 1 / (1 + np.exp(-scores))


def test_objectives_are_their_formulas() -> None:
    generator = torch.Generator().manual_seed(2)
    real, fake = torch.randn(2, 3, 1, 2, 2, generator=generator, dtype=torch.float64)
    ours, theirs = array(real), array(fake)
    right = {
        "non_saturating": (
            -0.5 * (np.log(sigmoid(ours)).mean() + np.log(1 - sigmoid(theirs)).mean()),
            -np.log(sigmoid(theirs)).mean(),
        ),
        "least_squares": (0.5 * (((ours - 1) ** 2).mean() + (theirs**2).mean()), ((theirs - 1) ** 2).mean()),
        "wasserstein_penalty": (theirs.mean() - ours.mean(), -theirs.mean()),
    }
    for name, (apart, fooled) in right.items():
        adversary = Adversary(name, 10.0)
        assert float(adversary.apart(real, fake)) == pytest.approx(apart)
        assert float(adversary.fooled(fake)) == pytest.approx(fooled)


def test_a_linear_critic_of_slope_two_is_penalised_by_one() -> None:
    """(2 - 1)^2 times the weight; a critic of slope one by nothing."""
    images = torch.rand(4, 1, 2, 2, dtype=torch.float64)

    class Critic(nn.Module):
        def __init__(self, slope: float) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.full((4,), slope / 2, dtype=torch.float64))

        def forward(self, image: Tensor) -> Tensor:
            return image.flatten(1) @ self.weight

    generator = torch.Generator().manual_seed(0)
    for slope, penalty in ((2.0, 10.0), (1.0, 0.0)):
        found = Adversary("wasserstein_penalty", 10.0).smooth(Critic(slope), images, 1 - images, None, generator)
        assert float(found.detach()) == pytest.approx(penalty, abs=1e-12)
    assert float(Adversary("least_squares", 10.0).smooth(Critic(2.0), images, images, None, generator)) == 0


def test_pix2pix_is_its_formula() -> None:
    method, model = made("pix2pix")
    assert isinstance(method, Paired)
    given = sides()
    fake = model.generator(given.source)
    real_scores, fake_scores = (
        array(model.discriminator(image, given.source)) for image in (given.target, fake.detach())
    )
    loss = method.discriminator(given, method.translate(given), torch.Generator())
    right = -0.5 * (np.log(sigmoid(real_scores)).mean() + np.log(1 - sigmoid(fake_scores)).mean())
    assert float(loss.detach()) == pytest.approx(right)
    loss = method.generator(given, method.translate(given))
    right = -np.log(sigmoid(fake_scores)).mean() + 100 * np.abs(array(fake) - array(given.target)).mean()
    assert float(loss.detach()) == pytest.approx(right)


@pytest.mark.parametrize("name", ["cyclegan", "discogan"])
def test_ways_there_and_back_are_their_formulas(name: str) -> None:
    method, model = made(name)
    assert isinstance(method, Cyclic)
    assert model.back is not None
    assert model.back_discriminator is not None
    given = sides()
    source, target = given.source, given.target
    there, back = model.generator(source), model.back(target)
    ways = ((array(model.back(there)), array(source)), (array(model.generator(back)), array(target)))
    scores = [array(model.discriminator(there)), array(model.back_discriminator(back))]
    if name == "cyclegan":
        right = sum(((one - 1) ** 2).mean() for one in scores)
        right += 10 * sum(np.abs(one - other).mean() for one, other in ways)
    else:
        right = -sum(np.log(sigmoid(one)).mean() for one in scores)
        right += sum(((one - other) ** 2).mean() for one, other in ways)
    assert float(method.generator(given, method.translate(given)).detach()) == pytest.approx(right)
    real = [array(model.discriminator(target)), array(model.back_discriminator(source))]
    loss = method.discriminator(given, method.translate(given), torch.Generator())
    if name == "cyclegan":
        right = sum(0.5 * (((y - 1) ** 2).mean() + (x**2).mean()) for x, y in zip(scores, real, strict=True))
        assert float(loss.detach()) == pytest.approx(right)


def test_images_that_come_back_cost_nothing() -> None:
    """Identities are generators without a cycle loss; and a generator with its inverse."""
    method, model = made("cyclegan")
    assert isinstance(method, Cyclic)
    given = sides()

    class Negative(nn.Module):
        def forward(self, image: Tensor) -> Tensor:
            return -image

    for one in (nn.Identity(), Negative()):
        model.generator = model.back = one
        method = method_of(method.recipe, model)
        assert isinstance(method, Cyclic)
        assert float(method.cycle(given, method.translate(given))) == 0


def test_stargan_is_its_formula() -> None:
    method, model = made("stargan", penalty=0.0)
    assert isinstance(method, Star)
    given = sides()
    fake = model.generator(given.source, given.goal)
    again = model.generator(fake, given.domain)
    logits = [
        functional.log_softmax(model.discriminator.both(image)[1], 1)  # type: ignore[operator]
        for image in (given.source, fake)
    ]
    real, false = (array(model.discriminator(image)) for image in (given.source, fake))
    named = [
        -array(one)[range(3), array(place)].mean()
        for one, place in zip(logits, (given.domain, given.goal), strict=True)
    ]
    loss = method.discriminator(given, method.translate(given), torch.Generator())
    assert float(loss.detach()) == pytest.approx(false.mean() - real.mean() + named[0])
    loss = method.generator(given, method.translate(given))
    right = -false.mean() + named[1] + 10 * np.abs(array(again) - array(given.source)).mean()
    assert float(loss.detach()) == pytest.approx(right)


@pytest.mark.parametrize("name", ["pix2pix", "cyclegan", "discogan", "stargan"])
def test_gradients_are_finite_differences(name: str) -> None:
    method, model = made(name)
    given = sides(2)

    def lost(part: str) -> Tensor:
        drawn = torch.Generator().manual_seed(5)
        for buffer in method.buffers.values():
            buffer.kept.clear()
        translated = method.translate(given)
        return (
            method.discriminator(given, translated, drawn)
            if part == "discriminator"
            else method.generator(given, translated)
        )

    for part, owner in (("generator", model.generator), ("discriminator", model.discriminator)):
        weight = next(iter(owner.parameters()))
        (slope,) = torch.autograd.grad(lost(part), weight)
        for place in (0, weight.numel() // 2):
            with torch.no_grad():
                flat = weight.view(-1)
                before = float(flat[place])
                flat[place] = before + 1e-5
            above = float(lost(part).detach())
            with torch.no_grad():
                flat[place] = before - 1e-5
            below = float(lost(part).detach())
            with torch.no_grad():
                flat[place] = before
            assert float(slope.view(-1)[place]) == pytest.approx((above - below) / 2e-5, rel=1e-4, abs=1e-8)


def test_a_discriminator_s_loss_moves_no_generator() -> None:
    for name in ("pix2pix", "cyclegan", "stargan"):
        method, model = made(name)
        given = sides()
        method.discriminator(given, method.translate(given), torch.Generator()).backward()  # type: ignore[no-untyped-call]
        assert all(one.grad is None for one in model.generator.parameters())
        assert all(one.grad is not None for one in model.discriminator.parameters())


def test_a_buffer_shows_old_images_in_the_place_of_every_other_new_one() -> None:
    buffer, generator = ImageBuffer(50), torch.Generator().manual_seed(0)
    first = torch.arange(50.0).view(50, 1, 1, 1)
    assert torch.equal(buffer.shown(first, generator), first)
    new = torch.arange(50.0, 1050.0).view(1000, 1, 1, 1)
    shown = buffer.shown(new, generator)
    old = shown != new
    assert abs(float(old.float().mean()) - 0.5) < 4 * (0.25 / 1000) ** 0.5
    assert bool((shown[old] < new[old]).all())
    everything = torch.cat([shown.flatten(), torch.stack(buffer.kept).flatten()]).sort().values
    assert torch.equal(everything, torch.arange(1050.0))  # each is shown, or kept, and none twice
    assert len(buffer.kept) == 50


def test_a_buffer_goes_on_where_it_was() -> None:
    images = torch.rand(40, 1, 2, 2, generator=torch.Generator().manual_seed(1))
    buffer, generator = ImageBuffer(10), torch.Generator().manual_seed(0)
    buffer.shown(images[:20], generator)
    other = ImageBuffer(10)
    other.restore(buffer.tensors(), torch.device("cpu"))
    again = torch.Generator()
    again.set_state(generator.get_state())
    assert torch.equal(buffer.shown(images[20:], generator), other.shown(images[20:], again))
    empty = ImageBuffer(0)
    assert empty.shown(images, generator) is images
    assert empty.tensors() == {}


def test_a_method_without_its_networks_is_refused() -> None:
    with pytest.raises(UserError, match="cyclegan trains two generators"):
        method_of(TranslationRecipe(method="cyclegan"), network())
    with pytest.raises(UserError, match="pix2pix trains one generator"):
        method_of(TranslationRecipe(method="pix2pix"), network(pairs=2))
    star = method_of(TranslationRecipe(method="stargan"), network())
    assert isinstance(star, Star)
    with pytest.raises(UserError, match="whose `both` gives scores"):
        star.both(torch.zeros(1, 1, 8, 8))
