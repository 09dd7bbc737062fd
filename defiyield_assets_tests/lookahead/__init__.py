"""Nothing that a day says depends on what became known later."""
