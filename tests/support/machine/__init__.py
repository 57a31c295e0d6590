"""Ports, disks, certificates, terminals and checkouts: what tests take of the machine."""
