ARG BASE=python:3.10-slim
FROM ${BASE} AS builder
COPY requirements.txt .
RUN python3 -m venv /opt/venv && /opt/venv/bin/pip install --no-cache-dir -r requirements.txt

FROM ${BASE}
COPY --from=builder /opt/venv /opt/venv
ENV PATH=/opt/venv/bin:${PATH}
WORKDIR /app
COPY src src
CMD ["gunicorn", "--chdir", "src", "--bind", "0.0.0.0:8000", "main:app"]
