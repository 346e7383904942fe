"""Reports: a notebook and its parameters become one self-contained HTML file."""

from imagelab.core.extras import require

require("notebook", "IPython", "jinja2", "mistune", "plotly", "pygments")
