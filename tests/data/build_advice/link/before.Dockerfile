FROM localhost/imagelab-installers:test
RUN echo FRESH
COPY requirements.txt /
RUN pip install -r /requirements.txt
COPY big /big
