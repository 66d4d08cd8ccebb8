"""How good the answers are: eight sets of documents, the questions people ask about them, and what came back."""
