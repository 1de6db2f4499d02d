"""The names of the methods, and where each one is: help and messages list them without loading any."""

FILES = {
    "rem": "rem.Rem",
    "em": "em.Em",
    "sem": "sem.Sem",
    "lsp": "lsp.Lsp",
    "pil": "pil.Pil",
    "classwise": "classwise.Classwise",
    "random": "random_signs.RandomSigns",
}
"""name of each method -> its file in `methods/` and its class"""
PLANNED = ("tap", "ntga")
"""methods that are not built yet: whoever asks for one is told so"""


def list_names() -> str:
    """The names as help shows them: a, b or c."""
    *others, last = FILES
    return f"{', '.join(others)} or {last}"
