FROM localhost/debian:minbase
RUN apt-get update && apt-get install -y --no-install-recommends cargo librust-itoa-dev && rm -rf /var/lib/apt/lists/*
COPY cargo.toml /root/.cargo/config.toml
