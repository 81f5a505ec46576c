"""Our AdamW against torch.optim's, bit for bit."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from pdebench.train.optimizer import AdamW, Group

BETAS = (0.8, 0.95)


def nets(device: str = "cpu") -> tuple[nn.Sequential, nn.Sequential]:
    ours = nn.Sequential(nn.Linear(5, 7), nn.Linear(7, 3), nn.Linear(3, 3)).to(device)
    return ours, copy.deepcopy(ours)


def split(net: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    return [p for p in net.parameters() if p.dim() > 1], [p for p in net.parameters() if p.dim() == 1]


def loss(net: nn.Sequential, x: Tensor, layers: int) -> Tensor:
    return net[:layers](x).square().mean()


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_it_steps_as_torch_optim_does_where_some_parameters_have_no_gradient(device: str) -> None:
    net, other = nets(device)
    weights, biases = split(net)
    ours = AdamW([Group(weights, 0.1), Group(biases, 0.0)], BETAS)
    weights, biases = split(other)
    groups = [{"params": weights, "weight_decay": 0.1}, {"params": biases, "weight_decay": 0.0}]
    theirs = torch.optim.AdamW(groups, betas=BETAS, fused=True)
    for step, layers in enumerate((2, 3, 2, 3, 3)):  # the last layer is not used at first, then at times
        rate = 0.05 / (1 + step)
        for group in theirs.param_groups:
            group["lr"] = rate
        x = torch.randn(4, 5, device=device)
        ours.zero_grad()
        theirs.zero_grad(set_to_none=True)
        loss(net, x, layers).backward()
        loss(other, x, layers).backward()
        ours.step(rate)
        theirs.step()
        for a, b in zip(net.parameters(), other.parameters(), strict=True):
            assert torch.equal(a, b)


def test_complex_parameters_step_as_torch_optim_has_them() -> None:
    ours = nn.Parameter(torch.randn(3, 4, dtype=torch.complex64))
    theirs = nn.Parameter(ours.detach().clone())
    one = AdamW([Group([ours], 0.1)], BETAS)
    two = torch.optim.AdamW([theirs], lr=0.05, betas=BETAS, weight_decay=0.1, foreach=False)
    target = torch.randn(3, 4, dtype=torch.complex64)
    for _ in range(4):
        for parameter, optimizer in ((ours, one), (theirs, two)):
            optimizer.zero_grad()
            (parameter - target).abs().square().sum().backward()
        one.step(0.05)
        two.step()
    torch.testing.assert_close(ours, theirs)


def test_a_state_taken_up_goes_on_as_if_nothing_had_happened() -> None:
    net, other = nets()
    one, two = (AdamW([Group(list(n.parameters()), 0.1)], BETAS) for n in (net, other))
    inputs = torch.randn(6, 4, 5)
    for x in inputs[:3]:
        one.zero_grad()
        loss(net, x, 3).backward()
        one.step(0.01)
    two.load_state_dict(copy.deepcopy(one.state_dict()))
    other.load_state_dict(net.state_dict())
    for x in inputs[3:]:
        for n, optimizer in ((net, one), (other, two)):
            optimizer.zero_grad()
            loss(n, x, 3).backward()
            optimizer.step(0.01)
    for a, b in zip(net.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b)


def test_another_optimisers_state_is_refused() -> None:
    net, _ = nets()
    ours = AdamW([Group(list(net.parameters()), 0.0)], BETAS)
    other = AdamW([Group(list(nn.Linear(5, 8).parameters()), 0.0)], BETAS)
    with pytest.raises(ValueError, match=r"shorter|shape"):
        ours.load_state_dict(other.state_dict())
    with pytest.raises(LookupError):
        ours.load_state_dict(torch.optim.AdamW(net.parameters(), fused=True).state_dict())
