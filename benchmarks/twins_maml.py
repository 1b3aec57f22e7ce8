"""MAML as a user of JAX would write it: a policy for one task, mapped over tasks, for `benchmarks.jax_twins`.

The algorithm of `agents/maml.py` with a Gaussian policy, one inner step and `credit` 0; and the meta-gradient of
`benchmarks.inner_loop`. Axes: B tasks, T time, E episodes of a task side by side, O observation, A action.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

Array = jax.Array
Weights = dict[str, Any]
"""`layers`, pairs of matrix and bias, and of a policy `spread`."""


def handed_over(flat: Any, sizes: Sequence[int]) -> Weights:
    """The weights in a NumPy vector [P] of `agents.common.fast_policy`, layers of `sizes` and what is left over."""
    layers, place = [], 0
    for before, after in pairwise(sizes):
        matrix = flat[place : place + before * after].reshape(before, after)
        place += (before + 1) * after
        layers.append((jnp.array(matrix), jnp.array(flat[place - after : place])))
    return {"layers": layers, "spread": jnp.array(flat[place:])}


def flattened(weights: Weights) -> np.ndarray:
    """[P] the other way round."""
    parts = [part for layer in weights["layers"] for part in layer]
    return np.concatenate([np.ravel(part) for part in (*parts, weights["spread"])])


def network(weights: Weights, values: Array) -> Array:
    """[..., O] -> [..., A] through layers of tanh."""
    for matrix, bias in weights["layers"][:-1]:
        values = jnp.tanh(values @ matrix + bias)
    matrix, bias = weights["layers"][-1]
    return values @ matrix + bias


def meta_gradient(rate: float) -> Callable[[Weights, Array, Array], Weights]:
    """Of the mean squared error after one inner step on the same samples [B, N, ...], by the weights before it."""

    def loss(weights: Weights, x: Array, y: Array) -> Array:
        return jnp.mean((network(weights, x) - y) ** 2)

    def outer(weights: Weights, x: Array, y: Array) -> Array:
        gradient = jax.grad(loss)(weights, x, y)
        return loss(jax.tree.map(lambda old, slope: old - rate * slope, weights, gradient), x, y)

    def mean(weights: Weights, x: Array, y: Array) -> Array:
        return jax.vmap(outer, (None, 0, 0))(weights, x, y).mean()

    return jax.jit(jax.grad(mean))


class Round(NamedTuple):
    """Episodes side by side, as they were played."""

    observation: Array
    """[B, T, E, O]."""
    action: Array
    """[B, T, E, A]."""
    reward: Array
    """[B, T, E]."""
    weight: Array
    """[B, T, E] 1, or 0 where the episode was over."""


class Learned(NamedTuple):
    """What an inner step learns from."""

    observation: Array
    action: Array
    advantage: Array
    weight: Array


class Sizes(NamedTuple):
    """Names as in the settings of the agent."""

    half_range: float
    """Of the actions, around 0."""
    least_std: float
    inner_rate: float
    inner_norm: float
    discount: float
    trace: float
    divergence: float
    conjugate_steps: int
    curvature_stride: int
    damping: float


class Twin:
    """Two rounds of episodes, before and after an inner step."""

    def __init__(self, sizes: Sizes) -> None:
        self.sizes = sizes
        self.learn = jax.jit(self._learn)
        self.inner_steps = jax.jit(jax.vmap(self._inner_step, (None, 0)))
        self.experience = jax.jit(jax.vmap(self._experience))

    def _policy(self, weights: Weights, observation: Array) -> tuple[Array, Array]:
        """Mean [..., A] and log standard deviation [A]."""
        sizes = self.sizes
        log_std = 0.5 * jnp.log(jnp.exp(2 * weights["spread"]) + sizes.least_std**2) + jnp.log(sizes.half_range)
        return sizes.half_range * network(weights, observation), log_std

    def _log_prob(self, weights: Weights, data: Learned) -> Array:
        mean, log_std = self._policy(weights, data.observation)
        scaled = (data.action - mean) * jnp.exp(-log_std)
        return (-0.5 * scaled**2 - log_std - 0.5 * jnp.log(2 * jnp.pi)).sum(-1)

    def _experience(self, played: Round) -> Learned:
        """Of one task: advantages over a linear baseline that is fitted to its returns."""
        sizes, weight = self.sizes, played.weight
        goes_on = jnp.concatenate([weight[1:], jnp.zeros_like(weight[:1])])

        def summed(errors: Array, trace: float) -> Array:
            def back(running: Array, given: tuple[Array, Array]) -> tuple[Array, Array]:
                running = given[0] + given[1] * sizes.discount * trace * running
                return running, running

            return lax.scan(back, jnp.zeros_like(errors[0]), (errors, goes_on), reverse=True)[1]

        reward = played.reward * weight
        features = _features(played.observation)
        design = (features * weight[..., None]).reshape(-1, features.shape[-1])
        target = (summed(reward, 1.0) * weight).ravel()
        coefficients = jnp.linalg.solve(design.T @ design + 1e-5 * jnp.eye(design.shape[1]), design.T @ target)
        value = features @ coefficients * weight
        following = jnp.concatenate([value[1:], jnp.zeros_like(value[:1])])
        advantage = summed(reward + goes_on * sizes.discount * following - value, sizes.trace)
        centred = advantage - _mean(advantage, weight)
        normalised = centred / (jnp.sqrt(_mean(centred**2, weight)) + 1e-8) * weight
        return Learned(played.observation, played.action, normalised, weight)

    def _inner_step(self, weights: Weights, data: Learned) -> Weights:
        """The weights of one task after a step of policy gradient."""

        def loss(weights: Weights) -> Array:
            log_prob = self._log_prob(weights, data)
            return -_mean(jnp.exp(log_prob - lax.stop_gradient(log_prob)) * data.advantage, data.weight)

        gradient = jax.grad(loss)(weights)
        norm = lax.stop_gradient(jnp.sqrt(_dot(gradient, gradient)))
        rate = self.sizes.inner_rate * jnp.minimum(1, self.sizes.inner_norm / jnp.maximum(norm, 1e-12))
        return jax.tree.map(lambda old, slope: old - rate * slope, weights, gradient)

    def _learn(self, weights: Weights, first: Round, second: Round) -> tuple[Weights, dict[str, Array]]:
        """One trust-region step on what was played `first`, and after an inner step."""
        sizes = self.sizes
        before, after = (jax.vmap(self._experience)(played) for played in (first, second))

        def adapted(weights: Weights) -> Weights:
            return jax.vmap(self._inner_step, (None, 0))(weights, before)

        here = adapted(weights)
        old = jax.vmap(self._policy)(here, after.observation)
        old_log_prob = jax.vmap(self._log_prob)(here, after)

        def objective(weights: Weights) -> tuple[Array, Array]:
            each = adapted(weights)
            ratio = jnp.exp(jax.vmap(self._log_prob)(each, after) - old_log_prob)
            loss = -jax.vmap(_mean)(ratio * after.advantage, after.weight).mean()
            return loss, self._divergence(old, each, after.observation, after.weight)

        (loss, _), gradient = jax.value_and_grad(objective, has_aux=True)(weights)
        curvature = self._curvature(weights, adapted, after)
        direction, _ = jax.scipy.sparse.linalg.cg(curvature, gradient, tol=0, atol=1e-5, maxiter=sizes.conjugate_steps)
        length = jnp.sqrt(2 * sizes.divergence / jnp.maximum(_dot(direction, curvature(direction)), 1e-12))

        def shortened(attempt: Array) -> Weights:
            return jax.tree.map(lambda old, step: old - 0.8**attempt * length * step, weights, direction)

        def good(attempt: Array) -> Array:
            found, divergence = objective(shortened(attempt))
            return (found < loss) & (divergence <= sizes.divergence)

        def going_on(state: tuple[Array, Array]) -> Array:
            return ~state[1] & (state[0] < 14)

        nowhere = jnp.full((), -1), jnp.zeros((), bool)
        attempt, accepted = lax.while_loop(going_on, lambda state: (state[0] + 1, good(state[0] + 1)), nowhere)
        moved = jax.tree.map(lambda new, old: jnp.where(accepted, new, old), shortened(attempt), weights)
        figures = {
            "loss": loss,
            "accepted": accepted,
            "attempt": attempt,
            "gradient_norm": _dot(gradient, gradient) ** 0.5,
        }
        return moved, figures

    def _divergence(self, old: tuple[Array, Array], each: Weights, observation: Array, weight: Array) -> Array:
        """Mean over tasks of KL(old || each)."""

        def one(old: tuple[Array, Array], weights: Weights, observation: Array, weight: Array) -> Array:
            (mean, log_std), (new_mean, new_log_std) = old, self._policy(weights, observation)
            squares = jnp.exp(2 * log_std) + (mean - new_mean) ** 2
            return _mean((new_log_std - log_std + 0.5 * squares * jnp.exp(-2 * new_log_std) - 0.5).sum(-1), weight)

        return jax.vmap(one)(old, each, observation, weight).mean()

    def _curvature(
        self, weights: Weights, adapted: Callable[[Weights], Weights], after: Learned
    ) -> Callable[[Weights], Weights]:
        """Vector -> Hessian of the divergence after adaptation, without that of the adaptation, times it; damped."""
        here, forwards = jax.linearize(adapted, weights)
        backwards = jax.linear_transpose(forwards, weights)
        observation, weight = (part[:, :: self.sizes.curvature_stride] for part in (after.observation, after.weight))
        old = jax.vmap(self._policy)(here, observation)
        slope = jax.grad(lambda each: self._divergence(old, each, observation, weight))

        def product(vector: Weights) -> Weights:
            image = jax.jvp(slope, (here,), (forwards(vector),))[1]
            return jax.tree.map(lambda part, own: part + self.sizes.damping * own, backwards(image)[0], vector)

        return product


def _features(observation: Array) -> Array:
    """[T, E, O] -> [T, E, 2 O + 4]: o, o^2, t, t^2, t^3 and 1, as `agents/common/linear_baseline.py` has them."""
    clipped = jnp.clip(observation, -10, 10)
    time = jnp.arange(len(observation)) / 100
    powers = jnp.stack([time, time**2, time**3, jnp.ones_like(time)], -1)[:, None]
    return jnp.concatenate([clipped, clipped**2, jnp.broadcast_to(powers, (*observation.shape[:2], 4))], -1)


def _mean(values: Array, weight: Array) -> Array:
    return (values * weight).sum() / weight.sum()


def _dot(left: Weights, right: Weights) -> Array:
    return sum(jax.tree.leaves(jax.tree.map(jnp.vdot, left, right)), jnp.zeros(()))
