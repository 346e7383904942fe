FROM localhost/python:slim
RUN --mount=type=bind,source=wheels,target=/wheels pip install --no-index --find-links=/wheels \
    requests==2.25.0 \
    urllib3==1.26.4
COPY app.py /app/app.py
CMD ["python3", "/app/app.py"]
