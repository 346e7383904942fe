FROM localhost/imagelab-installers:test
RUN echo FRESH
COPY requirements.txt package.json /
RUN pip install -r /requirements.txt
RUN npm ci
