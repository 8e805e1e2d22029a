"""Named states: prefixes there and back, the running mean, and the best of those seen."""

from __future__ import annotations

import math

import torch

from recon.states import Best, copy_of, load_state, move_towards, named, state_of, under


def _modules() -> dict[str, torch.nn.Module]:
    torch.manual_seed(0)
    return {"one": torch.nn.Linear(2, 3), "another": torch.nn.Linear(3, 1, bias=False)}


def test_names_are_there_and_back() -> None:
    tensors = {"a/b": torch.ones(1), "c": torch.zeros(2)}
    everything = named("x", tensors) | named("xx", {"c": torch.ones(2)})
    assert list(under("x", everything)) == ["a/b", "c"]
    assert torch.equal(under("x", everything)["c"], tensors["c"])


def test_a_copy_brings_a_state_back() -> None:
    modules = _modules()
    before = copy_of(modules)
    assert set(before) == {"one/weight", "one/bias", "another/weight"}
    with torch.no_grad():
        for value in state_of(modules).values():
            value.add_(1.0)
    assert not torch.equal(state_of(modules)["one/bias"], before["one/bias"])
    load_state(modules, before)
    assert all(torch.equal(value, before[name]) for name, value in state_of(modules).items())


def test_the_mean_goes_a_share_of_the_way() -> None:
    modules = _modules()
    mean = {name: torch.zeros_like(value) for name, value in copy_of(modules).items()}
    move_towards(mean, modules, 0.25)
    for name, value in state_of(modules).items():
        torch.testing.assert_close(mean[name], 0.25 * value)


def test_the_best_is_kept_and_what_is_no_better_counts_as_stale() -> None:
    modules, best = _modules(), Best()
    assert best.numbers()["best_psnr"] is None
    for step, score in enumerate((1.0, 3.0, 2.0, 3.0)):
        with torch.no_grad():
            state_of(modules)["one/bias"].fill_(step)
        best.offer(score, step, modules)
    assert (best.score, best.step, best.stale) == (3.0, 1, 2)
    assert torch.equal(best.tensors["one/bias"], torch.ones(3))
    again = Best.of(best.numbers(), best.tensors)
    assert again == best
    assert Best.of(Best().numbers(), {}).score == -math.inf
