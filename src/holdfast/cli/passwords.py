"""Passwords from the keyboard or from standard input; new ones are checked before anything is sent."""

import sys

import typer

from holdfast.cli.failures import CommandFailedError, ExitCode
from holdfast.features.accounts.rules import password_problem


def ask_password(prompt: str = "Password") -> str:
    """One that exists."""
    return str(typer.prompt(prompt, hide_input=True, err=True))


def ask_new_password() -> str:
    """One to be set, typed twice; asked for again until it fits."""
    while True:
        password = str(typer.prompt("New password", hide_input=True, confirmation_prompt=True, err=True))
        problem = password_problem(password)
        if problem is None:
            return password
        typer.echo(f"The new password {problem}.", err=True)


def password_from_input() -> str:
    """One that exists: the next line of standard input."""
    password = sys.stdin.readline().removesuffix("\n").removesuffix("\r")
    if not password:
        raise CommandFailedError("standard input holds no password", ExitCode.WRONG_USAGE)
    return password


def new_password_from_input() -> str:
    """One to be set: the next line of standard input."""
    password = password_from_input()
    if problem := password_problem(password):
        raise CommandFailedError(f"the new password {problem}")
    return password
