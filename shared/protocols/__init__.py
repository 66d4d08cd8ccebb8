"""Façades: thin translations between the field's protocols and `shared.conversation`."""
