# syntax=docker/dockerfile:1
# Two images from one file: `services` (gateway, streams, every `openv` command but `up`) and `worker` (with PyTorch).
# Everything is installed from requirements/, pinned and hashed; neither image runs as root.
ARG PYTHON=3.11-slim-bookworm

FROM python:${PYTHON} AS build
ENV PATH=/opt/tools/bin:$PATH \
    VIRTUAL_ENV=/opt/openv \
    UV_COMPILE_BYTECODE=1 \
    UV_LINK_MODE=copy
WORKDIR /src
COPY requirements/ requirements/
RUN --mount=type=cache,target=/root/.cache \
    python -m venv /opt/tools \
    && pip install --require-hashes --only-binary :all: -r requirements/uv.txt \
    && python -m venv --without-pip /opt/openv \
    && uv pip install --no-deps --require-hashes -r requirements/services.txt
COPY pyproject.toml README.md LICENSE ./
COPY schemas/ schemas/
COPY repo/ repo/
COPY streams/ streams/
COPY gateway/ gateway/
COPY inference_worker/ inference_worker/
COPY operations/ operations/
RUN uv pip install --no-deps --no-build-isolation --offline . \
    && uv pip uninstall setuptools

FROM build AS build-worker
RUN --mount=type=cache,target=/root/.cache \
    uv pip install --no-deps --require-hashes -r requirements/worker.txt \
    && uv pip install --no-deps --require-hashes -r requirements/torch.txt \
    && uv pip uninstall setuptools

FROM python:${PYTHON} AS runtime
# /run/openv: what a part says of itself. /work: videos on their way. /models: downloaded weights. /backups: backups.
RUN useradd --uid 10001 --create-home openv \
    && install --directory --owner openv --group openv /run/openv /work /models /backups
ENV PATH=/opt/openv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    OPENV_LOG_FORMAT=json \
    OPENV_STATUS_FILE=/run/openv/status
WORKDIR /home/openv
USER 10001:10001
ENTRYPOINT ["openv"]
CMD ["--help"]

FROM runtime AS worker
ENV HF_HOME=/models \
    OPENV_WORK_DIR=/work
COPY --from=build-worker /opt/openv /opt/openv

FROM runtime AS services
COPY --from=build /opt/openv /opt/openv
