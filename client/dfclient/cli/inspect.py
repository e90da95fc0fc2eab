"""`dfclient models` and `dfclient health`: what a server serves, and how it is."""

import argparse

from dfclient.cli import report
from dfclient.cli.cards import full
from dfclient.cli.console import credentials_of
from dfclient.connection import named
from dfclient.errors import ServerError
from dfclient.replicas import addresses_of
from dfclient.retry import NO_RETRIES
from dfclient.server import Server
from dfcontract.card import ModelCard
from dfcontract.live import live_name
from dfcontract.startup import complain
from dfcontract.text import printable


def models(options: argparse.Namespace) -> int:
    """Print a table of the detectors, or with --full all of their cards; 1 where there is none."""
    credentials = credentials_of(options)
    with Server(options.url, timeout_s=options.timeout, retry=NO_RETRIES, credentials=credentials) as server:
        found = server.cards()
        ready = {model.name for model in server.health().models if model.is_ready}
    cards = [card for card in found.values() if isinstance(card, ModelCard)]
    if options.full:
        print("\n\n".join(full(card, takes_streams=live_name(card.model) in ready) for card in cards))
    elif cards:
        rows = [report.model_row(card, takes_streams=live_name(card.model) in ready) for card in cards]
        print(report.table(report.MODEL_HEADER, rows))
        print("a higher score sounds more bona fide; a threshold holds for the data that it was set on")
    for reason in found.values():
        if not isinstance(reason, ModelCard):
            print(f"not usable: {printable(str(reason))}")
    if not cards:
        complain("dfclient", f"no detector is ready at {options.url}")
    return 0 if cards else 1


def health(options: argparse.Namespace) -> int:
    """Print how each server and each model are; 1 where one of them is not ready."""
    credentials = named(options.url, credentials_of(options))
    addresses, is_good = addresses_of(options.url), True
    for address in addresses:
        try:
            with Server(address, timeout_s=options.timeout, retry=NO_RETRIES, credentials=credentials) as server:
                found = server.health()
        except ServerError as error:
            if len(addresses) == 1:
                raise
            complain("dfclient", printable(str(error)))
            is_good = False
        else:
            print(report.health_table(address, found))
            is_good = is_good and found.is_good
    return 0 if is_good else 1
