FROM localhost/imagelab-installers:test
RUN echo FRESH
WORKDIR /srv
COPY package.json .
RUN npm install
