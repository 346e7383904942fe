FROM localhost/imagelab-installers:test
RUN echo FRESH
RUN apt-get update && apt-get install -y gcc && rm -rf /var/lib/apt/lists/*
