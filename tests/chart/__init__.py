"""What `make manifests` makes from the chart or for it: the values table, the list of images, the dashboard.

| Module | Thought |
|---|---|
| `values` | values.yaml as rows of a table |
| `images` | the images that an installation pulls |
| `dashboard` | the Grafana dashboard, a line per panel |
| `pages` | where all of that goes |
"""
