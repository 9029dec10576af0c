# docker build -t fdfo .                                                                        runs on a CPU
# docker build -t fdfo --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu128 .         runs on NVIDIA cards
# docker run --rm --gpus all -v "$PWD:/work" -v ~/.cache/huggingface:/home/fdfo/.cache/huggingface fdfo train shapes --run runs/demo
ARG PYTHON=3.12
FROM python:${PYTHON}-slim

ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ARG EXTRAS=
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONUNBUFFERED=1

RUN useradd --create-home --uid 1000 fdfo

WORKDIR /app
COPY constraints.txt ./
RUN pip install --extra-index-url "${TORCH_INDEX}" --constraint constraints.txt torch
COPY pyproject.toml README.md LICENSE ./
COPY src ./src
RUN pip install --extra-index-url "${TORCH_INDEX}" --constraint constraints.txt ".${EXTRAS}"

USER 1000
WORKDIR /work
ENTRYPOINT ["fdfo"]
CMD ["--help"]
