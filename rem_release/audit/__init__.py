"""Plays the attacker: victims, threats, statistics, verdict, report."""
