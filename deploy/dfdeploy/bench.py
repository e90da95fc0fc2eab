"""How fast is it? Overhead of serving, throughput of the server, and how much of that the client gets.

A program that prints tables and writes JSON; never a test: a figure belongs to the machine that it was measured on.
"""
