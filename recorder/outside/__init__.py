"""The check of the appliance from outside, for cron and monitoring (bin/check-health).

It uses the standard library only, and any Python from 3.9 on. So it works also when the virtual environment,
supervisord, Postgres or the disk of the home is broken. It writes nothing except the time of its last alert.
"""
