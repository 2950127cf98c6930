"""The pages of commands that measure something else than an audit does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from report_examples import HOSTILE
from report_pages import Page

from robustkit.cli import run
from robustkit.report.text import words
from robustkit.report.text.recommendations import Step
from robustkit.report.views.small_page import Column, SmallPage, render_small_page

COMMANDS = {
    "certify": ("certify cnn --data digits --n 20 --n0 5 --limit 4", "certify.html", "Certified at L2 radius 0"),
    "corrupt": ("corrupt cnn --data digits --corruption fog --severity 1 --limit 6", "robustkit-shift/shift.html",
                "fog"),
    "clean-data": ("clean-data --data digits --limit 60 --report r", "r/cleaning.html",
                   "Training samples with an issue"),
    "train": ("train cnn --data digits --limit 40 --epochs 1 --objective standard", "robustkit-training/training.html",
              "Epoch kept 1 of 1"),
    "ensemble": ("ensemble cnn cnn --data digits --limit 6 --attack fgsm", "ensemble.html", "2 models combined by"),
}  # fmt: skip


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_writes_a_page_with_what_was_asked_the_number_and_what_next(name, in_folder, capsys):
    command, file, said = COMMANDS[name]
    assert run(command.split()) in (0, 3)
    assert f"page {file}" in capsys.readouterr().out
    text = Page(Path(file).read_text()).everything()
    assert said in text
    assert f"robustkit {command}" in text
    assert re.search(r"What to do next .*(robustkit (audit|train)|--drop)", text)
    assert "nan" not in text.split("What was asked")[0].replace("nan 0", "").replace("NaN or infinite", "")


@pytest.mark.parametrize("command", ["certify cnn --data digits", "ensemble cnn cnn --data digits"])
def test_the_result_cannot_take_the_name_of_its_page(command, in_folder, capsys):
    assert run([*command.split(), "--out", "mine.html"]) == 2
    assert "got 'mine.html', which" in capsys.readouterr().err


def test_names_of_strangers_are_no_markup_on_it():
    column = Column(HOSTILE[1], HOSTILE, False)
    page = render_small_page(
        SmallPage(
            "kind", HOSTILE[0], HOSTILE[6], (("n", "1"),), ((HOSTILE[0], (column,)),), HOSTILE, (Step(HOSTILE[0]),)
        )
    )
    assert page.count("<script") == 1
    assert not set("\x00\x1b\u202e") & set(page)
    assert words.visible(HOSTILE[3]) in Page(page).everything()
