"""A folder of images becomes an artefact: the step, the loop, the state, the run around them."""
