FROM localhost/imagelab-installers:test
RUN echo FRESH
ARG BUILD_DATE
RUN pip install left right
