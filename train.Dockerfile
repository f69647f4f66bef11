# Trains, evaluates and exports on processors. For GPUs, give PyTorch's index of your CUDA version as TORCH_INDEX.
#   docker build -t softonce-train -f train.Dockerfile .
#   docker run --shm-size 2g -v "$PWD:/data" -u "$(id -u):$(id -g)" softonce-train train photos --output run
FROM python:3.12-slim AS build
COPY . /source
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels /source

FROM python:3.12-slim
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
COPY --from=build /wheels /wheels
COPY constraints.txt /wheels/
RUN pip install --no-cache-dir --constraint /wheels/constraints.txt --index-url "$TORCH_INDEX" torch torchvision \
    && pip install --no-cache-dir --constraint /wheels/constraints.txt \
        "$(ls /wheels/softonce-*.whl)[train,export,track,parquet,formats]" \
    && rm -r /wheels \
    && useradd --system --uid 10001 --no-create-home softonce
# Published weights are kept in TORCH_HOME: mount a folder there to download them once.
ENV TORCH_HOME=/tmp/torch MPLCONFIGDIR=/tmp/matplotlib
USER 10001
WORKDIR /data
ENTRYPOINT ["softonce"]
CMD ["help"]
