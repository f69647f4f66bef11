# Serves one exported file; torch is not in it. The file is mounted, so one image serves them all:
#   docker build -t softonce-serve .
#   docker run -p 8000:8000 -v "$PWD/model.onnx:/model.onnx:ro" softonce-serve
FROM python:3.12-slim AS build
COPY . /source
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels /source

FROM python:3.12-slim
COPY --from=build /wheels /wheels
COPY constraints.txt /wheels/
RUN pip install --no-cache-dir --constraint /wheels/constraints.txt \
        "$(ls /wheels/softonce-*.whl)[serve]" onnxruntime \
    && rm -r /wheels \
    && useradd --system --uid 10001 --no-create-home softonce
USER 10001
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s CMD \
    ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/healthz', timeout=4)"]
ENTRYPOINT ["softonce", "serve"]
CMD ["/model.onnx", "--host", "0.0.0.0"]
