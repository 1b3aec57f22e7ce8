"""RL^2 as a user of JAX would write it: tasks drawn, trials played and PPO's passes over them, one jitted function.

The algorithm and the sizes of `agents/rl2.py` with the network `gru` or `fast-weights` and a discrete action, for
`benchmarks.jax_twins`. Weights have the names of ours, matrices transposed (`handed_over`). JAX draws its own numbers.

Axes: T time (all episodes of the trial), B trials, I inputs, H hidden units or heads, K key width, V value width.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
from jax import lax

Array = jax.Array
Weights = dict[str, Array]


class Network(Protocol):
    """A recurrent network in two forms."""

    def initial(self, batch: int) -> Any:
        """What is remembered before the trial."""
        ...

    def step(self, weights: Weights, inputs: Array, memory: Any) -> tuple[Array, Any]:
        """[B, I], memory -> [B, F], memory."""
        ...

    def sequence(self, weights: Weights, inputs: Array) -> Array:
        """[T, B, I] -> [T, B, F]."""
        ...


class World(Protocol):
    """Random tasks of one kind, all tables [B, ...]."""

    actions: int
    horizon: int

    def draw(self, key: Array, batch: int) -> Any:
        """So many tasks."""
        ...

    def initial(self, batch: int) -> Array:
        """[B] states at the start of an episode."""
        ...

    def observe(self, state: Array) -> Array:
        """[B, O]."""
        ...

    def step(self, tasks: Any, state: Array, action: Array, key: Array) -> tuple[Array, Array]:
        """Next state [B] and reward [B]."""
        ...


class Sizes(NamedTuple):
    """Of an experiment; names as in its settings."""

    tasks: int
    episodes: int
    updates: int
    learning_rate: float
    final_learning_rate: float
    discount: float
    trace: float
    epochs: int
    minibatches: int
    clip: float
    entropy: float
    value_coefficient: float
    reward_prediction: float
    gradient_norm: float


class Learner(NamedTuple):
    """All that training changes."""

    weights: Weights
    moments: tuple[Weights, Weights]
    steps: Array
    """Of Adam."""
    value_mean: Array
    """[T, 1]."""
    value_scale: Array
    updates: Array


class Played(NamedTuple):
    """What a trial leaves to learn from."""

    inputs: Array
    """[T, B, I]."""
    action: Array
    """[T, B]."""
    log_prob: Array
    value: Array
    """[T, B] as the network puts it out."""
    reward: Array


def handed_over(state: Mapping[str, Any]) -> Weights:
    """The NumPy arrays of a torch model as weights here; copies, which `asarray` would not make."""
    return {name: jnp.array(values.T) for name, values in state.items()}


def begin(weights: Weights, steps: int) -> Learner:
    """Nothing learned yet, for trials of so many steps."""
    zeros = jax.tree.map(jnp.zeros_like, weights)
    return Learner(weights, (zeros, zeros), jnp.zeros(()), jnp.zeros((steps, 1)), jnp.ones(()), jnp.zeros(()))


class Bandit:
    """Arms that pay 1 with a probability drawn evenly from [0, 1]; nothing to see."""

    horizon = 1

    def __init__(self, arms: int) -> None:
        self.actions = arms

    def draw(self, key: Array, batch: int) -> Array:
        """See `World.draw`."""
        return jax.random.uniform(key, (batch, self.actions))

    def initial(self, batch: int) -> Array:
        """See `World.initial`."""
        return jnp.zeros(batch, jnp.int32)

    def observe(self, state: Array) -> Array:
        """See `World.observe`."""
        return jnp.zeros((len(state), 1))

    def step(self, tasks: Array, state: Array, action: Array, key: Array) -> tuple[Array, Array]:
        """See `World.step`."""
        chance = jnp.take_along_axis(tasks, action[:, None], 1)[:, 0]
        return state, (jax.random.uniform(key, chance.shape) < chance).astype(jnp.float32)


class Tabular(NamedTuple):
    """Transitions from Dirichlet(1, ..., 1), mean rewards and rewards normal, start in state 0."""

    states: int
    actions: int
    horizon: int

    def draw(self, key: Array, batch: int) -> tuple[Array, Array]:
        """Mean rewards [B, S A] and cumulative transitions [B, S A, S - 1]."""
        luck, rewards = jax.random.split(key)
        share = jax.random.exponential(luck, (batch, self.states * self.actions, self.states))
        cumulative = jnp.cumsum(share / share.sum(-1, keepdims=True), -1)[..., :-1]
        return 1 + jax.random.normal(rewards, cumulative.shape[:2]), cumulative

    def initial(self, batch: int) -> Array:
        """See `World.initial`."""
        return jnp.zeros(batch, jnp.int32)

    def observe(self, state: Array) -> Array:
        """See `World.observe`."""
        return jax.nn.one_hot(state, self.states)

    def step(self, tasks: tuple[Array, Array], state: Array, action: Array, key: Array) -> tuple[Array, Array]:
        """See `World.step`."""
        rewards, cumulative = tasks
        slot, pair = jnp.arange(len(state)), state * self.actions + action
        where, noise = jax.random.split(key)
        following = (jax.random.uniform(where, (len(state), 1)) >= cumulative[slot, pair]).sum(-1)
        return following, rewards[slot, pair] + jax.random.normal(noise, state.shape)


class GRU(NamedTuple):
    """As torch and Cho et al. 2014 have it; the products with the inputs are made for all steps at once."""

    hidden: int

    def initial(self, batch: int) -> Array:
        """See `Network.initial`."""
        return jnp.zeros((batch, self.hidden))

    def step(self, weights: Weights, inputs: Array, memory: Array) -> tuple[Array, Array]:
        """See `Network.step`."""
        hidden = self._cell(weights, self._read(weights, inputs), memory)
        return hidden, hidden

    def sequence(self, weights: Weights, inputs: Array) -> Array:
        """See `Network.sequence`."""

        def step(hidden: Array, read: Array) -> tuple[Array, Array]:
            hidden = self._cell(weights, read, hidden)
            return hidden, hidden

        return lax.scan(step, self.initial(inputs.shape[1]), self._read(weights, inputs))[1]

    def _read(self, weights: Weights, inputs: Array) -> Array:
        return inputs @ weights["network.gru.weight_ih_l0"] + weights["network.gru.bias_ih_l0"]

    def _cell(self, weights: Weights, read: Array, hidden: Array) -> Array:
        recalled = hidden @ weights["network.gru.weight_hh_l0"] + weights["network.gru.bias_hh_l0"]
        (r, z, n), (hr, hz, hn) = jnp.split(read, 3, -1), jnp.split(recalled, 3, -1)
        update = jax.nn.sigmoid(z + hz)
        return (1 - update) * jnp.tanh(n + jax.nn.sigmoid(r + hr) * hn) + update * hidden


class FastWeights(NamedTuple):
    """Keys and values in matrices that decay, step by step or as attention: `agents/networks/fast_weights.py`."""

    inputs: int
    layers: int
    heads: int
    key: int
    value: int

    def initial(self, batch: int) -> Any:
        """See `Network.initial`."""
        matrix = jnp.zeros((batch, self.heads, self.key, self.value + 1))
        return jnp.zeros((batch, self.inputs)), (matrix,) * self.layers

    def step(self, weights: Weights, inputs: Array, memory: Any) -> tuple[Array, Any]:
        """See `Network.step`."""
        previous, matrices = memory
        stream, kept = self._embed(weights, previous, inputs), []
        for i, matrix in enumerate(matrices):
            query, key, value = self._project(weights, i, stream)
            decay = jax.nn.sigmoid(weights[f"network.stack.{i}.decay"])[:, None, None]
            kept.append(decay * matrix + key[..., None] * value[..., None, :])
            stream = self._finish(weights, i, stream, jnp.einsum("bhk,bhkv->bhv", query, kept[-1]))
        return _norm(weights, "network.norm", stream), (inputs, tuple(kept))

    def sequence(self, weights: Weights, inputs: Array) -> Array:
        """See `Network.sequence`."""
        inputs = inputs.swapaxes(0, 1)
        stream = self._embed(weights, jnp.pad(inputs, ((0, 0), (1, 0), (0, 0)))[:, :-1], inputs)
        time = jnp.arange(inputs.shape[1])
        age = time[:, None] - time
        for i in range(self.layers):
            query, key, value = self._project(weights, i, stream)
            rate = jax.nn.log_sigmoid(weights[f"network.stack.{i}.decay"])[:, None, None]
            reach = jnp.where(age >= 0, jnp.exp(rate * jnp.maximum(age, 0)), 0)
            seen = jnp.einsum("bthk,bshk->bhts", query, key) * reach
            stream = self._finish(weights, i, stream, jnp.einsum("bhts,bshv->bthv", seen, value))
        return _norm(weights, "network.norm", stream).swapaxes(0, 1)

    def _embed(self, weights: Weights, previous: Array, inputs: Array) -> Array:
        both = jnp.concatenate([previous, inputs], -1)
        return _linear(weights, "network.embedding.2", jax.nn.relu(_linear(weights, "network.embedding.0", both)))

    def _project(self, weights: Weights, i: int, stream: Array) -> tuple[Array, Array, Array]:
        """[..., D] -> [..., H, K], the same, [..., H, V + 1]."""
        name, width = f"network.stack.{i}", self.heads * self.key
        parts = _linear(weights, f"{name}.project", _norm(weights, f"{name}.norm", stream))
        query, key, value = (
            part.reshape(*part.shape[:-1], self.heads, -1) for part in jnp.split(parts, (width, 2 * width), -1)
        )
        counted = jnp.concatenate([value, jnp.ones_like(value[..., :1])], -1)
        return jax.nn.softmax(query), jax.nn.softmax(key), counted

    def _finish(self, weights: Weights, i: int, stream: Array, read: Array) -> Array:
        name, stored = f"network.stack.{i}", read[..., -1:]
        read = jnp.concatenate([read[..., :-1] / (1 + stored), jnp.log1p(stored)], -1)
        stream = stream + _linear(weights, f"{name}.merge", read.reshape(*stream.shape[:-1], -1))
        within = _linear(weights, f"{name}.perceptron.1", _norm(weights, f"{name}.perceptron.0", stream))
        return stream + _linear(weights, f"{name}.perceptron.3", jax.nn.relu(within))


def _linear(weights: Weights, name: str, values: Array) -> Array:
    return values @ weights[f"{name}.weight"] + weights[f"{name}.bias"]


def _norm(weights: Weights, name: str, values: Array) -> Array:
    mean, variance = values.mean(-1, keepdims=True), values.var(-1, keepdims=True)
    return (values - mean) * lax.rsqrt(variance + 1e-5) * weights[f"{name}.weight"] + weights[f"{name}.bias"]


class Twin:
    """`iteration` is one of ours: tasks, trials, learning."""

    def __init__(self, sizes: Sizes, world: World, network: Network) -> None:
        self.sizes, self.world, self.network = sizes, world, network
        self.iteration = jax.jit(self._iteration)
        self.play = jax.jit(self._play, static_argnums=2)
        self.learn = jax.jit(self._learn)
        self.losses: Callable[..., Any] = jax.jit(jax.value_and_grad(self._losses, has_aux=True))

    def _iteration(self, learner: Learner, key: Array) -> tuple[Learner, dict[str, Array]]:
        playing, learning = jax.random.split(key)
        played = self._play(learner.weights, playing, self.sizes.tasks)
        learner, figures = self._learn(learner, played, learning)
        return learner, {**figures, "return": played.reward.sum(0).mean()}

    def _heads(self, weights: Weights, features: Array) -> tuple[Array, Array]:
        """Log-probabilities [..., A] and value [...]."""
        logits = _linear(weights, "policy.linear", features)
        return jax.nn.log_softmax(logits), _linear(weights, "value", features)[..., 0]

    def _play(self, weights: Weights, key: Array, batch: int) -> Played:
        """One trial on each of `batch` new tasks."""
        world, network = self.world, self.network
        drawing, playing = jax.random.split(key)
        tasks, start = world.draw(drawing, batch), world.initial(batch)

        def step(carry: Any, given: tuple[Array, Array]) -> Any:
            memory, state, action, reward = carry
            t, luck = given
            choosing, moving = jax.random.split(luck)
            inside = jnp.broadcast_to(t > 0, (batch, 1)).astype(jnp.float32)
            begins = (t % world.horizon == 0) * inside
            chosen = jax.nn.one_hot(action, world.actions) * inside
            inputs = jnp.concatenate([world.observe(state), chosen, reward[:, None] * inside, begins, 1 - inside], -1)
            features, memory = network.step(weights, inputs, memory)
            logs, value = self._heads(weights, features)
            action = jax.random.categorical(choosing, logs)
            log_prob = jnp.take_along_axis(logs, action[:, None], 1)[:, 0]
            state, reward = world.step(tasks, state, action, moving)
            state = jnp.where((t + 1) % world.horizon == 0, start, state)
            return (memory, state, action, reward), Played(inputs, action, log_prob, value, reward)

        steps = self.sizes.episodes * world.horizon
        carry = network.initial(batch), start, jnp.zeros(batch, jnp.int32), jnp.zeros(batch)
        return lax.scan(step, carry, (jnp.arange(steps), jax.random.split(playing, steps)))[1]

    def _learn(self, learner: Learner, played: Played, key: Array) -> tuple[Learner, dict[str, Array]]:
        """PPO on whole trials."""
        sizes = self.sizes
        left = jnp.maximum(0, 1 - learner.updates / sizes.updates)
        rate = sizes.final_learning_rate + (sizes.learning_rate - sizes.final_learning_rate) * left
        advantage, target, mean, scale = self._advantages(learner, played)
        columns = (played.inputs, played.action, played.log_prob, played.reward, advantage, target)

        def update(carry: Any, rows: Array) -> Any:
            weights, moments, steps = carry
            batch = jax.tree.map(lambda column: column[:, rows], columns)
            gradient_of = jax.value_and_grad(self._losses, has_aux=True)
            (_, figures), gradient = gradient_of(weights, batch, sizes.entropy * left)
            norm = jnp.sqrt(sum(jnp.sum(part**2) for part in jax.tree.leaves(gradient)))
            gradient = jax.tree.map(lambda part: part * jnp.minimum(1, sizes.gradient_norm / (norm + 1e-6)), gradient)
            return _adam(weights, gradient, moments, steps + 1, rate), {**figures, "gradient_norm": norm}

        def epoch(carry: Any, luck: Array) -> Any:
            order = jax.random.permutation(luck, played.reward.shape[1])
            return lax.scan(update, carry, order.reshape(sizes.minibatches, -1))

        carry = learner.weights, learner.moments, learner.steps
        carry, figures = lax.scan(epoch, carry, jax.random.split(key, sizes.epochs))
        return Learner(*carry, mean, scale, learner.updates + 1), jax.tree.map(jnp.mean, figures)

    def _advantages(self, learner: Learner, played: Played) -> tuple[Array, Array, Array, Array]:
        """Advantages and value targets [T, B], both normalised, and what values are from now on measured by."""
        discount, trace = self.sizes.discount, self.sizes.trace
        value = played.value * learner.value_scale + learner.value_mean
        following = jnp.concatenate([value[1:], jnp.zeros_like(value[:1])])

        def back(running: Array, error: Array) -> tuple[Array, Array]:
            running = error + discount * trace * running
            return running, running

        errors = played.reward + discount * following - value
        advantage = lax.scan(back, jnp.zeros_like(value[0]), errors, reverse=True)[1]
        returns = advantage + value
        mean = returns.mean(1, keepdims=True)
        keep = jnp.where(learner.updates > 0, 0.9, 0.0)
        scale = keep * learner.value_scale + (1 - keep) * (jnp.sqrt(jnp.mean((returns - mean) ** 2)) + 1e-6)
        mean = keep * learner.value_mean + (1 - keep) * mean
        return (advantage - advantage.mean()) / (advantage.std() + 1e-8), (returns - mean) / scale, mean, scale

    def _losses(self, weights: Weights, batch: tuple[Array, ...], entropy: Array) -> tuple[Array, dict[str, Array]]:
        """What is descended, and its parts."""
        inputs, action, before, reward, advantage, target = batch
        features = self.network.sequence(weights, inputs)
        logs, value = self._heads(weights, features)
        log_ratio = jnp.take_along_axis(logs, action[..., None], -1)[..., 0] - before
        ratio = jnp.exp(log_ratio)
        clipped = jnp.clip(ratio, 1 - self.sizes.clip, 1 + self.sizes.clip)
        figures = {
            "policy_loss": -jnp.minimum(ratio * advantage, clipped * advantage).mean(),
            "value_loss": jnp.mean((value - target) ** 2),
            "entropy": -(jnp.exp(logs) * logs).sum(-1).mean(),
            "approx_kl": jnp.mean(ratio - 1 - log_ratio),
        }
        loss = figures["policy_loss"] + self.sizes.value_coefficient * figures["value_loss"]
        loss = loss - entropy * figures["entropy"]
        if self.sizes.reward_prediction:
            slopes = _linear(weights, "reward", features)
            predicted = jnp.take_along_axis(slopes, action[..., None], -1)[..., 0] + slopes[..., -1]
            figures["reward_prediction"] = jnp.mean((predicted - reward) ** 2)
            loss = loss + self.sizes.reward_prediction * figures["reward_prediction"]
        return loss, figures


def _adam(weights: Weights, gradient: Weights, moments: Any, steps: Array, rate: Array) -> Any:
    """Weights, moments and count after one step of Adam with betas .9 and .99."""
    first = jax.tree.map(lambda old, new: 0.9 * old + 0.1 * new, moments[0], gradient)
    second = jax.tree.map(lambda old, new: 0.99 * old + 0.01 * new**2, moments[1], gradient)
    size = rate / (1 - 0.9**steps)

    def moved(weight: Array, mean: Array, square: Array) -> Array:
        return weight - size * mean / (jnp.sqrt(square / (1 - 0.99**steps)) + 1e-8)

    return jax.tree.map(moved, weights, first, second), (first, second), steps
