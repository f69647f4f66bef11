"""From logits of held-out samples to what their probabilities may be used for."""

from softonce.calibrate.choice import Calibration as Calibration
from softonce.calibrate.choice import calibrate as calibrate
from softonce.calibrate.temperature import MAX_TEMPERATURE as MAX_TEMPERATURE
from softonce.calibrate.temperature import MIN_TEMPERATURE as MIN_TEMPERATURE
from softonce.calibrate.temperature import fit_temperature as fit_temperature
