#!/bin/sh
# Train on two machines: run this on both, with the same run folder (a shared disk) on both.
#
#   HEAD=node0:29400 NODES=2 PROCESSES=8 sh two_nodes.sh PHOTOS --model resnet50 --output run
#
# HEAD is one of the machines, and a free port of it. --batch-size is global: it stays what it is,
# however many processes share it. When a process or a machine fails, torchrun starts all again (up
# to --max-restarts times), and the run goes on from its last state; started by hand, it does with
#   softonce train --resume run
# torch's own variable makes each start forget the addresses of the one before (pytorch issue 135712).
export TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1
exec "${PYTHON:-python}" -m torch.distributed.run \
  --nnodes "${NODES:-2}" --nproc-per-node "${PROCESSES:-gpu}" --max-restarts 3 \
  --rdzv-id "${JOB:-softonce}" --rdzv-backend c10d --rdzv-endpoint "${HEAD:?the address of one machine, host:port}" \
  -m softonce train "$@"
