FROM localhost/improve-node:base
WORKDIR /app
COPY . .
RUN npm ci
RUN chown -R 1000:1000 /app
USER 1000
EXPOSE 3000
CMD ["node", "src/server.js"]
