# syntax=docker/dockerfile:1
# Rapport in a container, for the CPU unless told otherwise. Package indexes are the builder's:
#   docker build -t rapport --build-arg TORCH_INDEX=... .     PyTorch's index of CPU wheels
#   docker build -t rapport --build-arg DEVICE=cuda .         torch as pip finds it, with CUDA
#   add --build-arg PIP_INDEX_URL=... to either for a mirror of all the rest
#   docker run -v rapport:/data -e DISCORD_BOT_TOKEN rapport                 on Discord and Slack
#   docker run -it -v rapport:/data rapport chat                             in the terminal
ARG PYTHON=3.11

FROM python:${PYTHON}-slim AS build
ARG DEVICE=cpu
ARG TORCH_INDEX=""
ARG PIP_INDEX_URL
WORKDIR /src
RUN python -m venv /opt/rapport
ENV PATH=/opt/rapport/bin:$PATH PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
# torch first, so that a change of ours does not fetch it again.
COPY requirements.lock ./
RUN if [ "$DEVICE" = cpu ] && [ -z "$TORCH_INDEX" ]; then \
        echo "a CPU image needs --build-arg TORCH_INDEX=<PyTorch's index of CPU wheels>" >&2; exit 1; \
    fi \
 && pip install ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} "$(grep '^torch==' requirements.lock)" \
 && sed -e '/^# What the tests/,$d' -e '/^torch==/d' requirements.lock > rest.lock \
 && pip install -r rest.lock
RUN apt-get update \
 && apt-get install -y --no-install-recommends gcc libc6-dev \
 && rm -rf /var/lib/apt/lists/*
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY bot bot
COPY learning learning
# The image that runs has no compiler: what the engine compiles comes with it.
RUN pip install --no-deps --no-build-isolation . \
 && cd / && python -c "from bot.engine.kernels import kernels; kernels()"

FROM python:${PYTHON}-slim
RUN useradd --create-home --uid 10001 rapport \
 && install -d -o rapport -g rapport /data
COPY --from=build /opt/rapport /opt/rapport
COPY config.toml LICENSE NOTICE /etc/rapport/
ENV PATH=/opt/rapport/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    RAPPORT_CONFIG=/etc/rapport/config.toml \
    RAPPORT_DATA=/data \
    HF_HOME=/data/models
USER rapport
WORKDIR /data
VOLUME /data
# Light on purpose: `rapport doctor` would load the model a second time.
HEALTHCHECK --interval=60s --timeout=20s --start-period=120s \
    CMD ["python", "-c", "import os, pathlib, sys; pid = pathlib.Path('/data/rapport.lock').read_text().strip(); sys.exit(not (pid and pathlib.Path('/proc', pid).exists()))"]
ENTRYPOINT ["rapport"]
CMD ["run"]
