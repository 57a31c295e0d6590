"""The dashboards of Grafana, as code. `make dashboards` writes them to `../files/dashboards/`."""
