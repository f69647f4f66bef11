"""From a folder of images to batches: sources (what there is), scan (what can be read), loader.

1. `sources` list DATA: a folder, a table, shards, IDX files; names and targets of every split, and
   not yet a pixel (`samples`).
2. `scan` reads each file once, in threads: what is broken (named and left out), how large it is,
   a hash of its content and one of its look. What was found is kept beside a run (`scan_file`),
   so that the next start reads only files whose size or time has changed.
3. `membership` splits by the hash of the content: a picture's part never depends on its name or
   on which other files are there. `doubles` compares the splits: wrong labels, leaks, copies.
4. `loader` makes batches. All randomness is a function of (seed, epoch, index): workers, their
   number and their order change no pixel, and a run can go on in the middle of an epoch.

Pictures up to 64 pixels are decoded once and kept in memory; larger ones are decoded each time, at
the size that is needed, or once into a file that is mapped (`cache`). Columns of a million files
are arrays and one buffer of names (`file_table`, `names`): no object a file, nothing to copy into a
worker.
"""
