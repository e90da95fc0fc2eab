"""`dfclient models` and `dfclient health`: what a server serves, and how it is."""

import argparse
import sys

from dfclient.cli import report
from dfclient.retry import NO_RETRIES
from dfclient.server import Server
from dfcontract.card import ModelCard
from dfcontract.live import live_name


def models(options: argparse.Namespace) -> int:
    """Print a table of the detectors; 1 where there is none."""
    with Server(options.url, timeout_s=options.timeout, retry=NO_RETRIES) as server:
        found = server.cards()
        ready = {model.name for model in server.health().models if model.is_ready}
    cards = [card for card in found.values() if isinstance(card, ModelCard)]
    if cards:
        rows = [report.model_row(card, takes_streams=live_name(card.model) in ready) for card in cards]
        print(report.table(report.MODEL_HEADER, rows))
        print("a higher score sounds more bona fide; a threshold holds for the data that it was set on")
    for reason in found.values():
        if not isinstance(reason, ModelCard):
            print(f"not usable: {reason}")
    if not cards:
        print(f"dfclient: error: no detector is ready at {options.url}", file=sys.stderr)
    return 0 if cards else 1


def health(options: argparse.Namespace) -> int:
    """Print how the server and each model are; 1 where one of them is not ready."""
    with Server(options.url, timeout_s=options.timeout, retry=NO_RETRIES) as server:
        found = server.health()
    print(report.health_table(options.url, found))
    return 0 if found.is_good else 1
