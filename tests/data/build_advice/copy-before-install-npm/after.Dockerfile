FROM localhost/imagelab-installers:test
RUN echo FRESH
COPY package.json package-lock.json /srv/
WORKDIR /srv
ENV NODE_ENV=production
RUN npm ci
COPY . /srv
