FROM localhost/imagelab-installers:test
RUN echo FRESH
RUN pip install left right
ARG BUILD_DATE
