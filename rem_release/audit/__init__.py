"""Plays the thief: victims, threats, statistics, verdict, report."""
