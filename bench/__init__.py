"""Times gpurnn beside its peers on the user's own machine: `python -m bench --help`."""
