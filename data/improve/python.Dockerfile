FROM localhost/python:minbase
WORKDIR /srv
ENV PYTHONUNBUFFERED=1
COPY . .
RUN apt-get update
RUN apt-get install -y --no-install-recommends curl
RUN pip install -r requirements.txt
RUN useradd -m app && chown -R app:app /srv
USER app
EXPOSE 8000
HEALTHCHECK CMD curl -fs http://127.0.0.1:8000/ || exit 1
CMD ["gunicorn", "-b", "0.0.0.0:8000", "app.main:app"]
