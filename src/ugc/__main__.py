"""`python -m ugc`, and `torchrun .. -m ugc`."""

if __name__ == "__main__":
    import sys

    from ugc.cli.main import entry

    sys.exit(entry())
