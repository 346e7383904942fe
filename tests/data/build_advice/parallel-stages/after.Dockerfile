FROM localhost/imagelab-installers:test AS npm
RUN echo FRESH
COPY package.json /
RUN npm ci
FROM localhost/imagelab-installers:test
RUN echo FRESH
COPY requirements.txt package.json /
RUN pip install -r /requirements.txt
COPY --from=npm /deps /deps
