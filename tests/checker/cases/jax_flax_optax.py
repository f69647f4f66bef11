"""Networks of Flax and Equinox before the losses of optax."""

import equinox as eqx
import jax
import optax
from flax import linen as nn
from flax import nnx
from flax.training import train_state


class Soft(nn.Module):
    classes: int = 10

    @nn.compact
    def __call__(self, x, train=True):
        x = nn.relu(nn.Dense(32)(x))
        x = nn.Dropout(0.5)(x, deterministic=not train)
        return nn.softmax(nn.Dense(self.classes)(x))


class Raw(nn.Module):
    def setup(self):
        self.body = nn.Sequential([nn.Conv(8, (3, 3)), nn.LayerNorm(), nn.gelu])
        self.head = nn.Dense(features=10)

    def __call__(self, x):
        return self.head(self.body(x))


class Newer(nnx.Module):
    def __init__(self, rngs):
        self.fc = nnx.Linear(4, 10, rngs=rngs)

    def __call__(self, x):
        return nnx.softmax(self.fc(x))


class Layers(eqx.Module):
    layers: list

    def __init__(self, key):
        self.layers = [eqx.nn.Linear(4, 8, key=key), jax.nn.relu, eqx.nn.Linear(8, 3, key=key)]
        self.layers.append(eqx.nn.Lambda(jax.nn.softmax))

    def __call__(self, x):
        for layer in self.layers:
            x = layer(x)
        return x


def create(key, network, x):
    params = network.init(key, x)
    return train_state.TrainState.create(
        apply_fn=network.apply, params=params, tx=optax.sgd(0.1)
    )


@jax.jit
def train_step(state, x, y):
    def loss_fn(params):
        probs = state.apply_fn({"params": params}, x)
        return optax.softmax_cross_entropy_with_integer_labels(probs, y).mean()  # SO101

    return jax.value_and_grad(loss_fn)(state.params)


@jax.jit
def train_step_of_raw(state, x, y):
    def loss_fn(params):
        logits = state.apply_fn({"params": params}, x)
        return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean(), logits

    return jax.value_and_grad(loss_fn, has_aux=True)(state.params)


def main(key, x, y):
    train_step(create(key, Soft(), x), x, y)
    train_step_of_raw(create(key, Raw(), x), x, y)


def losses(params, x, y, t):
    out, state = Soft().apply(params, x, mutable=["batch_stats"])
    optax.softmax_cross_entropy(out, y)  # SO101
    raw = Raw().apply(params, x)
    optax.softmax_cross_entropy(logits=raw, labels=y)
    squeezed = jax.nn.sigmoid(nn.Dense(10)(x))
    optax.losses.softmax_cross_entropy(logits=squeezed, labels=y)  # SO106
    optax.softmax_cross_entropy(jax.nn.log_softmax(raw), y)
    optax.kl_divergence(jax.nn.softmax(raw), t)  # SO107
    optax.kl_divergence(jax.nn.log_softmax(raw), jax.nn.softmax(t))


def yes_or_no(params, x, y):
    scores = nn.Dense(1)(x)
    optax.sigmoid_binary_cross_entropy(scores, y)
    optax.sigmoid_binary_cross_entropy(jax.nn.sigmoid(scores), y)  # SO104


def of_newer(model: Newer, x, y):
    return optax.softmax_cross_entropy_with_integer_labels(model(x), y).mean()  # SO101


def of_layers(model: Layers, x, y):
    return optax.softmax_cross_entropy(jax.vmap(model)(x), y).mean()  # SO101


def predict(params, x):
    return jax.nn.softmax(Raw().apply(params, x), axis=-1)
