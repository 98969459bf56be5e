"""The command line: one module per group of commands; what a command needs is imported when it runs."""
