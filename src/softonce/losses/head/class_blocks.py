"""The loss of a head in blocks of classes over many rows: three or four fast matrix products.

The sum of a row is known only after a pass over all its classes, so the gradient makes the logits
of each block again, but for the first ones, which are kept. With many classes that is still faster
on a CPU than rows over all classes, whose products are skinny. Index targets only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from softonce.losses.kernels.interface import Mass, Rows
from softonce.losses.kernels.memory import in_huge_pages
from softonce.losses.kernels.parts import describe, join, normalize_others_, share_of
from softonce.losses.kernels.products import prefers_onednn
from softonce.losses.row_maths import HALF_DTYPES, accumulation_dtype, times
from softonce.losses.tuning import tuning

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from softonce.losses.head.parameters import Gradients, Head
    from softonce.losses.head.predictions import Predictions
    from softonce.losses.kernels.interface import Factor
    from softonce.losses.kernels.parts import Others


def is_faster(head: Head, mass: Mass) -> bool:
    """Return whether blocks of classes win: many classes, and products that are fast in blocks."""
    is_seen = mass.index is not None and mass.ignore_index is None
    has_plain_rows = is_seen and mass.ignored is None and mass.outside is None
    if head.dtype in HALF_DTYPES or head.weight.dtype in HALF_DTYPES:
        # the weight is rounded, or widened if single precision is faster, a block at a time
        return has_plain_rows and len(head.weight) >= tuning().class_blocks_from_of_half
    return has_plain_rows and prefers_onednn() and len(head.weight) >= tuning().class_blocks_from


@dataclass(frozen=True)
class ClassBlocks:
    """The loop over one problem, whose target is class indices.

    Args:
        head: the features and the parameters.
        mass: the effective target.
    """

    head: Head
    mass: Mass

    def run(
        self, scale: Factor, gradients: Gradients | None, seen: Predictions | None = None
    ) -> Rows:
        """Return what all rows say; add their gradients, times `scale`, if there is a place."""
        spread = self._spread_of_rows()
        found = []
        for rows in self._row_blocks():
            room = 0 if gradients is None else tuning().kept_bytes
            known, blocks, kept = self._describe(rows, seen, room)
            if gradients is not None:
                self._differentiate(rows, known, gradients, scale, blocks=blocks, kept=kept)
            found.append(self._weigh(rows, known, spread))
        return Rows.concatenate(found)

    def differentiate(
        self, known: Rows, gradients: Gradients, upstream: Tensor, upstream_lse: Tensor | None
    ) -> None:
        """Add the gradients of rows that are `known`, times what is upstream of each, (N,)."""
        for rows in self._row_blocks():
            of_lse = None if upstream_lse is None else upstream_lse[rows]
            self._differentiate(rows, known.narrow(rows), gradients, upstream[rows], of_lse)

    def _describe(
        self, rows: slice, seen: Predictions | None, room: int
    ) -> tuple[Rows, list[Others], list[Tensor]]:
        """Return the rows with a mass of 1 at their target, and what each block says of them.

        Of the first blocks, as many as there is room for, in bytes, the softmax of the others is
        returned, too, 0 at the anchor.
        """
        index = self._index(rows)
        at_anchor = index.new_empty(len(index), dtype=accumulation_dtype(self.head.dtype))
        blocks: list[Others] = []
        kept: list[Tensor] = []
        for classes in self._class_blocks(len(index)):
            room -= len(index) * (classes.stop - classes.start) * at_anchor.itemsize
            own = _own(index, classes)
            logits = self._logits(self.head.narrow(classes), rows, is_kept=room >= 0)
            if seen is not None:
                seen.look(logits, rows, classes.start)
            at_anchor[own[0]] = logits[own]
            logits[own] = -torch.inf
            blocks.append(normalize_others_(logits))
            if room >= 0:
                kept.append(logits)
        return describe(at_anchor, join(blocks).of_rows()), blocks, kept

    def _weigh(self, rows: slice, known: Rows, spread: Tensor | None) -> Rows:
        """Return the rows with the loss of their whole mass."""
        if self.mass.keep is None:
            return known
        loss = times(self.mass.keep[self._index(rows)], known.loss)
        if self.mass.spread is not None and spread is not None:
            loss = loss + (self.mass.spread.sum() * known.lse - spread[rows])
        return known._replace(loss=loss)

    def _spread_of_rows(self) -> Tensor | None:
        """Return `sum(spread[c] logits[n, c])`: by one vector, not by a pass over the logits."""
        head, spread = self.head, self.mass.spread
        if spread is None:
            return None
        direction = sum(
            head.weight[classes].to(spread.dtype).t() @ spread[classes]
            for classes in self._class_blocks(head.weight.shape[1])
        )
        moved = 0.0 if head.bias is None else times(spread, head.bias.to(spread.dtype)).sum()
        return head.features.to(spread.dtype) @ direction + moved

    def _differentiate(
        self,
        rows: slice,
        known: Rows,
        gradients: Gradients,
        upstream: Factor,
        upstream_lse: Tensor | None = None,
        blocks: Sequence[Others] = (),
        kept: Sequence[Tensor] = (),
    ) -> None:
        index, spread = self._index(rows), self.mass.spread
        upstream = torch.as_tensor(upstream, dtype=known.loss.dtype).expand(len(index))
        keep = 1.0 if self.mass.keep is None else self.mass.keep[index]
        total = 0.0 if spread is None else spread.sum()
        at, elsewhere = (
            (keep, 0.0) if spread is None else (keep + spread[index], total - spread[index])
        )
        at_anchor = -at * upstream * known.others / known.total
        of_chance = elsewhere * upstream
        factor = (keep + total) * upstream
        if upstream_lse is not None:
            of_chance, factor = of_chance + upstream_lse, factor + upstream_lse
        for number, classes in enumerate(self._class_blocks(len(index))):
            own, part = _own(index, classes), self.head.narrow(classes)
            if number < len(kept):
                dlogits, block = kept[number], blocks[number]
                chance = known.loss[own[0]].neg().exp_()
            else:
                dlogits = self._logits(part, rows)
                chance = (dlogits[own] - known.largest[own[0]]).exp_() / known.total[own[0]]
                dlogits[own] = -torch.inf
                block = normalize_others_(dlogits, blocks[number] if blocks else None)
            dlogits.mul_((factor * share_of(block.of_rows(), known)).unsqueeze(1))
            if spread is not None:
                dlogits.addcmul_(spread[classes], upstream.unsqueeze(1), value=-1)
            dlogits[own] = at_anchor[own[0]] + of_chance[own[0]] * chance
            gradients.add_(part, self._narrow(dlogits), rows, classes)

    def _logits(self, part: Head, rows: slice, *, is_kept: bool = False) -> Tensor:
        """Return the logits of a block in the precision to sum in, until the next unless kept."""
        if not is_kept:
            return part.logits(rows)
        features = self.head.features[rows]
        shape, dtype = (len(features), len(part.weight)), accumulation_dtype(features.dtype)
        return part.logits(rows, in_huge_pages(features.new_empty(shape, dtype=dtype)))

    def _narrow(self, dlogits: Tensor) -> Tensor:
        """Return the gradient in the precision to multiply in, until the next logits."""
        place = self.head.narrow_place(dlogits)
        return place if place is dlogits else place.copy_(dlogits)

    def _index(self, rows: slice) -> Tensor:
        assert self.mass.index is not None  # noqa: S101 - `is_faster` asked for it
        return self.mass.index[rows]

    def _row_blocks(self) -> Iterator[slice]:
        num_rows, step = len(self.head.features), tuning().class_block_rows
        for start in range(0, num_rows, step):
            yield slice(start, min(start + step, num_rows))

    def _class_blocks(self, num_rows: int) -> Iterator[slice]:
        num_classes, in_features = self.head.weight.shape
        fewest, most = tuning().class_block_width
        fitting = tuning().class_block_bytes // (4 * max(num_rows, in_features))
        step = min(max(fewest, fitting), most)
        for start in range(0, num_classes, step):
            yield slice(start, min(start + step, num_classes))


def _own(index: Tensor, classes: slice) -> tuple[Tensor, Tensor]:
    """Return the rows and the columns of the targets that lie in a block."""
    own = ((index >= classes.start) & (index < classes.stop)).nonzero().squeeze(1)
    return own, index[own] - classes.start
