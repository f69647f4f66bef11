"""A folder of images becomes an artefact: the step, the loop, the state, the run around them.

A run is four descriptions, each made from the one before it and never changed by a later one:

1. `TrainConfig`, as asked: an option that nobody set is None.
2. The settled configuration (`plan.settle`): recipe, sizes and paths are filled in from data and
   the network. What only a measurement can tell (batch, precision, learning rate, epochs) is still
   open; `trials` measures it on copies of the network, and it becomes a number like any other.
3. `Plan` (`plan.decide`): no open option. It is printed and written to `config.toml`, so that a
   resumed run decides and measures nothing.
4. `Job` (`building.build_job`): the network, its layers, loaders, optimizer, schedule and step.

`run` does this in order, `loop.fit` trains, `finish` fits the temperature and writes the artefact
and the report.

A run that is killed at any instant ends with the same bits as one that was not, since everything
that a step depends on is in the saved state (`checkpoint`) or a pure function of it: the batch is a
function of (seed, epoch, index) (`data.loader`), the learning rate of the step (`optim`), mixing of
(seed, step) (`mixing`). A state is written to a temporary name and renamed; the two newest are
kept, and a damaged one is named and passed over. `metrics.jsonl` is cut back to the rows of the
state.

Several processes run the same code. What may fail in one of them runs in `raise_on_all_ranks`, so
that no rank waits for one that has ended; files are written on rank zero; sums of loss and
gradient are global, so that two processes make the run of one.
"""
