#!/usr/bin/env bash
# One would guess: an optimiser that nobody compiles needs nothing beyond what `import torch` has brought.
# What happens: making any `torch.optim` optimiser imports torch's compiler, torch._dynamo with sympy and hundreds of
# modules more: `add_param_group` is marked as not to be compiled, and that mark imports the compiler when it is first
# called; `step` imports it by itself. A parameter moved by hand, `p.sub_(rate * p.grad)`, imports none of it.
# Date: 2026-11-30, torch 2.13.0, Python 3.11. Why it matters here: every process that learns anything, of a sweep or a
# pool too, paid a second and a half and tens of MiB for it before its first update; `agents/common/optimiser.py` is
# Adam without.
set -euo pipefail
here=$(mktemp -d)  # a temporary folder
trap 'rm -rf "$here"' EXIT
python3 -m venv "$here/venv"
"$here/venv/bin/pip" install -q torch==2.13.0 numpy==2.4.6
"$here/venv/bin/python" - <<'PROGRAM'
import resource
import sys
import time

import torch


def state():
    return len(sys.modules), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


parameter = torch.zeros(3, requires_grad=True)
parameter.sum().backward()
with torch.no_grad():
    parameter.sub_(0.1 * parameter.grad)
before, by_hand = state(), "torch._dynamo" in sys.modules
begun = time.process_time()
torch.optim.SGD([parameter], lr=0.1)
seconds, after, made = time.process_time() - begun, state(), "torch._dynamo" in sys.modules
print(f"Python {sys.version.split()[0]}, torch {torch.__version__}")
print(f"the compiler is imported by a step by hand: {by_hand}; by making torch.optim.SGD: {made}")
print(f"that took {seconds:.2f} s, {after[0] - before[0]} modules and {after[1] - before[1]} MiB")
sys.exit(0 if made and not by_hand and after[0] - before[0] > 100 else 1)
PROGRAM
