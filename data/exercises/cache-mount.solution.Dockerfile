ARG BASE=python:3.10-slim
FROM ${BASE}
WORKDIR /app
COPY requirements.txt .
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install -r requirements.txt
COPY src src
CMD ["python3", "src/main.py"]
