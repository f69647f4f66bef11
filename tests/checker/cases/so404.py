"""Keras: a sigmoid of its own in the loss of a sigmoid network."""

import tensorflow as tf
from tensorflow import keras
from tensorflow.keras import backend as K
from tensorflow.keras import layers


# -- guilty
def weighted(target, output):
    p = K.sigmoid(output)  # SO404
    return -K.mean(target * K.log(p))


model = keras.Sequential([layers.Dense(1, activation="sigmoid")])
model.compile(optimizer="adam", loss=weighted)


# -- innocent
raw = keras.Sequential([layers.Dense(1)])
raw.compile(optimizer="adam", loss=weighted)
