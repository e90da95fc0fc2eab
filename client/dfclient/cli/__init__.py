"""The command line: it reads options and prints; what it does is the library's."""
