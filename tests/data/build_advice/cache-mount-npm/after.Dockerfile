FROM localhost/imagelab-installers:test
RUN echo FRESH
WORKDIR /srv
COPY package.json .
RUN --mount=type=cache,target=/root/.npm npm install
