"""Declares assets, checks, jobs, schedules and sensors. Reads, calls the domain, writes, reports; decides nothing."""
