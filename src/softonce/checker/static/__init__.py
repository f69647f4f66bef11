"""Reads source without running it: what is a tensor of scores where a loss takes it?

The algorithm is abstract interpretation, in the order of `check._analyse`:

1. `sources` and `relevance` find the files worth parsing: those that mention a loss or a softmax,
   and what leads to a loss by the names that it imports. `project` turns them into modules
   (`objects`) and says which file an import means; `bodies` parses a function when it is run.
2. Each file's top level is run (`interpreter.start`): `statements` and `expressions` on `values`
   that stand for all that is possible. A tensor is `Scores`: a set of kinds (`kinds.Kind`), and
   the place that made each. `operations` applies the table `kinds.ROWS`; `lattice` joins what two
   ways leave.
3. What nobody was seen to call is entered with unknown arguments: first with the defaults of the
   program's options, then (`_take_other_choices`), if it reads any, with those that somebody sets.
4. Statements that still have not been run are entered once more; there only what is sure is
   reported.

To evaluate is to call is to execute: that recursion goes through `context.Run`, which every
function is given, and the files import each other in no circle.

Three things make that quick and quiet:

- A test of known outcome takes one branch. At an unknown one both run from the same `heap`, and
  what they leave is joined; a finding on one of them is lowered, or left out if an option decides.
- A call is remembered by what it was given (`call_function`), with its effects, and has a budget.
- `OTHER` among the kinds of a tensor means unknown, and nothing is ever reported of that.

`losses` and `rules` look at calls of losses and at single operations as they happen; `reporter`
keeps the surest finding of each pair of lines.

Example: in `probs = F.softmax(net(x), dim=1)` the name holds `P`, made on that line; the row
`cross_entropy` of `kinds.SINKS` says that `P` breaks SO101 there.
"""

from softonce.checker.static.check import Checked, Settings, check_paths, check_sources

__all__ = ["Checked", "Settings", "check_paths", "check_sources"]
