"""`python -m monitoring.exporter`."""

from monitoring.exporter.server import main

if __name__ == "__main__":
    main()
