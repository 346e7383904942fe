# imagelab as an image: `make image`. The wheel is built in a stage of its own; the result runs as a user without rights.
ARG BASE=python:3.13-slim
FROM ${BASE} AS build
WORKDIR /src
RUN --mount=type=cache,target=/root/.cache/pip python3 -m venv /opt/imagelab && /opt/imagelab/bin/pip install --upgrade pip
COPY constraints.txt pyproject.toml README.md LICENSE ./
COPY imagelab imagelab
COPY notebooks notebooks
COPY data data
ARG EXTRAS=""
# Bytecode stays: a container without it needs a second more for every start. Tests of packages and pip itself go.
RUN --mount=type=cache,target=/root/.cache/pip /opt/imagelab/bin/pip install -c constraints.txt ".${EXTRAS}" \
 && find /opt/imagelab -depth -path '*/site-packages/*/tests' -exec rm -rf {} + \
 && /opt/imagelab/bin/pip uninstall --yes pip

FROM ${BASE}
LABEL org.opencontainers.image.title="imagelab" \
      org.opencontainers.image.description="Why a container image is big, slow to build or full of findings" \
      org.opencontainers.image.licenses="MIT"
COPY --from=build /opt/imagelab /opt/imagelab
ENV PATH=/opt/imagelab/bin:$PATH IMAGELAB_CACHE_DIR=""
WORKDIR /work
USER 65532:65532
ENTRYPOINT ["imagelab"]
