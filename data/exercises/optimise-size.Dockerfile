# A service that works, in an image far larger than necessary.
ARG BASE=python:3.10
FROM ${BASE}
RUN apt-get update
RUN apt-get install -y gcc
WORKDIR /app
COPY . .
RUN pip install -r requirements.txt
RUN rm -rf /var/lib/apt/lists/*
CMD ["gunicorn", "--chdir", "src", "--bind", "0.0.0.0:8000", "main:app"]
