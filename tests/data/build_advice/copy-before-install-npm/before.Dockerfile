FROM localhost/imagelab-installers:test
RUN echo FRESH
COPY . /srv
WORKDIR /srv
ENV NODE_ENV=production
RUN npm ci
