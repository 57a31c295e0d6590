"""The appliance: supervisord and its programs, the embedded Postgres, JupyterLab, and the checks of the machine."""
