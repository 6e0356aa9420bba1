"""The exit codes of the command line."""

HEALTHY = 0
UNHEALTHY = 1
USAGE = 2  # the command line or a configuration is invalid, or the program failed
COULD_NOT_ASK = 3  # `ask` reached no exporter; scripts must not read this as "unhealthy"
INTERRUPTED = 130  # 128 + SIGINT, as in shells
