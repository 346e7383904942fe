FROM localhost/imagelab-installers:test
RUN echo FRESH
RUN apt-get update
RUN apt-get install -y gcc
