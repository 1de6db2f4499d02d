"""The names of the methods, and where each one is: help and messages list them without loading any."""

FILES = {
    "rem": "rem.Rem",
    "em": "em.Em",
    "sem": "sem.Sem",
    "tap": "tap.Tap",
    "ntga": "ntga.Ntga",
    "lsp": "lsp.Lsp",
    "pil": "pil.Pil",
    "classwise": "classwise.Classwise",
    "random": "random_signs.RandomSigns",
}
"""name of each method -> its file in `methods/` and its class"""


def list_names() -> str:
    """The names as help shows them: a, b or c."""
    *others, last = FILES
    return f"{', '.join(others)} or {last}"
