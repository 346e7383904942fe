FROM localhost/debian:minbase
RUN apt-get update && apt-get install -y --no-install-recommends golang-go && rm -rf /var/lib/apt/lists/*
COPY proxy /proxy
ENV GOPROXY=file:///proxy GONOSUMDB=* GOFLAGS=-mod=mod
