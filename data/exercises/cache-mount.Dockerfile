# Each new requirement downloads all of them again.
ARG BASE=python:3.10-slim
FROM ${BASE}
WORKDIR /app
COPY . .
RUN pip install --no-cache-dir -r requirements.txt
CMD ["flask", "--app", "src/main.py", "run", "--port", "8000"]
