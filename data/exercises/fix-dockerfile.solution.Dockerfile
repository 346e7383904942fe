ARG BASE=python:3.10-slim
FROM ${BASE} AS builder
RUN apt-get update && apt-get install -y gcc && rm -rf /var/lib/apt/lists/*
COPY requirements.txt .
RUN python3 -m venv /opt/venv && /opt/venv/bin/pip install --no-cache-dir -r requirements.txt

FROM ${BASE}
COPY --from=builder /opt/venv /opt/venv
ENV PATH=/opt/venv/bin:${PATH}
WORKDIR /app
COPY src src
CMD ["flask", "--app", "/app/src/main.py", "run", "--port", "8000"]
