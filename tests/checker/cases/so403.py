"""Keras: softmax over one unit."""

import tensorflow as tf
from tensorflow import keras
from tensorflow.keras import backend as K
from tensorflow.keras import layers

# -- guilty
model = keras.Sequential([layers.Dense(1, activation="softmax")])  # SO403


# -- innocent
right = keras.Sequential([layers.Dense(1, activation="sigmoid")])
attention = layers.Softmax(axis=1)
