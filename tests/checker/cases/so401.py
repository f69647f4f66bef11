"""Keras: an activation and from_logits=True."""

import tensorflow as tf
from tensorflow import keras
from tensorflow.keras import backend as K
from tensorflow.keras import layers

# -- guilty
model = keras.Sequential([layers.Flatten(), layers.Dense(10, activation="softmax")])
loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
model.compile(optimizer="adam", loss=loss)  # SO401


def functional(inputs):
    x = layers.Dense(64, activation="relu")(inputs)
    outputs = layers.Dense(1, activation="sigmoid")(x)
    net = keras.Model(inputs, outputs)
    net.compile(loss=keras.losses.BinaryCrossentropy(from_logits=True))  # SO401


def step(x, target):
    return loss(target, model(x))  # SO401


def written_for_tensorflow(x, target):
    tf.nn.sparse_softmax_cross_entropy_with_logits(labels=target, logits=model(x))  # SO401


# -- innocent
right = keras.Sequential([layers.Dense(10, activation="softmax")])
right.compile(optimizer="adam", loss=keras.losses.SparseCategoricalCrossentropy())
raw = keras.Sequential()
raw.add(layers.Dense(10))
raw.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
