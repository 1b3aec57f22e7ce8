#!/usr/bin/env bash
# One would guess: whoever differentiates twice through a function marked `once_differentiable` gets an error, which is
# what the mark is for.
# What happens: the error comes only where the slope that its backward is given needs a gradient itself. A loss that
# is used as it is, or summed, gives a constant slope: the second derivative of the function is left out in silence, and
# the rest, which other terms give, is returned as if it were all.
# Date: 2026-12-01, torch 2.13.0, Python 3.11. Why it matters here: an inner step of MAML through one such kernel, with
# any other term in the loss, trains by a wrong meta-gradient, here of the other sign. The kernels of
# `agents/networks` therefore ask in backward whether gradients are recorded, and then do without the kernel.
set -euo pipefail
here=$(mktemp -d)  # a temporary folder
trap 'rm -rf "$here"' EXIT
python3 -m venv "$here/venv"
"$here/venv/bin/pip" install -q torch==2.13.0 numpy==2.4.6
"$here/venv/bin/python" - <<'PROGRAM'
import sys

import torch
from torch.autograd.function import once_differentiable


class Cube(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    @once_differentiable
    def backward(ctx, slope):
        (x,) = ctx.saved_tensors
        return slope * 3 * x**2


def meta_gradient(loss):
    """Of the loss after one inner step from 2, by where it started."""
    start = torch.tensor(2.0, requires_grad=True)
    (slope,) = torch.autograd.grad(loss(start), start, create_graph=True)
    return torch.autograd.grad(loss(start - 0.1 * slope), start)[0].item()


exact = meta_gradient(lambda x: x**3 + x**2)
try:
    found = meta_gradient(lambda x: Cube.apply(x) + x**2)
except RuntimeError as error:
    print(f"it raises: {error}")
    sys.exit(1)
print(f"Python {sys.version.split()[0]}, torch {torch.__version__}")
print(f"the meta-gradient is {exact:.3f}; through a once-differentiable cube, without a word, {found:.3f}")
sys.exit(0 if exact < 0 < found else 1)
PROGRAM
