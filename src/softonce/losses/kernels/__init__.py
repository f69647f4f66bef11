"""What computes many rows at once: two row kernels, the products of a head, and their memory.

`interface.py` says what a row kernel is: two functions, of which one returns the losses and may
write the gradient, and the other writes the gradient of rows that are known. `choice.py` finds the
one for a device.

1. `blocked.py`, for CPUs, takes blocks of rows that the second-level cache holds. One softmax of
   torch's says what a row needs; nothing is exponentiated twice. If no row of a block is more sure
   than not, the softmax of all classes is enough; otherwise the target is left out of the sum.
2. `triton_rows.py` launches the programs of `triton_programs.py`, for GPUs. A program reads its row
   once, with a maximum that rises on the way, so that the sum so far is scaled when it does
   (Milakov and Gimelshein, algorithm 3), and once more for the gradient, from the end, which the
   cache still has. Ignored rows and classes that do not exist are found by the program, so that
   nothing waits for the device. `choose_tiling` decides how many rows and classes a program takes,
   and how many programs share a row, from shape, strides and the number of processors.
3. `parts.py` is the maths of rows of which only some classes are seen at a time: it is below blocks
   of rows, blocks of classes and ranks alike.
4. `softcap.py` is a kernel in front of a kernel: it bounds the logits on the way in and multiplies
   the gradient by the slope on the way out.
5. `products.py` multiplies by what is fastest on the processor: MKL, some columns at a time; oneDNN
   if MKL leaves the vector unit unused; half precision if a trial finds it faster, and then twice,
   the second time for what the first had rounded off the logits.
6. `memory.py` takes large tensors in huge pages, and the same memory again for the next block.

Whoever needs a size from which another way is taken adds it to `tuning.py`, with what was measured.

Source:
    Milakov and Gimelshein, "Online normalizer calculation for softmax", algorithm 3
    (https://arxiv.org/abs/1805.02867).
"""
