"""Keras: a linear output and a loss that expects probabilities."""

import tensorflow as tf
from tensorflow import keras
from tensorflow.keras import backend as K
from tensorflow.keras import layers

# -- guilty
model = keras.Sequential([layers.Flatten(), layers.Dense(10)])
model.compile(optimizer="adam", loss="sparse_categorical_crossentropy")  # SO402


# -- innocent
right = keras.Sequential([layers.Dense(10), layers.Activation("softmax")])
right.compile(optimizer="adam", loss="sparse_categorical_crossentropy")
regression = keras.Sequential([layers.Dense(1)])
regression.compile(optimizer="adam", loss="mse")
