# A Dockerfile to repair: full base, apt in two RUNs, all code copied before the installation.
ARG BASE=python:3.10
FROM ${BASE}
RUN apt-get update
RUN apt-get install -y gcc
COPY . /app
RUN pip install -r /app/requirements.txt
CMD ["flask", "--app", "/app/src/main.py", "run", "--port", "8000"]
