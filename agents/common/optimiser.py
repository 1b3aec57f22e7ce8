"""Adam, whose learning rate is a setting, whatever state it goes on from.

`torch.optim.Adam`, to the bit and with the same state, without `torch._dynamo`, which that imports when it is made:
1.5 s and 70 MiB of every process that learns anything (torch 2.13, findings/torch_optimiser_imports_compiler.sh).
"""

from collections.abc import Iterable
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

MOMENTS = ("exp_avg", "exp_avg_sq")
"""Running means of the gradient and of its square, by the names that torch has for them."""


@runtime_checkable
class Optimizer(Protocol):
    """What descends a gradient."""

    def zero_grad(self) -> None:
        """Forget all gradients."""
        ...

    def step(self) -> None:
        """Move every parameter that has a gradient."""
        ...


class Adam:
    """Adam by torch's fused kernel; one device and one type for all parameters.

    Reference: Kingma and Ba 2015, "Adam: A Method for Stochastic Optimization", algorithm 1.
    """

    def __init__(self, parameters: Iterable[Tensor], lr: float, betas: tuple[float, float] = (0.9, 0.999)) -> None:
        self.param_groups: list[dict[str, Any]] = [{"params": list(parameters), "lr": lr, "betas": betas, "eps": 1e-8}]
        self.state: dict[Tensor, dict[str, Tensor]] = {}
        """"step" and `MOMENTS` of every parameter that ever had a gradient."""

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for parameter in self.param_groups[0]["params"]:
            parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Move every parameter that has a gradient."""
        (group,) = self.param_groups
        moved: list[Tensor] = [parameter for parameter in group["params"] if parameter.grad is not None]
        if not moved:
            return
        for parameter in moved:
            if parameter not in self.state:
                count = torch.zeros((), dtype=torch.float32, device=parameter.device)
                self.state[parameter] = {"step": count, **{name: torch.zeros_like(parameter) for name in MOMENTS}}
        states = [self.state[parameter] for parameter in moved]
        counts = [state["step"] for state in states]
        first, second = ([state[name] for state in states] for name in MOMENTS)
        torch._foreach_add_(counts, 1)  # pyright: ignore[reportPrivateImportUsage]
        torch._fused_adam_(  # pyright: ignore[reportPrivateImportUsage]
            moved,
            [parameter.grad for parameter in moved if parameter.grad is not None],
            first,
            second,
            [],
            counts,
            lr=group["lr"],
            beta1=group["betas"][0],
            beta2=group["betas"][1],
            weight_decay=0.0,
            eps=group["eps"],
            amsgrad=False,
            maximize=False,
        )

    def state_dict(self) -> dict[str, Any]:
        """What torch's has, parameters by their numbers."""
        (group,) = self.param_groups
        numbers = {parameter: number for number, parameter in enumerate(group["params"])}
        return {
            "state": {numbers[parameter]: dict(state) for parameter, state in self.state.items()},
            "param_groups": [{**group, "params": list(numbers.values())}],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state`, of which this keeps a copy. Raises `ValueError` where it is of other parameters."""
        (group,), (given,) = self.param_groups, state["param_groups"]
        parameters: list[Tensor] = group["params"]
        if len(given["params"]) != len(parameters):
            raise ValueError(f"a state of {len(given['params'])} parameters, expected one of {len(parameters)}")
        loaded: dict[Tensor, dict[str, Tensor]] = {}
        for number, kept in state["state"].items():
            parameter = parameters[int(number)]
            if any(kept[name].shape != parameter.shape for name in MOMENTS):
                raise ValueError(f"moments {list(kept['exp_avg'].shape)} of a parameter {list(parameter.shape)}")
            moments = {name: kept[name].detach().to(parameter, copy=True) for name in MOMENTS}
            loaded[parameter] = {"step": kept["step"].to(parameter.device, torch.float32, copy=True), **moments}
        self.state = loaded
        group.update({name: given[name] for name in ("lr", "betas", "eps")})


def load_optimizer(optimizer: Adam, state: dict[str, Any], learning_rate: float) -> None:
    """Go on from `state`, its moments and counts, by steps of `learning_rate`: the state has that of another agent.

    Raises `ValueError` where the state is of other parameters.
    """
    optimizer.load_state_dict(state)
    for group in optimizer.param_groups:
        group["lr"] = learning_rate
