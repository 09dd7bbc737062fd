"""Vendor clients and the transport they share. They fetch and type answers; they never decide or keep."""
