"""A small web service: what a month sold, out of a table that is read with pandas."""

from pathlib import Path

import pandas as pd
from flask import Flask, jsonify

app = Flask(__name__)
sales = pd.read_csv(Path(__file__).with_name("sales.csv"))


@app.get("/health")
def health():
    return jsonify(status="ok")


@app.get("/sales")
def by_month():
    return jsonify(sales.groupby("month")["amount"].sum().to_dict())
