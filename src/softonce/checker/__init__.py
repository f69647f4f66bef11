"""What kind of scores a tensor holds, and who is given the wrong kind.

Two halves share three files: `kinds` (the lattice and the transfer table), `catalog` (the rules)
and `findings` (what is reported). `static` reads source; the others watch a running script and
read model files.
"""
