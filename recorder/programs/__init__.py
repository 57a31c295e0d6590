"""Entry points of the programs that supervisord runs, each as `python -m recorder.programs.<name>`.

The files in `bin/` start the same programs from a checkout.
"""
