FROM localhost/imagelab-installers:test
RUN echo FRESH
RUN apt-get update && apt-get install -y gcc && apt-get clean && rm -rf /var/lib/apt/lists/*
