"""The whole policy replayed day by day over recorded histories, beside simple strategies and two yardsticks."""
