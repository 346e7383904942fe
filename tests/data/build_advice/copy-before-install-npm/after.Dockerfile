FROM localhost/imagelab-installers:test
RUN echo FRESH
WORKDIR /srv
ENV NODE_ENV=production
COPY package.json package-lock.json /srv/
RUN npm ci
COPY . /srv
