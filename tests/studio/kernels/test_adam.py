"""Adam by our kernels against torch's, and bases whose gradient is never formed."""

from __future__ import annotations

import pytest
import torch

from studio.errors import StudioError
from studio.kernels.adam import Adam
from studio.kernels.drive import CHANNELS
from tests.studio.kernels.scenes import relative


def _random(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def _groups(sizes: tuple[int, ...]) -> tuple[list[torch.nn.Parameter], list[dict[str, object]]]:
    parameters = [torch.nn.Parameter(_random(size, seed=size)) for size in sizes]
    options = ({"lr": 0.01}, {"lr": 0.2, "weight_decay": 0.1}, {"lr": 0.05, "eps": 1e-3})
    return parameters, [{"params": [p], **options[i % 3]} for i, p in enumerate(parameters)]


def test_steps_equal_those_of_torch():
    """Sizes that fill no vector, one, some and a rest, and enough for two workers."""
    sizes = (1, 3, 16, 37, 100_003)
    ours, groups = _groups(sizes)
    theirs, same_groups = _groups(sizes)
    fast, slow = Adam(groups, eps=1e-12), torch.optim.AdamW(same_groups, eps=1e-12, weight_decay=0.0)
    for step in range(5):
        for a, b in zip(ours, theirs):
            a.grad = _random(len(a), seed=1000 * step + len(a)) * 10.0 ** (step - 3)
            b.grad = a.grad.clone()
        if step == 3:
            ours[2].grad = theirs[2].grad = None  # a parameter that no loss used
        fast.step()
        slow.step()
    for a, b in zip(ours, theirs):
        assert relative(a, b) < 1e-6
        for name in ("exp_avg", "exp_avg_sq", "step"):
            assert relative(fast.state[a][name], slow.state[b][name]) < 1e-6


def test_state_goes_from_one_optimiser_to_another_and_from_torch():
    """Whoever goes on from a state takes the same next step; that of other parameters is refused."""
    parameters, groups = _groups((3, 40))
    copies, other_groups = _groups((3, 40))
    first, second, third = (
        torch.optim.AdamW(groups, eps=1e-8, weight_decay=0.0),
        Adam(other_groups, 1e-8),
        Adam(other_groups, 1e-8),
    )
    for step in range(3):
        if step == 1:
            with torch.no_grad():
                for copy, parameter in zip(copies, parameters):
                    copy.copy_(parameter)
            state = {i: {n: v.clone() for n, v in slot.items()} for i, slot in first.state_dict()["state"].items()}
            second.load_state_dict({"state": state})
        if step == 2:
            third.load_state_dict(second.state_dict())
        for copy, parameter in zip(copies, parameters):
            copy.grad = _random(len(copy), seed=step)
            parameter.grad = copy.grad.clone()
        first.step()
        if step > 0:
            (second if step == 1 else third).step()
    for copy, parameter in zip(copies, parameters):
        assert relative(copy, parameter) < 1e-6
    with pytest.raises(StudioError, match="state of parameter 0"):
        second.load_state_dict({"state": {0: state[1]}})


@pytest.mark.parametrize("count", [16, 77, 600])
def test_bases_learn_from_factors_as_from_their_product(count):
    """Two products at once, parts that change within a vector; after ``zero_grad`` nothing is left of them."""
    bases, groups = 5, 3
    parts = torch.sort(torch.randint(groups, (count,), generator=torch.Generator().manual_seed(count)))[0]
    owner = torch.nn.Module()
    owner.bases = torch.nn.Parameter(_random(bases, count * CHANNELS, seed=1))
    plain = torch.nn.Parameter(owner.bases.detach().clone())
    fast = Adam([{"params": [owner.bases], "lr": 0.1, "weight_decay": 0.05}], eps=1e-8)
    slow = torch.optim.AdamW([plain], lr=0.1, weight_decay=0.05, eps=1e-8)
    gradient = fast.without_gradient(owner)
    for step in range(3):
        fast.zero_grad()
        assert not gradient.products
        for product in range(2):
            seed = 10 * step + product
            gradient.products.append(
                (_random(groups, bases, seed=seed), parts, _random(count * CHANNELS, seed=seed + 100))
            )
        plain.grad = gradient.dense()
        fast.step()
        slow.step()
    assert relative(owner.bases, plain) < 1e-6
    assert relative(fast.state[owner.bases]["exp_avg_sq"], slow.state[plain]["exp_avg_sq"]) < 1e-6


def test_any_number_of_workers_gives_the_same_bits(monkeypatch):
    found = []
    for workers in ("1", "3"):
        monkeypatch.setenv("STUDIO_THREADS", workers)
        parameter = torch.nn.Parameter(_random(70_001, seed=0))
        optimizer = Adam([{"params": [parameter], "lr": 0.1}], eps=1e-8)
        for step in range(2):
            parameter.grad = _random(70_001, seed=step + 1)
            optimizer.step()
        found.append(parameter.detach())
    assert torch.equal(*found)
