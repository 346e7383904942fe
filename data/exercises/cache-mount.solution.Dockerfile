ARG BASE=python:3.10-slim
FROM ${BASE}
WORKDIR /app
COPY requirements.txt .
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install -r requirements.txt
COPY src src
CMD ["flask", "--app", "src/main.py", "run", "--port", "8000"]
